"""What was computed for single frames, kept while a window slides over them.

The image encoder looks at every frame by itself, so its features belong to the frame alone, not to
the window or the clip; the same is true of both encoders' pixels. Frames are known by a hash of
their pixels: a padded clip's repeated last frame, a still picture and overlapping windows are all
the same case.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class FrameFeatures:
    """One frame, ready for everything that looks at several."""

    image_features: torch.Tensor
    """(N, D), the image encoder's, where the engine left them."""
    video_pixels: torch.Tensor
    """(3, h, w), the video encoder's input."""


class FrameCache:
    """The features of the frames that were used last.

    Args:
        max_frames: how many are kept; a frame of the full-size model takes 1.2 MB in float32.
    """

    def __init__(self, max_frames: int) -> None:
        self.max_frames = max_frames
        self._frames: OrderedDict[str, FrameFeatures] = OrderedDict()

    def __contains__(self, digest: str) -> bool:
        return digest in self._frames

    def __len__(self) -> int:
        return len(self._frames)

    def get(self, digest: str) -> FrameFeatures | None:
        """The frame of that hash, which counts as used now; None if it is not here."""
        if digest in self._frames:
            self._frames.move_to_end(digest)
        return self._frames.get(digest)

    def add(self, digest: str, features: FrameFeatures) -> None:
        """Keep a frame, and let go of those that were not used for longest."""
        self._frames[digest] = features
        self._frames.move_to_end(digest)
        while len(self._frames) > self.max_frames:
            self._frames.popitem(last=False)

    def clear(self) -> None:
        """Let go of all frames."""
        self._frames.clear()


def frame_digest(frame: np.ndarray) -> str:
    """Hash of a frame's size and pixels."""
    digest = hashlib.sha256(f"{frame.shape}".encode())
    digest.update(np.ascontiguousarray(frame).data)
    return digest.hexdigest()


def content_key(frame_times: Iterable[float], frame_digests: Iterable[str], weights: str) -> str:
    """Hash of a clip's sampled frames, when they were taken, and the weights; never of a path."""
    digest = hashlib.sha256(weights.encode())
    digest.update(np.asarray(list(frame_times), dtype=np.float64).tobytes())
    for frame in frame_digests:
        digest.update(bytes.fromhex(frame))
    return digest.hexdigest()
