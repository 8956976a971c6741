"""A live reader whose time passes as a test says: no thread, no waiting."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace

import numpy as np

from mobile_videogpt.video.live.reader import LiveFrame, Notice


class ScriptedReader:
    """Gives `frames` one by one, or `steps[n]` of them in the n-th wait.

    Args:
        frames: uint8 (H, W, 3), taken at `rate` a second.
        rate: frames per second.
        keep: how many stay.
        steps: frames that pass while the model is at work; 1 each after the last of them.
        failure: how reading ends.
    """

    def __init__(self, frames, rate, keep, *, steps=(), failure=None):
        self.rate = rate
        self.source = SimpleNamespace(name="the script")
        self.effort = SimpleNamespace(skipped=0)
        self.frames_decoded = 0
        self.notices = deque([Notice("connected", 0.0)])
        self.failure = failure
        self.is_over = self.is_closed = False
        self._waiting = iter(frames)
        self._steps = iter(steps)
        self._kept = deque(maxlen=keep)
        self.now = 0.0

    def start(self):
        pass

    def close(self):
        self.is_closed = True

    def wait(self, after, timeout_s):
        assert after == self.frames_decoded, "a frame that is known is not waited for"
        for _ in range(next(self._steps, 1)):
            pixels = next(self._waiting, None)
            if pixels is None:
                self.is_over = True
                return
            self.frames_decoded += 1
            self.now = (self.frames_decoded - 1) / self.rate
            self._kept.append(LiveFrame(self.frames_decoded, self.now, pixels))

    def latest(self, span_s):
        frames = list(self._kept)
        return [f for f in frames if f.time > frames[-1].time - span_s + 0.25 / self.rate]


def grey_frames(count):
    """Frames of which no two are equal."""
    return [np.full((32, 32, 3), n % 256, dtype=np.uint8) for n in range(count)]
