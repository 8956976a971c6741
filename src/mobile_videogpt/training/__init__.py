"""The paper's three stages, from media on disk or, for the built-in model, from nothing.

``media_recipe`` and ``media_run`` train from videos, pictures and text: ``samples`` makes rows of
records, ``parameters`` says what trains, ``media_trainer`` how, ``stage_results`` what is left.
``miniature`` makes the built-in model. Both share ``runner`` and ``trainer``.
"""

from .recipe import RecipeError

__all__ = ["RecipeError", "run"]


def run(config_path: str, only: str | None = None) -> str:
    """Train a recipe; see `runner.run` (imported late: it needs the `train` extra)."""
    from .runner import run as run_recipe

    return str(run_recipe(config_path, only))
