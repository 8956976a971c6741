"""One variant with one seed, in a process of its own: trained, saved, scored.

    python -m mobile_videogpt.training.ablation.job ABLATION VARIANT SEED

Every step that is done is skipped, a stage that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time

from ..files import write_json
from ..miniature import instruct
from ..recipe import RecipeError
from ..runner import run_stage
from .features import unseen_features
from .plan import Ablation, load_ablation
from .scoring import score

logger = logging.getLogger(__name__)


def train_and_score(ablation: Ablation, variant: str, seed: int) -> None:
    """Leave `model/` and `answers.json` in the run's folder."""
    recipe = ablation.recipe(variant, seed)
    recipe.output.mkdir(parents=True, exist_ok=True)
    for stage in recipe.stages():
        run_stage(recipe, stage)
        shutil.rmtree(recipe.output / stage.name / "checkpoints", ignore_errors=True)
    if not (recipe.output / "model").exists():
        instruct.save_model(recipe, recipe.output / "model")
    answers = recipe.output / "answers.json"
    if not answers.exists():
        begun = time.monotonic()
        model = instruct.final_model(recipe)
        write_json(answers, score(model, unseen_features(ablation, variant)))
        logger.info("scored in %.0f s", time.monotonic() - begun)


def _leave_with(parent: int) -> None:
    """End this process when the one that started it has gone: a resumed run starts its own."""
    while os.getppid() == parent:
        time.sleep(2)
    os._exit(1)


def main(arguments: list[str]) -> int:
    """ABLATION VARIANT SEED; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    path, variant, seed = arguments
    try:
        train_and_score(load_ablation(path), variant, int(seed))
    except RecipeError as error:
        logger.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
