"""All runs of an ablation: a few at a time, each in a process with one thread."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from ..provenance import note_start
from ..recipe import RecipeError
from .features import prepare_features
from .plan import Ablation

logger = logging.getLogger(__name__)
Job = tuple[str, int]  # variant, seed


def train_all(ablation: Ablation, workers: int) -> None:
    """Do the runs that are not done, `workers` at a time; killed, it goes on where it was.

    One seed of all variants comes before the next seed, so that what is there is comparable.

    Raises `RecipeError` if one fails, after the others have ended.
    """
    note_start(ablation.output, ablation.path)
    todo = missing_runs(ablation)
    if not todo:
        return
    prepare_features(ablation, workers)
    begun, failed = time.monotonic(), []
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(_run, ablation, job): job for job in todo}
        for number, done in enumerate(as_completed(running), start=1):
            variant, seed = running[done]
            if done.result() != 0:
                failed.append(ablation.folder(variant, seed) / "log.txt")
            left = (len(todo) - number) * (time.monotonic() - begun) / number
            outcome = "failed" if done.result() else "done"
            logger.info(
                "%s, seed %d: %s; %d of %d runs, about %.0f minutes left",
                *(variant, seed, outcome, number, len(todo), left / 60),
            )
    if failed:
        raise RecipeError(f"{len(failed)} runs failed; see the end of {failed[0]}.")


def missing_runs(ablation: Ablation) -> list[Job]:
    """The runs without answers, seed by seed."""
    jobs = [(variant, seed) for seed in ablation.seeds for variant in ablation.variants]
    return [job for job in jobs if not (ablation.folder(*job) / "answers.json").exists()]


def _run(ablation: Ablation, job: Job) -> int:
    """The exit code of one run's process."""
    variant, seed = job
    folder = ablation.folder(variant, seed)
    folder.mkdir(parents=True, exist_ok=True)
    name = "mobile_videogpt.training.ablation.job"
    command = [sys.executable, "-m", name, str(ablation.path), variant, str(seed)]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.run(
            command, stdout=log, stderr=log, env=_one_thread(), check=False
        ).returncode


def _one_thread() -> dict[str, str]:
    """The environment of a run; the package is found where this process found it."""
    package = str(Path(__file__).parents[3])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
