"""`mobile-videogpt train`: run the stages that a configuration file names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import quiet_libraries


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `train`."""
    parser = subparsers.add_parser(
        "train",
        parents=parents,
        help="train a model, stage by stage",
        description="Train a model with the stages that CONFIG names. A run that was stopped is "
        "taken up where it was.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file")
    parser.add_argument(
        "--no-resume",
        dest="resume",
        action="store_false",
        help="start from the beginning even if an earlier run left checkpoints",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Hand the configuration to the training room."""
    if not args.config.is_file():
        raise ValueError(f"no such configuration file: {args.config}; see the folder configs/")
    quiet_libraries(args.debug)
    try:
        from mobile_videogpt import training
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith("mobile_videogpt"):
            raise
        raise ValueError(
            f"training needs the package {error.name!r}; run: pip install 'mobile-videogpt[train]'"
        ) from None
    training.run(args.config, resume=args.resume)
    return 0
