"""Run a recipe: every stage in order, side-by-side lanes in processes of their own.

Each stage leaves `OUTPUT/STAGE/done.json` with its measures; a stage that has one is skipped, a
stage that was killed resumes from its last checkpoint. A stage that misses its gate stops the run,
because what builds on it could not be good.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from .curves import draw_curves
from .files import write_json
from .media.recipe import MediaRecipe, MediaStage, is_media_recipe, load_media_recipe
from .media.run import finish, train_from_media
from .miniature import instruct, pretrain
from .processes import process_state
from .provenance import note_start
from .recipe import Recipe, RecipeError, Stage, load_recipe

logger = logging.getLogger(__name__)

_KINDS: dict[str, Callable[[Recipe, Stage, Path], dict[str, float]]] = {
    "dense_image": pretrain.run_dense_image,
    "dense_video": pretrain.run_dense_video,
    "scene_language": pretrain.run_scene_language,
    "image_projector": instruct.run_image_projector,
    "video_projector": instruct.run_video_projector,
    "instruct": instruct.run_instruct,
}


def run(config_path: str | Path, only: str | None = None) -> Path:
    """Train the recipe at `config_path` (or its stage `only`) and return the model's folder.

    Raises `RecipeError` for a recipe that cannot be used or a stage that missed its gate.
    """
    if is_media_recipe(config_path):
        return run_media(load_media_recipe(config_path), only)
    recipe = load_recipe(config_path)
    note_start(recipe.output, recipe.path)
    if only:
        run_stage(recipe, recipe.stage(only))
        return recipe.output
    _render(recipe)
    for group in recipe.lanes:
        if len(group) == 1:
            for stage in group[0]:
                run_stage(recipe, stage)
        else:
            _run_lanes(recipe, group)
    draw_curves(recipe.output, [stage.name for stage in recipe.stages()])
    return instruct.save_model(recipe, recipe.output / "model")


def _render(recipe: Recipe) -> None:
    config = recipe.config()
    workers = os.cpu_count() or 1
    for split in ("train", "validation"):
        cache = pretrain.clip_cache(recipe, config, split)
        for done in cache.render(workers):
            logger.info("rendered %d of %d %s clips", done, cache.num_clips, split)


def run_media(recipe: MediaRecipe, only: str | None = None) -> Path:
    """Train a recipe that starts from media; every process of a distributed run calls this."""
    if process_state().is_main_process:
        note_start(recipe.output, recipe.path)
    for stage in [recipe.stage(only)] if only else recipe.stages:
        folder = recipe.output / stage.name

        def train(stage: MediaStage = stage, folder: Path = folder) -> dict[str, float]:
            return train_from_media(recipe, stage, folder)

        _run_once(stage.name, folder, recipe.seed, train)
    return recipe.output if only else finish(recipe)


def run_stage(recipe: Recipe, stage: Stage) -> None:
    """Train one stage of the miniature, unless it is done.

    Raises `RecipeError` for an unknown kind or a missed gate.
    """
    if stage.kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise RecipeError(
            f"Stage {stage.name} has the unknown kind {stage.kind!r}; known: {known}."
        )
    folder = recipe.output / stage.name

    _run_once(
        stage.name,
        folder,
        recipe.seed,
        lambda: _KINDS[stage.kind](recipe, stage, folder),
        lambda measures: _check_gate(stage, measures),
    )


def _run_once(
    name: str,
    folder: Path,
    seed: int,
    train: Callable[[], dict[str, float]],
    check: Callable[[dict[str, float]], None] = lambda measures: None,
) -> None:
    """Run a stage unless it is done; `done.json` says so when all of it is written and checked."""
    if (folder / "done.json").exists():
        logger.info("%s: already done", name)
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    begun = time.monotonic()
    measures = train()
    seconds = time.monotonic() - begun
    logger.info("%s: %.0f s, %s", name, seconds, {k: round(v, 3) for k, v in measures.items()})
    check(measures)
    state = process_state()
    state.wait_for_everyone()
    if state.is_main_process:
        write_json(folder / "done.json", {"seconds": seconds, "measures": measures}, indent=1)
    state.wait_for_everyone()


def _check_gate(stage: Stage, measures: dict[str, float]) -> None:
    for name, least in stage.gate.items():
        if measures[name] < least:
            raise RecipeError(
                f"Stage {stage.name} reached {name} {measures[name]:.3f} on unseen clips and needs"
                f" {least}: train it longer (raise `steps` and remove its folder) before going on."
            )


def _run_lanes(recipe: Recipe, lanes: tuple[tuple[Stage, ...], ...]) -> None:
    """One child process a lane with its share of the cores; a failure ends the run."""
    threads = max((os.cpu_count() or 1) // len(lanes), 1)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    children = []
    for lane in lanes:
        names = [stage.name for stage in lane]
        command = [sys.executable, "-m", "mobile_videogpt.training.lane", str(recipe.path), *names]
        children.append((names, subprocess.Popen(command, env=environment)))
    try:
        failed = [names for names, child in children if child.wait() != 0]
    except BaseException:
        for _, child in children:
            child.terminate()
        raise
    if failed:
        raise RecipeError(
            f"Training stopped in the lane {', '.join(failed[0])}: see its message above."
        )
