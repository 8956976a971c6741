"""A live window that shares half its frames with the last, beside a fresh one."""

from __future__ import annotations

import statistics
from typing import Any

from mobile_videogpt.benchmark.settings import VISION

REPEATS = 3


def measure_window(chat: Any, clip: str) -> dict[str, Any]:
    """Vision seconds of a fresh window, and of the next one, whose first half is its second half.

    Args:
        chat: a loaded `VideoChat`, which keeps the features of frames that it has seen.
        clip: a video file with at least half as many frames again as the model looks at.

    Returns:
        `fresh_s` and `shared_s` (medians), `share` (median of the pairs' ratios).
    """
    from mobile_videogpt.video.source import read_video

    size = chat.config.num_frames
    frames = read_video(clip, count=size + size // 2).frames
    fresh, shared = [], []
    for _ in range(REPEATS + 1):
        chat.forget()
        windows = chat.stream_window(iter(frames))  # moves on by half a window
        fresh.append(_vision_s(next(windows)))
        shared.append(_vision_s(next(windows)))
    # The first round warms up: the shared window has a batch of its own size.
    pairs = list(zip(fresh[1:], shared[1:], strict=True))
    return {
        "fresh_s": statistics.median(fresh[1:]),
        "shared_s": statistics.median(shared[1:]),
        "share": statistics.median(new / whole for whole, new in pairs),
        "frames": size,
        "frames_shared": size // 2,
    }


def _vision_s(video: Any) -> float:
    return sum(video.timings[part] for part in VISION)
