"""Whether the scene is another one: what the image encoder sees, beside what it saw before.

The features are computed for the window anyway, so this costs a few multiplications per frame.
"""

from __future__ import annotations

import statistics
from collections import deque

import torch

# How much of the past says what is usual.
_REMEMBERED = 48
_LEAST_REMEMBERED = 4
# A frame counts as another scene if it is further from the last one than is usual by so many
# times the usual spread, and further than what a still camera's noise makes of it.
_TIMES_THE_SPREAD = 8.0
_LEAST_DISTANCE = 0.02


class ChangeDetector:
    """Looks at frames in order and says which of them begins something new.

    The distance of two frames is 1 - cos of their features. What is usual, the median and the
    spread around it (median absolute deviation), follows the source: a busy street has more of it
    than a corridor.
    """

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None
        self._distances: deque[float] = deque(maxlen=_REMEMBERED)

    def add(self, features: torch.Tensor) -> float | None:
        """How far a frame is from the last one, as a multiple of the least that is a change.

        Args:
            features: (D,), of the next frame.

        Returns:
            1 or more if the scene has changed, else None.
        """
        last, self._last = self._last, features
        if last is None:
            return None
        distance = 1 - float(torch.nn.functional.cosine_similarity(last, features, dim=0))
        least = self._least_change()
        self._distances.append(distance)
        return distance / least if distance >= least else None

    def _least_change(self) -> float:
        if len(self._distances) < _LEAST_REMEMBERED:
            return _LEAST_DISTANCE
        usual = statistics.median(self._distances)
        spread = statistics.median(abs(distance - usual) for distance in self._distances)
        return max(_LEAST_DISTANCE, usual + _TIMES_THE_SPREAD * spread)
