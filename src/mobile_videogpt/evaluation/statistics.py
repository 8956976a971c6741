"""How far a score can be trusted: bootstrap intervals, and the paired bootstrap of two runs.

What is drawn again is the video, not the question: questions about one video are right or wrong
together, and treating them as independent would make every interval too narrow. A benchmark whose
number is a mean over kinds of questions (MVBench, MLVU, MovingShapes) is averaged in that way in
each draw too.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 2000
FEW_VIDEOS = 20  # below, draws repeat too few videos, and intervals are too narrow
_NO_SPREAD = 1e-9  # sums in another order differ in the last digit
PAIRED_RESAMPLES = 10_000  # p values are multiples of one over this


@dataclass(frozen=True)
class Interval:
    """Where the score of other questions of the same kind would lie, with probability `level`.

    `method` is "bootstrap", or "wilson" where every draw gives the same share (all answers right,
    all wrong, or one video only): an interval without width would be a lie.
    """

    low: float
    high: float
    method: str = "bootstrap"
    level: float = LEVEL

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """Run A minus run B on the questions that both answered.

    Attributes:
        value: of the mean scores.
        interval: of the difference.
        p_value: two-sided; how often draws as extreme would come from equally good runs.
    """

    value: float
    interval: Interval
    p_value: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Tally:
    """Scores summed by video and kind of question: all that a bootstrap needs to know.

    Args:
        scores: (n,) one per question, 0 to 1.
        videos: (n,) which video each question is about.
        kinds: (n,) what the mean is taken over in two steps: within each kind, then over kinds.
            None: one plain mean over the questions.
        among: all videos, where two tallies must be drawn together; else those of `videos`.

    Raises:
        ValueError: no scores, or lists of different lengths.
    """

    def __init__(
        self,
        scores: Sequence[float],
        videos: Sequence[Hashable],
        kinds: Sequence[Hashable] | None = None,
        among: Sequence[Hashable] | None = None,
    ) -> None:
        kinds = [None] * len(scores) if kinds is None else kinds
        if not len(scores) == len(videos) == len(kinds):
            raise ValueError(
                f"{len(scores)} scores, {len(videos)} videos and {len(kinds)} kinds of questions "
                "do not belong together; give one of each per question"
            )
        if not scores:
            raise ValueError("there is no score to average; answer at least one question")
        row = {video: i for i, video in enumerate(dict.fromkeys(among or videos))}
        column = {kind: i for i, kind in enumerate(dict.fromkeys(kinds))}
        self.totals = np.zeros((len(row), len(column)))  # (videos, kinds)
        self.counts = np.zeros((len(row), len(column)))
        place = [row[video] for video in videos], [column[kind] for kind in kinds]
        np.add.at(self.totals, place, np.asarray(scores, dtype=float))
        np.add.at(self.counts, place, 1.0)

    def mean(self) -> float:
        """The score itself."""
        return float(self.means(np.ones((1, len(self.totals))))[0])

    def means(self, weights: np.ndarray) -> np.ndarray:
        """(draws, videos) how often each video was drawn -> (draws,) scores.

        A kind none of whose videos was drawn is left out of that draw's mean.
        """
        counts = weights @ self.counts  # (draws, kinds)
        with np.errstate(invalid="ignore"):
            means = (weights @ self.totals) / counts
        is_there = counts > 0
        found = np.where(is_there, means, 0.0).sum(axis=1)
        return found / np.maximum(is_there.sum(axis=1), 1)


def interval(tally: Tally, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Percentile bootstrap over videos; see `Interval` for where that says nothing."""
    drawn = _draw([tally], resamples, seed)[:, 0]
    if np.ptp(drawn) < _NO_SPREAD:
        return wilson(tally.mean(), int((tally.counts.sum(axis=1) > 0).sum()))
    return _percentiles(drawn)


def wilson(share: float, count: int) -> Interval:
    """Wilson's interval of a share of `count` independent trials.

    >>> f"{wilson(1.0, 10).low:.3f}"
    '0.722'
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    half /= 1 + z * z / count
    return Interval(max(0.0, middle - half), min(1.0, middle + half), "wilson")


def difference(
    first: Tally, second: Tally, *, resamples: int = PAIRED_RESAMPLES, seed: int = 0
) -> Difference:
    """Paired bootstrap: both runs are averaged over the same draws of the same videos.

    The p value counts the draws on the other side of zero, twice; draws at zero count on both
    sides, so that two equal runs get 1.

    Raises:
        ValueError: the tallies are not of the same videos.
    """
    if len(first.totals) != len(second.totals):
        raise ValueError("the two runs are tallied over different videos; pass both the same list")
    drawn = _draw([first, second], resamples, seed)
    gaps = drawn[:, 0] - drawn[:, 1]
    tail = min((gaps <= _NO_SPREAD).sum(), (gaps >= -_NO_SPREAD).sum())
    p_value = min(1.0, 2 * (int(tail) + 1) / (resamples + 1))
    value = first.mean() - second.mean()
    if np.ptp(gaps) >= _NO_SPREAD:
        return Difference(value, _percentiles(gaps), p_value)
    # Nowhere did the runs differ otherwise: how often might they, elsewhere?
    reach = wilson(0.0, len(first.totals)).high
    around = Interval(max(-1.0, value - reach), min(1.0, value + reach), "wilson")
    return Difference(value, around, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values after Holm's correction, for as many differences as were looked at.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    greatest = 0.0
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, index in enumerate(order):
        greatest = max(greatest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = greatest
    return adjusted


def _draw(tallies: Sequence[Tally], resamples: int, seed: int) -> np.ndarray:
    """(resamples, tallies) scores over videos drawn with replacement, all tallies alike."""
    videos = len(tallies[0].totals)
    rng = np.random.default_rng(seed)
    block = max(1, min(resamples, 2_000_000 // videos))  # rows of weights held at a time
    scores = []
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(videos, size=(rows, videos))
        drawn += np.arange(rows)[:, None] * videos
        weights = np.bincount(drawn.ravel(), minlength=rows * videos).reshape(rows, videos)
        scores.append(np.stack([tally.means(weights.astype(float)) for tally in tallies], axis=1))
    return np.concatenate(scores)


def _percentiles(values: np.ndarray) -> Interval:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))
