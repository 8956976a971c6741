"""`mobile-videogpt export`: write a model in the form that another program runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import quiet_libraries
from mobile_videogpt.cli.output import answer, status

FORMATS = ("qwen2",)


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `export`."""
    parser = subparsers.add_parser(
        "export",
        parents=parents,
        help="write a model in the form that another program runs",
        description="Write the language model for llama.cpp, MLX, vLLM or transformers, which take "
        "a video as embeddings (docs/export.md). Prints what was written.",
    )
    parser.add_argument("model", metavar="MODEL", help="a folder, a Hugging Face id, moving-shapes")
    parser.add_argument("destination", type=Path, metavar="OUT", help="a new or empty folder")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--format",
        choices=FORMATS,
        help="of the language model: qwen2, a folder as transformers writes it",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export, and print what was written."""
    quiet_libraries(args.debug)
    export_language_model(args)
    return 0


def export_language_model(args: argparse.Namespace) -> None:
    """Write the language model in one of `FORMATS`."""
    with status(f"reading {args.model}"):
        from mobile_videogpt.checkpoints.language_model import open_language_model, save_qwen2

        model = open_language_model(args.model)
    with status(f"writing {args.destination}"):
        save_qwen2(model, args.destination)
    answer(str(args.destination))
