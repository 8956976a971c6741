"""What annotations hold, counted: nothing is decoded, no file is opened but the annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .mixture import Mixture
from .records import Record
from .text_checks import text_tokens

_TOP = 15
# A field with more values than this describes entries one by one, not kinds of them.
_MOST_LABELS = 50
_PERCENTILES = (0, 50, 90, 99, 100)


def mixture_statistics(mixture: Mixture) -> dict[str, Any]:
    """How a mixture is made up, and the statistics of each source and of all."""
    everything = TextStatistics()
    sources = {}
    for source in mixture.sources:
        own = TextStatistics()
        for record in source.records:
            own.add(record)
        everything.merge(own)
        sources[source.config.name] = own.as_json()
    return {**mixture.describe(), "all": everything.as_json(), "per_source": sources}


class TextStatistics:
    """Counts that add up; a record is looked at once."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.openings: Counter[str] = Counter()
        self.question_tokens: list[int] = []
        self.answer_tokens: list[int] = []
        self.fields: dict[str, Counter[str]] = {}
        self.files: set[Path] = set()

    def add(self, record: Record) -> None:
        """Count one record."""
        self.counts["records"] += 1
        kinds = {media.kind for media in record.media}
        shown = " and ".join(sorted(kinds)) or "text"
        self.counts[
            f"records with {shown} only" if len(kinds) < 2 else f"records with {shown}"
        ] += 1
        self.files.update(media.path for media in record.media)
        for turn in record.turns:
            if turn.role == "user":
                self.counts["questions"] += 1
                self.question_tokens.append(text_tokens(turn.text))
                self.openings[" ".join(turn.text.split()[:2]).lower()] += 1
            elif turn.role == "assistant":
                self.counts["answers"] += 1
                self.answer_tokens.append(text_tokens(turn.text))
                self.answers[turn.text.strip().rstrip(".").lower()] += 1
        for name, value in record.details.items():
            if isinstance(value, str | bool) and len(self.fields) < _MOST_LABELS:
                self._count_field(name, str(value))

    def merge(self, other: TextStatistics) -> None:
        """Add what another one counted."""
        self.counts.update(other.counts)
        self.answers.update(other.answers)
        self.openings.update(other.openings)
        self.question_tokens += other.question_tokens
        self.answer_tokens += other.answer_tokens
        self.files |= other.files
        for name, counter in other.fields.items():
            self.fields.setdefault(name, Counter()).update(counter)

    def as_json(self) -> dict[str, Any]:
        """Counts, the commonest answers, lengths in tokens (estimated), and labels by field."""
        top = self.answers.most_common(_TOP)
        total = sum(self.answers.values())
        return {
            **dict(sorted(self.counts.items())),
            "files": len(self.files),
            "distinct_answers": len(self.answers),
            "commonest_answers": _shares(top, total),
            "commonest_openings": _shares(
                self.openings.most_common(_TOP), self.counts["questions"]
            ),
            "question_tokens": _spread(self.question_tokens),
            "answer_tokens": _spread(self.answer_tokens),
            "labels": {
                name: dict(counter.most_common())
                for name, counter in sorted(self.fields.items())
                if len(counter) <= _MOST_LABELS
            },
        }

    def _count_field(self, name: str, value: str) -> None:
        counter = self.fields.setdefault(name, Counter())
        # One value too many is kept: it shows that this field is not a label.
        if value in counter or len(counter) <= _MOST_LABELS:
            counter[value] += 1


def _shares(counted: Sequence[tuple[str, int]], total: int) -> list[dict[str, Any]]:
    return [
        {"text": text[:120], "count": count, "share": round(count / total, 4)}
        for text, count in counted
    ]


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Percentiles, the mean and the sum."""
    if not values:
        return {}
    found = np.percentile(values, _PERCENTILES)
    named = {f"p{p}": round(float(value), 2) for p, value in zip(_PERCENTILES, found, strict=True)}
    return {**named, "mean": round(float(np.mean(values)), 2), "sum": round(float(sum(values)), 2)}


def media_statistics(probes: Iterable[Any]) -> dict[str, Any]:
    """Lengths, sizes and codecs of decoded files (`probe.Probe`)."""
    probes = list(probes)
    codecs = Counter(probe.codec for probe in probes)
    sizes = Counter(f"{probe.width} x {probe.height}" for probe in probes)
    durations = [probe.duration_s for probe in probes if probe.duration_s and probe.frames > 1]
    rates = [probe.fps for probe in probes if probe.fps and probe.frames > 1]
    return {
        "codecs": dict(codecs.most_common(_TOP)),
        "sizes": dict(sizes.most_common(_TOP)),
        "duration_s": _spread(durations),
        "fps": _spread(rates),
        "frames": _spread([probe.frames for probe in probes]),
    }
