"""NExT-QA, multiple choice, test: 8,564 questions about why, how, when and what in home videos.

Paper: Xiao et al., "NExT-QA" (CVPR 2021). The repository's own script prints accuracies by type of
question; `original_accuracies` computes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..annotated_task import Layout, MultipleChoiceTask, letter_of
from ..annotations import DataFolders, hub_patterns, need, read_json, read_rows
from ..parsing import LETTERS, nextqa_letter
from ..scored import Scored, as_scored
from ..task import AnnotationError, Item, Parsed, Row, VideoRef

_OPTIONS = tuple(f"a{i}" for i in range(len(LETTERS)))
_FOLDERS = ("", "dataset/nextqa/", "raw/")  # of the annotation, below the benchmark's
_INTEGERS = ("video", "frame_count", "width", "height", "answer", "qid")

# Type in the annotation -> name that the repository's script prints.
TYPE_NAMES = {
    "CW": "Why",
    "CH": "How",
    "TN": "Bef&Aft",
    "TP": "Bef&Aft",
    "TC": "When",
    "DC": "Cnt",
    "DL": "Loc",
    "DO": "Other",
}
_GROUPS = {"C": "causal", "T": "temporal", "D": "descriptive"}


class NextQA(MultipleChoiceTask):
    """Task `nextqa_mc_test`."""

    title = "NExT-QA multiple choice"
    published_as = "NextQA"
    unit = "fraction"
    metric = "exact_match"
    folder_names = ("nextqa", "NExT-QA", "NExTQA")
    how_to_get = (
        "get dataset/nextqa/test.csv and map_vid_vidorID.json from https://github.com/doc-doc/"
        "NExT-QA (or lmms-lab/NExTQA on the Hugging Face hub) and put them under the data folder "
        "as nextqa/ with the videos in nextqa/NExTVideo/"
    )

    @property
    def layouts(self) -> Sequence[Layout]:
        """Rows of the hub, or the repository's CSV, which has the same columns."""
        original = [f"{folder}test.csv" for folder in _FOLDERS]
        hub = hub_patterns("NExTQA", "MC", "test")
        return (
            Layout("Hugging Face", "MC/test-*.parquet", hub, read_rows),
            Layout("original", original[0], original, _read_csv),
        )

    def item(self, row: Row, number: int, folders: DataFolders) -> Item:
        """See `AnnotatedTask`."""
        need(row, "video", "question", "answer", "qid", "type", *_OPTIONS, source=self.name)
        return Item(
            id=f"{row['video']}_{row['qid']}",
            row=row,
            video=_find_video(str(row["video"]), folders),
            question=row["question"],
            options=self.options(row),
            answer=self.answer_letter(row),
            sub_task=row["type"],
            group=_GROUPS.get(str(row["type"])[:1]),
        )

    def prompt(self, row: Row) -> str:
        """The question and the options; the harness gives no instruction for this task."""
        options = zip(LETTERS, self.options(row), strict=True)
        lines = [f"{letter}. {option}" for letter, option in options]
        return "\n".join([row["question"].strip(), *lines])

    def options(self, row: Row) -> tuple[str, ...]:
        """The five options, without the spaces that some have at their ends."""
        return tuple(str(row[name]).strip() for name in _OPTIONS)

    def answer_letter(self, row: Row) -> str | None:
        """From the index."""
        return letter_of(int(row["answer"]))

    def harness_read(self, row: Row, output: str) -> Parsed:
        """A letter; drawn where there is none."""
        letter = nextqa_letter(output, self.options(row))
        if letter is None:
            return self.random_letter(f"{row.get('video')}_{row.get('qid')}", LETTERS)
        return Parsed(letter)

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """The share of right answers; with types, the repository's accuracies too."""
        scored = [as_scored(self, entry) for entry in scored_items]
        result = self.mean(scored)
        if any(s.sub_task for s in scored):
            result["original"] = _accuracies((_type_of(s), s.score or 0.0) for s in scored)
        return result


def original_accuracies(items: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What the repository's `eval_mc.py` prints, in percent with two decimals.

    Args:
        items: records with `type`, `answer` and `prediction` (both indices 0 to 4).

    Returns:
        by type, then Acc_C, Acc_T and Acc_D (causal, temporal, descriptive), then Acc (all). A type
        without questions is left out.
    """
    return _accuracies((str(i["type"]), float(i["answer"] == i["prediction"])) for i in items)


def _accuracies(scores: Iterable[tuple[str, float]]) -> dict[str, float]:
    kinds: dict[str, list[float]] = {}
    for kind, score in scores:
        for name in (TYPE_NAMES.get(kind, kind), f"Acc_{kind[:1]}", "Acc"):
            kinds.setdefault(name, []).append(score)
    order = [*dict.fromkeys(TYPE_NAMES.values()), "Acc_C", "Acc_T", "Acc_D", "Acc"]
    return {n: round(100 * sum(kinds[n]) / len(kinds[n]), 2) for n in order if n in kinds}


def _type_of(scored: Scored) -> str:
    return str(scored.sub_task or "")


def _read_csv(files: list[Path]) -> list[Row]:
    rows = read_rows(files)
    for row in rows:
        need(row, *_INTEGERS, "type", *_OPTIONS, source=str(files[0]))
        for name in _INTEGERS:
            row[name] = _integer(row[name], name, files[0])
    return rows


def _integer(text: str, name: str, path: Path) -> int:
    try:
        return int(text)
    except (TypeError, ValueError) as error:
        raise AnnotationError(f"{path} has the {name} {text!r}, which is no number") from error


def _find_video(name: str, folders: DataFolders) -> VideoRef:
    """Flat as the harness has it, or in the folders of the original videos."""
    stems = dict.fromkeys([name, _video_map(folders).get(name, name)])
    if name.endswith("mp4"):
        return VideoRef(folders.place([f"NExTVideo/{name}"]))
    return VideoRef(
        folders.place([f"NExTVideo/{stem}{end}" for stem in stems for end in (".mp4", ".MP4")])
    )


@lru_cache(maxsize=1)
def _video_map(folders: DataFolders) -> dict[str, str]:
    """Video -> "folder/video": read once for 1,000 videos."""
    files = folders.files([f"{folder}map_vid_vidorID.json" for folder in _FOLDERS])
    videos: dict[str, str] = read_json(files[0]) if files else {}
    return videos
