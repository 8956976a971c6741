"""MLVU's two open-ended tasks: tell one sub-scene, summarise the whole video.

The harness has neither. The benchmark has a language model mark each answer twice from 1 to 5 (a
sub-scene by accuracy and relevance, a summary by completeness and reliability); the number is the
mean of the sums, out of 10. The wording of the request here is this package's own, so marks are
comparable among its own runs with the same judge, and only roughly with published ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..annotated_task import AnnotatedTask, Layout, first_of
from ..annotations import DataFolders, need, read_rows
from ..parsing import clean
from ..scored import flat
from ..task import Item, JudgedTask, Parsed, Row, VideoRef

_LOWEST, _HIGHEST = 1, 5
_SYSTEM = (
    "You mark answers to questions about videos. You see the question, a reference answer that is "
    "right and complete, and a candidate answer. Judge only what the candidate says against the "
    "reference; neither style nor length earns a mark."
)
_OBJECT = re.compile(r"\{[^{}]*\}")


class MlvuGeneration(AnnotatedTask, JudgedTask):
    """What the two tasks share."""

    metric = "g_avg"
    max_new_tokens = 512
    stop = ()
    judge_model = "gpt-4o-2024-11-20"
    folder_names = ("mlvu", "MLVU")
    how_to_get = (
        "get MLVU/MVLU from the Hugging Face hub (json/ and video/, see https://github.com/"
        "JUNJIE99/MLVU) and put it under the data folder as mlvu/"
    )
    file: ClassVar[str]
    marks: ClassVar[Mapping[str, str]]  # name -> what it asks

    @property
    def layouts(self) -> Sequence[Layout]:
        """The original file; there are no rows on the hub."""
        places = [f"{folder}/{self.file}.json" for folder in ("json", "data", "raw_json")]
        return (Layout("original", places[0], places, self._read),)

    def item(self, row: Row, number: int, folders: DataFolders) -> Item:
        """See `AnnotatedTask`."""
        names = [f"{home}{row['video_name']}" for home in ("", f"video/{self.file}/", "video/")]
        return Item(
            id=row["question_id"],
            row=row,
            video=VideoRef(folders.place(names)),
            question=row["question"],
            options=(),
            answer=row["answer"],
            sub_task=row["task_type"],
        )

    def prompt(self, row: Row) -> str:
        """The bare question."""
        return str(row["question"])

    def read(self, row: Row, output: str) -> Parsed:
        """The text itself."""
        return Parsed(clean(output))

    def score(self, row: Row, prediction: Any) -> float | None:
        """None: the judge must say."""
        return None

    def judge_request(self, row: Row, prediction: str, model: str | None = None) -> dict[str, Any]:
        """Body of the chat completion: question, reference (with its points), candidate."""
        points = first_of(row, "scoring_points")
        parts = [
            f"Question: {row['question']}",
            f"Reference answer: {row['answer']}",
            *([f"Points that a full answer makes: {_listed(points)}"] if points else []),
            f"Candidate answer: {clean(prediction)}",
            f"Give these marks, each a whole number from {_LOWEST} (worst) to {_HIGHEST} (best):",
            *(f"- {name}: {meaning}" for name, meaning in self.marks.items()),
            "Reply with one JSON object and nothing else, such as "
            + json.dumps(dict.fromkeys(self.marks, 3)),
        ]
        return {
            "model": model or self.judge_model,
            "messages": [
                {"role": "system", "content": _SYSTEM},
                {"role": "user", "content": "\n".join(parts)},
            ],
            "temperature": 0,
            "max_tokens": 64,
        }

    def read_verdict(self, reply: str) -> dict[str, Any] | None:
        """The marks and their sum as `score`; None where one is missing or out of range."""
        for text in _OBJECT.findall(reply):
            try:
                said = json.loads(text)
            except ValueError:
                continue
            marks = {name: said.get(name) for name in self.marks}
            if all(type(mark) is int and _LOWEST <= mark <= _HIGHEST for mark in marks.values()):
                return {**marks, "score": sum(marks.values())}
        return None

    def verdict_score(self, verdict: Mapping[str, Any]) -> float | None:
        """The sum of the marks as a share of what can be reached above the lowest."""
        lowest, highest = _LOWEST * len(self.marks), _HIGHEST * len(self.marks)
        return float((verdict["score"] - lowest) / (highest - lowest))

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """The mean of the sums over judged items; None where nothing was judged.

        Beside judged ones, a video that could not be read gets the lowest marks.
        """
        records = [flat(entry) for entry in scored_items]
        verdicts = [v for v in (record.get("verdict") for record in records) if v]
        if verdicts:
            lowest = {**dict.fromkeys(self.marks, _LOWEST), "score": _LOWEST * len(self.marks)}
            verdicts += [lowest for record in records if record.get("error") is not None]
        names = (*self.marks, "score")
        means = {name: _mean([verdict[name] for verdict in verdicts]) for name in names}
        return {
            **self.headline(means["score"], len(records)),
            "unit": f"points of {_HIGHEST * len(self.marks)}",
            "judged": len(verdicts),
            "marks": {name: means[name] for name in self.marks},
            "scoring": self.scoring,
        }

    def _read(self, files: list[Path]) -> list[Row]:
        rows = read_rows(files[:1])
        for row in rows:
            need(row, "video", "question", "answer", source=str(files[0]))
        kind = self.file.split("_", 1)[1]
        return [
            {
                "video_name": row["video"],
                "duration": row.get("duration"),
                "question": row["question"],
                "answer": row["answer"],
                "scoring_points": row.get("scoring_points"),
                "task_type": kind,
                "question_id": f"{kind}-{number:03d}",
            }
            for number, row in enumerate(rows)
        ]


class MlvuSubScene(MlvuGeneration):
    """Task `mlvu_sub_scene`: what happens in one scene of a long video."""

    title = "MLVU sub-scene captioning"
    file = "8_sub_scene"
    marks = {
        "accuracy": "what it says of the scene is right, and it makes the reference's points",
        "relevance": "it speaks of the scene that was asked for, and of nothing else",
    }


class MlvuSummary(MlvuGeneration):
    """Task `mlvu_summary`: what happens in the whole video."""

    title = "MLVU video summarisation"
    file = "9_summary"
    marks = {
        "completeness": "it covers the main events of the reference",
        "reliability": "it says nothing that the reference contradicts or does not have",
    }


def _listed(points: Any) -> str:
    return "; ".join(map(str, points)) if isinstance(points, (list, tuple)) else str(points)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
