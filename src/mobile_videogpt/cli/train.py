"""`mobile-videogpt train`: run the stages of a recipe."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import quiet_libraries
from mobile_videogpt.cli.failures import needing
from mobile_videogpt.cli.output import answer


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `train`."""
    parser = subparsers.add_parser(
        "train",
        parents=parents,
        help="train a model, stage by stage",
        description="Train a model with the stages of a recipe and print its folder. Started "
        "again, a run that was stopped goes on where it was. On several devices: accelerate launch "
        "--config_file configs/accelerate/ddp.yaml -m mobile_videogpt train CONFIG",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the recipe, a YAML file")
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Hand the recipe to the training room."""
    if not args.config.is_file():
        raise ValueError(f"no such recipe: {args.config}; see the folder configs/")
    # Hours pass: say what goes on. Of the processes of a distributed run, one speaks.
    is_first = os.environ.get("RANK", "0") == "0"
    logging.getLogger("mobile_videogpt").setLevel(logging.INFO if is_first else logging.WARNING)
    with needing("train", "training", debug=args.debug):
        quiet_libraries(args.debug)
        from mobile_videogpt import training

        folder = training.run(str(args.config), only=args.only)
    if is_first:
        answer(folder)
    return 0
