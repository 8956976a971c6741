"""The paper's three stages, from media on disk or, for the built-in model, from nothing.

``media`` trains from videos, pictures and text, which ``data`` reads; ``finetune`` wraps it up in
one command, ``planning`` says beforehand what a run takes. ``miniature`` makes the built-in model.
All share ``runner`` and ``trainer``.
"""

from .recipe import RecipeError

__all__ = ["RecipeError", "run"]


def run(config_path: str, only: str | None = None) -> str:
    """Train a recipe; see `runner.run` (imported late: it needs the `train` extra)."""
    from .runner import run as run_recipe

    return str(run_recipe(config_path, only))
