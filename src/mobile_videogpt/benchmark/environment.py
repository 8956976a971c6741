"""The environment of processes that are started to be measured."""

from __future__ import annotations

import os
from pathlib import Path


def child_environment(threads: int | None = None) -> dict[str, str]:
    """This process's environment, in which the same copy of the package is found, offline."""
    source = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    environment.pop("MOBILE_VIDEOGPT_CACHE", None)  # it would answer in place of the model
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    return environment
