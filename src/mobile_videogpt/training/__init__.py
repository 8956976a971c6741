"""The paper's three training stages, and the miniature's stage 0 in front of them."""

from .recipe import RecipeError

__all__ = ["RecipeError", "run"]


def run(config_path: str, only: str | None = None) -> str:
    """Train a recipe; see `runner.run` (imported late: it needs the `train` extra)."""
    from .runner import run as run_recipe

    return str(run_recipe(config_path, only))
