"""`mobile-videogpt export`: write a model in the form that another program runs."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import quiet_libraries
from mobile_videogpt.cli.export_onnx import add_onnx_arguments, export_onnx
from mobile_videogpt.cli.output import answer, answer_json, say, status

FORMATS = ("qwen2", "gguf")
# The names of `checkpoints.gguf_file.GGUF_TYPES`, which cannot be imported without torch.
TYPES = ("f32", "bf16", "f16", "q8_0", "q4_0")

EXAMPLES = """\
examples:
  mobile-videogpt export moving-shapes language-model --format qwen2
  mobile-videogpt export Amshaker/Mobile-VideoGPT-0.5B model.gguf --format gguf --type q4_0
  mobile-videogpt export Amshaker/Mobile-VideoGPT-0.5B exported --engine onnx"""


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `export`."""
    parser = subparsers.add_parser(
        "export",
        parents=parents,
        help="write a model in the form that another program runs",
        description="Write the language model for llama.cpp, MLX, vLLM or transformers, which take "
        "a video as embeddings (docs/export.md), or the whole model for ONNX Runtime, to be named "
        "as --model afterwards (docs/engines.md). Prints what was written.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a folder, a Hugging Face id, moving-shapes")
    parser.add_argument(
        "destination", type=Path, metavar="OUT", help="a new or empty folder; of gguf, a new file"
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--format",
        choices=FORMATS,
        help="of the language model: qwen2, a folder as transformers writes it, or gguf, "
        "llama.cpp's file",
    )
    target.add_argument(
        "--engine", choices=("onnx",), help="the whole model, part by part, for this engine"
    )
    parser.add_argument(
        "--type",
        choices=TYPES,
        help="how gguf stores the matrices (default: f16); qwen2 keeps them as they are",
    )
    add_onnx_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export, and print what was written."""
    quiet_libraries(args.debug)
    start = time.perf_counter()
    document = export_onnx(args) if args.engine else export_language_model(args)
    document["seconds"] = round(time.perf_counter() - start, 2)
    if args.json:
        answer_json(document)
    else:
        answer(str(args.destination))
    return 0


def export_language_model(args: argparse.Namespace) -> dict[str, Any]:
    """Write the language model in one of `FORMATS`; what `--json` says of it."""
    if args.format == "qwen2" and args.type is not None:
        raise ValueError(f"--type {args.type} is for --format gguf; qwen2 keeps what is stored")
    if args.format == "gguf" and args.destination.suffix != ".gguf":
        raise ValueError(f"{args.destination} does not end in .gguf; llama.cpp goes by the name")
    with status(f"reading {args.model}"):
        from mobile_videogpt.checkpoints.language_model import open_language_model

        model = open_language_model(args.model)
    with status(f"writing {args.destination}"):
        write = write_gguf if args.format == "gguf" else write_qwen2
        found = write(model, args)
    about = {"format": args.format, "path": str(args.destination), "model": args.model}
    return {**about, "parameters": model.num_parameters, **found}


def write_qwen2(model: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Write the folder; its size in bytes."""
    from mobile_videogpt.checkpoints.language_model import save_qwen2

    save_qwen2(model, args.destination)
    num_bytes = sum(file.stat().st_size for file in args.destination.iterdir())
    say(f"{num_bytes / 1e6:.1f} MB, values as they were")
    return {"bytes": num_bytes}


def write_gguf(model: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Write and check the file; its size in bytes, and how far it is from the weights."""
    from mobile_videogpt.checkpoints.gguf_file import write_gguf

    kind = args.type or "f16"
    report = write_gguf(model, args.destination, kind)
    errors = ", ".join(f"{name} {error:.2g}" for name, error in report.errors.items())
    say(f"{report.num_bytes / 1e6:.1f} MB; largest relative error of a tensor: {errors}")
    errors_found = {name: round(error, 8) for name, error in report.errors.items()}
    return {
        "type": kind,
        "bytes": report.num_bytes,
        "tensors": report.tensors,
        "relative_errors": errors_found,
    }
