"""`mobile-videogpt data`: make training data, look at it, rewrite it."""

from __future__ import annotations

import argparse
from typing import Any

from mobile_videogpt.cli.data import check, convert, encode, moving_shapes, stats

KINDS = (moving_shapes, check, stats, convert, encode)


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `data` with what it can do."""
    parser = subparsers.add_parser(
        "data",
        parents=parents,
        help="make, check, convert and encode training data",
        description="Make training data, check it, count what is in it, convert or encode it.",
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for kind in KINDS:
        kind.add_parser(kinds, parents)
