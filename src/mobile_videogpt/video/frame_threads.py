"""The same work on every frame, on all cores where frames are large.

Pillow, hashing and NumPy's inner loops let other Python threads run, and frames do not depend on
one another, so the result is that of a plain loop.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

T = TypeVar("T")

# Below this many pixels per frame, starting threads costs more than they save.
_LARGE_FRAME = 512 * 512
_MOST_THREADS = 8


def for_each_frame(work: Callable[[np.ndarray], T], frames: Sequence[np.ndarray]) -> list[T]:
    """`[work(frame) for frame in frames]`, in the same order."""
    threads = min(os.cpu_count() or 1, len(frames), _MOST_THREADS)
    if threads < 2 or frames[0].shape[0] * frames[0].shape[1] < _LARGE_FRAME:
        return [work(frame) for frame in frames]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, frames))
