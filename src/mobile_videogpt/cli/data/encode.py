"""`mobile-videogpt data encode`: features of the frozen encoders, computed once."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import (
    DEFAULT_MODEL,
    add_data_argument,
    positive_int,
    quiet_libraries,
)
from mobile_videogpt.cli.data.check import progress_of_files
from mobile_videogpt.cli.output import answer, answer_json, status, table

EPILOG = """\
Train from the folder with `features: FOLDER` in a stage of the recipe. What is stored is named by
the content of the frames, the encoders' weights and their settings. Started again, the command
encodes only what is new or changed."""


def add_parser(kinds: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add `data encode`."""
    parser = kinds.add_parser(
        "encode",
        parents=parents,
        help="run the frozen encoders once, to train without decoding videos",
        description="Store what a model's frozen encoders make of every video and picture of "
        "annotations or a mixture.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_argument(parser)
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME", help="whose encoders: see `ask --help`"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for them (default: CONFIG.features)"
    )
    parser.add_argument(
        "--stills",
        choices=("image", "video"),
        default="image",
        help="the encoder that pictures are for: video in stage 2 (default: %(default)s)",
    )
    parser.add_argument(
        "--store",
        choices=("float16", "float32"),
        default="float16",
        help="precision of what is stored (default: %(default)s)",
    )
    parser.add_argument("--batch", type=positive_int, default=8, metavar="N", help="at a time")
    parser.add_argument("--workers", type=positive_int, metavar="N", help="processes that decode")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--root", type=Path, metavar="DIR", help="where the data lies")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Encode and print the folder; 1 if something could not be read."""
    folder = args.output or Path(os.curdir) / f"{args.config.stem}.features"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; --output must be a folder, existing or not")
    if not args.config.is_file():
        raise ValueError(f"no such mixture or annotation file: {args.config}")
    quiet_libraries(args.debug)
    from mobile_videogpt.checkpoints import load_model
    from mobile_videogpt.engines.devices import pick_device
    from mobile_videogpt.training.data import load_mixture
    from mobile_videogpt.training.media.encode import EncodeOptions, encode_media, unique_media

    with status(f"reading {args.config}"):
        media = unique_media(load_mixture(args.config, root=args.root))
    device = pick_device(args.device)
    with status(f"loading {args.model}"):
        model, processor = load_model(args.model, device=device)
    # On a CPU the encoders take all cores themselves, and decoding is quick beside them.
    spare = (os.cpu_count() or 1) - 1 if device.type != "cpu" else 0
    options = EncodeOptions(
        dtype=args.store,
        still_branch=args.stills,
        batch_size=args.batch,
        workers=args.workers or spare,
    )
    with progress_of_files() as on_progress:
        summary = encode_media(media, model, processor, folder, options, on_progress)
    if args.json:
        answer_json({**vars(summary), "folder": str(folder)})
    else:
        table([(name, f"{count:,}") for name, count in vars(summary).items()])
        answer(str(folder))
    return 1 if summary.unreadable else 0
