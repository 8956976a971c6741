"""What a run reports beside its loss: samples and visual tokens per second, memory."""

from __future__ import annotations

import resource
import sys
import time

import torch
from torch import Tensor


class Meter:
    """Adds up what `SampleCollator` counts, from one report to the next."""

    def __init__(self) -> None:
        self._counts: Tensor | None = None
        self._since: float | None = None  # the first batch starts the clock
        self.num_replaced = 0

    def add(self, counts: Tensor) -> None:
        """Counts (3,): samples, visual tokens, replaced samples of a batch."""
        self._since = self._since or time.monotonic()
        self._counts = counts.clone() if self._counts is None else self._counts + counts

    def take(self, device: torch.device) -> Tensor:
        """This process's counts since the last report, float64 (3,), to be summed over all."""
        counts = torch.zeros(3) if self._counts is None else self._counts
        self._counts = None
        return counts.to(device, torch.float64 if device.type != "mps" else torch.float32)

    def report(self, totals: Tensor) -> dict[str, float]:
        """Rates since the last report, from the counts of all processes."""
        now = time.monotonic()
        seconds, self._since = max(now - (self._since or now), 1e-9), now
        samples, visual_tokens, replaced = totals.tolist()
        self.num_replaced += int(replaced)
        return {
            "samples_per_second": samples / seconds,
            "visual_tokens_per_second": visual_tokens / seconds,
            "replaced_samples": self.num_replaced,
            "peak_memory_bytes": peak_memory_bytes(),
        }


def peak_memory_bytes() -> int:
    """The most memory that was ever taken: of the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
