"""In which order a stage visits its samples: the stream's own, or grouped by length or media."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler

WINDOW = 32  # global batches whose rows are sorted among each other

OfEpoch = Callable[[int], Sequence[int]]  # a number for each place of an epoch


class LengthGroupedSampler(Sampler[int]):
    """Positions 0 to `num_samples` - 1, every global batch of about equally long rows.

    Windows of the stream are sorted by length and cut into global batches, whose order is then
    drawn from the seed and the window's number. Nothing else enters, so that any number of
    processes sees the same global batches, and so does a run that is resumed.

    Args:
        lengths: tokens at each place of an epoch.
        samples_per_epoch: places of an epoch.
        num_samples: a multiple of `batch_size`.
        batch_size: of an optimiser step, all devices and accumulated batches together.
        seed: of the order.
    """

    def __init__(
        self,
        lengths: OfEpoch,
        samples_per_epoch: int,
        num_samples: int,
        batch_size: int,
        seed: int = 0,
    ) -> None:
        self.lengths, self.samples_per_epoch = lengths, samples_per_epoch
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        size = WINDOW * self.batch_size
        lengths = lru_cache(maxsize=2)(lambda epoch: np.asarray(self.lengths(epoch)))
        for window, start in enumerate(range(0, self.num_samples, size)):
            positions = np.arange(start, min(start + size, self.num_samples))
            order = np.argsort(self._lengths(positions, lengths), kind="stable")
            batches = positions[order].reshape(-1, self.batch_size)
            rng = np.random.default_rng([self.seed, window])
            yield from batches[rng.permutation(len(batches))].ravel().tolist()

    def _lengths(self, positions: np.ndarray, of_epoch: Callable[[int], np.ndarray]) -> np.ndarray:
        epochs, places = np.divmod(positions, self.samples_per_epoch)
        lengths = np.empty(len(positions), dtype=np.int64)
        for epoch in np.unique(epochs):
            is_here = epochs == epoch
            lengths[is_here] = of_epoch(int(epoch))[places[is_here]]
        return lengths


class MediaGroupedSampler(Sampler[int]):
    """Positions 0 to `num_samples` - 1, samples about the same media next to each other.

    Within an epoch the groups stand in the order in which the stream first meets them, so that any
    number of processes, and a run that is resumed, see the same.

    Args:
        media: number of the media of the sample at each place of an epoch.
        samples_per_epoch: places of an epoch.
        num_samples: the last epoch may be cut short.
    """

    def __init__(self, media: OfEpoch, samples_per_epoch: int, num_samples: int) -> None:
        self.media, self.samples_per_epoch = media, samples_per_epoch
        self.num_samples = num_samples

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[int]:
        for epoch, start in enumerate(range(0, self.num_samples, self.samples_per_epoch)):
            numbers = np.asarray(self.media(epoch))[: self.num_samples - start]
            _, first, group = np.unique(numbers, return_index=True, return_inverse=True)
            yield from (start + np.argsort(first[group], kind="stable")).tolist()
