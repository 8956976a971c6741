"""From the start of a process to the answer printed, for the built-in model."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mobile_videogpt.benchmark.environment import child_environment

REPEATS = 5


def measure_startup() -> dict[str, Any]:
    """Wall time of `mobile-videogpt ask CLIP QUESTION` with the built-in model, files in the cache.

    Returns:
        `seconds` (median), `min`, `max`, `command`.

    Raises:
        RuntimeError: the command failed.
    """
    from mobile_videogpt.synthetic.dataset import write_clip
    from mobile_videogpt.synthetic.world import make_clip

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(make_clip(0), clip)
        command = [
            sys.executable,
            "-m",
            "mobile_videogpt",
            "ask",
            str(clip),
            "How many objects move?",
        ]
        times = []
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, env=child_environment())
            times.append(time.perf_counter() - start)
            if done.returncode:
                raise RuntimeError(f"`mobile-videogpt ask` failed: {done.stderr.strip()}")
    warm = times[1:]
    return {
        "seconds": statistics.median(warm),
        "min": min(warm),
        "max": max(warm),
        "command": 'mobile-videogpt ask CLIP "How many objects move?"',
    }
