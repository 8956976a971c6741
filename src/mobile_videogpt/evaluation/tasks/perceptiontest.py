"""PerceptionTest, validation, multiple choice: 19,140 questions with three options.

Paper: Patraucean et al., "Perception Test" (NeurIPS 2023). Like lmms-eval this shows whole videos:
it does not cut cup games where `cut_frame_mapping_valid.json` says that the answer is revealed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..annotated_task import Layout, MultipleChoiceTask, first_of, letter_of
from ..annotations import DataFolders, hub_patterns, need, read_json, read_rows
from ..parsing import perceptiontest_index
from ..scored import as_scored
from ..task import AnnotationError, Item, Parsed, Row, VideoRef

_INSTRUCTION = "Answer with the option's letter from the given choices directly."
_LETTERS = "ABC"


class PerceptionTest(MultipleChoiceTask):
    """Task `perceptiontest_val_mc`."""

    title = "PerceptionTest validation"
    published_as = "PercepTest"
    unit = "fraction"
    metric = "accuracy"
    folder_names = ("perceptiontest_val", "perceptiontest", "perception_test")
    how_to_get = (
        "get mc_question_valid_annotations.zip and the validation videos from "
        "https://github.com/google-deepmind/perception_test (or lmms-lab/PerceptionTest_Val on the "
        "Hugging Face hub), unpack them and put them under the data folder as perceptiontest_val/ "
        "with the videos in perceptiontest_val/videos/"
    )

    @property
    def layouts(self) -> Sequence[Layout]:
        """Rows of the hub, or the annotation by video; the full one has the questions too."""
        original = ("mc_question_valid.json", "raw/mc_question_valid.json", "all_valid.json")
        hub = hub_patterns("PerceptionTest_Val", "mc_question_val", "validation")
        return (
            Layout("Hugging Face", "mc_question_val/validation-*.parquet", hub, read_rows),
            Layout("original", original[0], original, _read_by_video),
        )

    def item(self, row: Row, number: int, folders: DataFolders) -> Item:
        """See `AnnotatedTask`."""
        need(row, "video_name", "question", "question_id", "options", source=self.name)
        name = str(row["video_name"])
        return Item(
            id=f"{name}_{row['question_id']}",
            row=row,
            video=VideoRef(folders.place([f"videos/{name}.mp4", f"videos/{name}.MP4"])),
            question=row["question"],
            options=self.options(row),
            answer=self.answer_letter(row),
            sub_task=row.get("area"),
            group=row.get("reasoning"),
        )

    def prompt(self, row: Row) -> str:
        """Question, options and instruction; whatever comes after the second option is "C."."""
        labels = [*_LETTERS, *"C" * len(row["options"])]
        lines = [
            f"{label}. {option}" for label, option in zip(labels, row["options"], strict=False)
        ]
        return "\n".join([row["question"], *lines, _INSTRUCTION])

    def options(self, row: Row) -> tuple[str, ...]:
        """The options."""
        return tuple(row["options"])

    def answer_letter(self, row: Row) -> str | None:
        """From the index, which is a number or its digits; the test split has none."""
        index = first_of(row, "answer_id", "answer")
        return None if index is None else letter_of(int(index))

    def harness_read(self, row: Row, output: str) -> Parsed:
        """An index 0 to 3, or -1."""
        return Parsed(perceptiontest_index(output))

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """The share of right answers, by area and by kind of reasoning."""
        scored = [as_scored(self, entry) for entry in scored_items]
        return self.mean(scored)


def _read_by_video(files: list[Path]) -> list[Row]:
    document = read_json(files[0])
    if not isinstance(document, dict):
        raise AnnotationError(f"{files[0]} is not an object with one entry per video")
    return [
        _row(video, question, files[0])
        for video, entry in document.items()
        for question in entry.get("mc_question") or []
    ]


def _row(video: str, question: Row, path: Path) -> Row:
    need(question, "id", "question", "options", source=f"video {video} in {path}")
    answer = question.get("answer_id")
    return {
        "video_name": video,
        "question_id": str(question["id"]),
        "question": question["question"],
        "options": question["options"],
        "answer_id": None if answer is None else str(answer),
        **{name: question.get(name) for name in ("area", "reasoning", "tag")},
    }
