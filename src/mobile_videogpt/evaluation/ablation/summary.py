"""Every variant's accuracy with intervals, and its difference from the reference, in pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from ...synthetic.questions import FAMILIES
from ..statistics import Tally, difference, interval

REFERENCE = "dual"
SCORES = ("multiple_choice", "open")
# Two-sided 95 % quantile of Student's t by degrees of freedom: an ablation has few seeds.
_STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}
_NORMAL = 1.96

Answers = Sequence[Mapping[str, Any]]
"""Of one run: clip, family, true (letter), letter, open (bool) and options (how many)."""


def summarise(runs: Mapping[str, Mapping[int, Answers]]) -> dict[str, Any]:
    """Variant -> its scores, from the answers of variant and seed.

    Scores are means over the question families, then over seeds. `interval` draws clips anew (the
    runs as they are); `seeds` has every seed's score. `difference` is to the same questions'
    answers of `REFERENCE`: its `interval` draws clips, its `over_seeds` is Student's interval of
    the mean of the differences between runs of equal seed, which knows that training varies.

    Raises:
        ValueError: two runs did not answer the same questions.
    """
    _check_questions(runs)
    variants = {name: _variant(seeds) for name, seeds in runs.items() if seeds}
    reference = runs.get(REFERENCE, {})
    for name, seeds in runs.items():
        shared = [seed for seed in seeds if seed in reference]
        if name != REFERENCE and shared:
            variants[name]["difference"] = {
                score: _difference(seeds, reference, shared, score) for score in SCORES
            }
    return variants


def _variant(seeds: Mapping[int, Answers]) -> dict[str, Any]:
    everything = [row for answers in seeds.values() for row in answers]
    found: dict[str, Any] = {"seeds": sorted(seeds), "questions": len(next(iter(seeds.values())))}
    for score in SCORES:
        tally = _tally(everything, score)
        found[score] = {
            "value": tally.mean(),
            "interval": interval(tally).as_json(),
            "seeds": [_tally(seeds[seed], score).mean() for seed in sorted(seeds)],
        }
    found["families"] = {
        family: _family([row for row in everything if row["family"] == family])
        for family in FAMILIES
        if any(row["family"] == family for row in everything)
    }
    found["chance"] = mean(family["chance"] for family in found["families"].values())
    return found


def _family(answers: Answers) -> dict[str, Any]:
    found: dict[str, Any] = {"chance": mean(1 / row["options"] for row in answers)}
    for score in SCORES:
        tally = _tally(answers, score)
        found[score] = {"value": tally.mean(), "interval": interval(tally).as_json()}
    return found


def _difference(
    seeds: Mapping[int, Answers], reference: Mapping[int, Answers], shared: list[int], score: str
) -> dict[str, Any]:
    pooled = [
        _tally([row for seed in shared for row in runs[seed]], score) for runs in (seeds, reference)
    ]
    gaps = [_tally(seeds[s], score).mean() - _tally(reference[s], score).mean() for s in shared]
    return {**difference(*pooled).as_json(), "seeds": gaps, "over_seeds": _student(gaps)}


def _student(values: Sequence[float]) -> list[float] | None:
    """The 95 % interval of the mean of few values; None of a single one.

    >>> [round(end, 3) for end in _student([0.1, 0.2, 0.3])]
    [-0.048, 0.448]
    """
    if len(values) < 2:
        return None
    half = _STUDENT.get(len(values) - 1, _NORMAL) * stdev(values) / math.sqrt(len(values))
    return [mean(values) - half, mean(values) + half]


def _tally(answers: Answers, score: str) -> Tally:
    right = [row["open"] if score == "open" else row["letter"] == row["true"] for row in answers]
    return Tally(right, [row["clip"] for row in answers], [row["family"] for row in answers])


def _check_questions(runs: Mapping[str, Mapping[int, Answers]]) -> None:
    asked: list[tuple[Any, ...]] | None = None
    for name, seeds in runs.items():
        for seed, answers in seeds.items():
            questions = [(row["clip"], row["family"], row["true"]) for row in answers]
            if asked is not None and questions != asked:
                raise ValueError(
                    f"variant {name}, seed {seed} answered other questions than the runs before "
                    "it; remove its answers.json and run the ablation again"
                )
            asked = questions
