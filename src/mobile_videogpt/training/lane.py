"""A child process that runs the named stages of a recipe one after the other."""

from __future__ import annotations

import logging
import sys

from .recipe import RecipeError
from .runner import run


def main(arguments: list[str]) -> int:
    """RECIPE STAGE...; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    recipe, *stages = arguments
    try:
        for stage in stages:
            run(recipe, only=stage)
    except RecipeError as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
