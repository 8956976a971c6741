"""`mobile-videogpt export --engine onnx`: every part of a model as a graph for ONNX Runtime."""

from __future__ import annotations

import argparse
from typing import Any

from mobile_videogpt.cli.output import say, status

LANGUAGE_MODEL_FORMATS = ("int4", "int8", "float32")
ENCODER_FORMATS = ("int8", "float32")


def add_onnx_arguments(parser: argparse.ArgumentParser) -> None:
    """--language-model and --encoders: number formats."""
    group = parser.add_argument_group("with --engine onnx")
    group.add_argument(
        "--language-model",
        choices=LANGUAGE_MODEL_FORMATS,
        help="its matrices (default: int4, with an int8 copy that reads prompts; float32 in small "
        "models)",
    )
    group.add_argument(
        "--encoders",
        choices=ENCODER_FORMATS,
        help="matrices of both encoders and the projectors (default: int8; float32 in small "
        "models)",
    )


def export_onnx(args: argparse.Namespace) -> dict[str, Any]:
    """Write the folder; what `--json` says of it."""
    with status(f"reading {args.model}"):
        from mobile_videogpt.chat.onnx_exports import write_export
    chosen = {"language_model": args.language_model, "encoders": args.encoders}
    formats = {name: value for name, value in chosen.items() if value is not None}
    manifest = write_export(
        args.model, args.destination, formats, on_part=lambda part: say(f"{part} ...")
    )
    for name, part in manifest.parts.items():
        size = sum(part.files.values()) / 1e6
        say(
            f"{name}: {part.number_format}, {size:.1f} MB, differs from torch by {part.error:.2g} "
            f"of its output (at most {part.tolerance:g})"
        )
    return {
        "engine": "onnx",
        "path": str(args.destination),
        "model": args.model,
        "bytes": manifest.num_bytes,
        "parts": {
            name: {
                "number_format": part.number_format,
                "bytes": sum(part.files.values()),
                "error": part.error,
                "tolerance": part.tolerance,
            }
            for name, part in manifest.parts.items()
        },
    }
