"""`mobile-videogpt data convert`: annotations from one layout to another."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import add_data_argument
from mobile_videogpt.cli.output import answer, say


def add_parser(kinds: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add `data convert`."""
    parser = kinds.add_parser(
        "convert",
        parents=parents,
        help="write annotations in another layout",
        description="Read annotations or a mixture and write them as one file: LLaVA's layout, "
        "chat messages, or a table. A mixture's records are written once each, with their prompts.",
    )
    add_data_argument(parser)
    parser.add_argument("out", type=Path, metavar="OUT", help=".json, .jsonl, .csv or .tsv")
    parser.add_argument(
        "--to",
        choices=("llava", "messages", "csv"),
        help="layout (default: csv for tables, llava for JSON)",
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="where the data lies")
    parser.add_argument(
        "--media-root",
        type=Path,
        metavar="DIR",
        help="write media paths relative to this folder (default: that of OUT)",
    )
    parser.add_argument(
        "--lenient",
        action="store_true",
        help="put media without a tag in front, drop tags without media",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert and print the file's name."""
    from mobile_videogpt.training.data.annotations import read_annotations
    from mobile_videogpt.training.data.convert import write_annotations
    from mobile_videogpt.training.data.mixture import apply_prompt, read_config

    sources = read_config(args.config, root=args.root).sources
    records = (
        apply_prompt(record, source)
        for source in sources
        for record in read_annotations(
            source.annotations,
            media_root=source.media_root,
            layout=source.layout,
            strict=not args.lenient,
        )
    )
    number = write_annotations(records, args.out, args.to, media_root=args.media_root)
    say(f"{number} entries")
    answer(str(args.out))
    return 0
