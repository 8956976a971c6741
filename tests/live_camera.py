"""The pretend camera of examples/, and films for it."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(EXAMPLES))
    rtsp_camera: Any = importlib.import_module("rtsp_camera")

# Grey levels that survive coding, one step apart.
STEP = 6


def numbered_frames(count: int) -> list[np.ndarray]:
    """Frames that tell their number by how bright they are, up to 40."""
    return [np.full((64, 64, 3), 8 + STEP * n, dtype=np.uint8) for n in range(count)]


def number_of(pixels: np.ndarray) -> int:
    """The number that a frame tells."""
    return round((float(pixels.mean()) - 8) / STEP)


def wait_until(is_so: Callable[[], bool], most_s: float = 60.0) -> None:
    """Wait for a condition, however busy the machine is."""
    deadline = time.monotonic() + most_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
