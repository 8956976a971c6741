"""EgoSchema: 5,031 questions about three minutes seen through someone's eyes; five options each.

Paper: Mangalam et al., "EgoSchema" (NeurIPS 2023). The answers of 500 questions are public: task
`egoschema_subset` scores those. The full set's are not: task `egoschema` writes the submission that
its server scores (`egoschema_submission`). Where a clip `<q_uid>.mp4` is missing, it is looked for
as a stretch of the Ego4D video that it was cut from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from ..annotated_task import Layout, MultipleChoiceTask, first_of, letter_of
from ..annotations import DataFolders, hub_patterns, need, read_json, read_rows
from ..egoschema_submission import submit, write_submission
from ..parsing import LETTERS, egoschema_letter
from ..scored import as_scored
from ..task import Item, MissingDataError, Parsed, Row, VideoRef

_INSTRUCTION = "Answer with the option's letter from the given choices directly."
_ARIA = "Please answer the question about the video:\n"  # in front for the model of that name
_LETTERS_BY_INDEX = {str(index): letter for index, letter in enumerate(LETTERS)}
_EGO4D_FOLDERS = ("ego4d", "full_scale", "v2/full_scale", "v1/full_scale")


class NoItemsError(ZeroDivisionError, ValueError):
    """There is nothing to take the mean of."""


class EgoSchema(MultipleChoiceTask):
    """The full set: answers are secret."""

    title = "EgoSchema"
    published_as: ClassVar[str | None] = "EgoSchema"
    metric = "submission"
    folder_names = ("egoschema", "EgoSchema")
    how_to_get = (
        "get questions.json, subset_answers.json and the videos from "
        "https://github.com/egoschema/EgoSchema (or lmms-lab/egoschema on the Hugging Face hub) "
        "and put them under the data folder as egoschema/ with the clips in egoschema/videos/"
    )
    hub_config = "GENERATION"

    @property
    def layouts(self) -> Sequence[Layout]:
        """Rows of the hub, or the repository's questions."""
        hub = hub_patterns("egoschema", self.hub_config, "test")
        original = ("questions.json", "raw/questions.json")
        return (
            Layout("Hugging Face", f"{self.hub_config}/test-*.parquet", hub, read_rows),
            Layout("original", original[0], original, self.read_original),
        )

    def read_original(self, files: list[Path]) -> list[Row]:
        """Rows from questions.json; all of them, without answers."""
        return [_row(i, question, None) for i, question in enumerate(_questions(files[0]))]

    def item(self, row: Row, number: int, folders: DataFolders) -> Item:
        """See `AnnotatedTask`."""
        need(row, "video_idx", "question", "option", source=self.name)
        return Item(
            id=str(row["video_idx"]),
            row=row,
            video=_find_video(str(row["video_idx"]), folders),
            question=row["question"],
            options=self.options(row),
            answer=self.answer_letter(row),
        )

    def prompt(self, row: Row) -> str:
        """The question, the options with their letters, the instruction."""
        first = _ARIA if self.prompt_variant == "aria" else ""
        return first + "\n".join([row["question"], *row["option"], _INSTRUCTION])

    def options(self, row: Row) -> tuple[str, ...]:
        """The options without the "A. " that they carry in the row."""
        return tuple(
            option.removeprefix(f"{letter}. ")
            for letter, option in zip(LETTERS, row["option"], strict=False)
        )

    def answer_letter(self, row: Row) -> str | None:
        """From the index, which is a number or its digits."""
        index = first_of(row, "ground_truth", "answer")
        if index is None:
            return None
        # Whatever is no index is kept: no prediction equals it.
        return _LETTERS_BY_INDEX.get(str(index), str(index))

    def harness_read(self, row: Row, output: str) -> Parsed:
        """A letter; drawn where there is none."""
        letter = egoschema_letter(output, row["option"])
        if letter is None:
            return self.random_letter(f"{row.get('video_idx')}", LETTERS)
        return Parsed(letter)

    def submission(self, scored_items: Iterable[Any]) -> dict[str, int]:
        """Question id -> index 0 to 4, as the server takes it; unanswered ones are left out."""
        answers = {}
        for entry in (as_scored(self, scored) for scored in scored_items):
            key, letter = first_of(entry.fields, "video_idx", "id"), letter_of(entry.prediction)
            if key is not None and letter is not None and letter in LETTERS:
                answers[str(key)] = LETTERS.index(letter)
        return answers

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """No value: only the server knows it. `answered` counts what a submission would hold."""
        entries = list(scored_items)
        scored = [as_scored(self, entry) for entry in entries]
        return self.result(None, scored, answered=len(self.submission(entries)))

    def write_files(self, folder: Path, scored_items: Iterable[Any]) -> list[Path]:
        """The submission file."""
        return [write_submission(self.submission(scored_items), folder)]

    def submit(self, scored_items: Iterable[Any]) -> float | None:
        """Accuracy on the full set in percent, by the server.

        Raises:
            SubmissionError: it gave none.
        """
        return submit(self.submission(scored_items))


class EgoSchemaSubset(EgoSchema):
    """The 500 questions whose answers are public."""

    title = "EgoSchema subset"
    published_as = None  # the paper reports the full set
    unit = "fraction"
    metric = "score"
    hub_config = "Subset"

    def read_original(self, files: list[Path]) -> list[Row]:
        """Rows from questions.json, those with an answer in subset_answers.json beside it."""
        answers = _answers(files[0])
        chosen = [question for question in _questions(files[0]) if question["q_uid"] in answers]
        return [_row(i, question, answers[question["q_uid"]]) for i, question in enumerate(chosen)]

    def missing_parts(self, files: Sequence[Path]) -> list[str]:
        """The answers, which the repository keeps in a file of their own."""
        path = files[0].with_name("subset_answers.json")
        return [str(path)] if files[0].name == "questions.json" and not path.is_file() else []

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """Right answers over all items, a fraction.

        Raises:
            NoItemsError: there are none.
        """
        scored = [as_scored(self, entry) for entry in scored_items]
        if not scored:
            raise NoItemsError("egoschema_subset has no scored items to take the mean of")
        return self.mean(scored, scored)

    def write_files(self, folder: Path, scored_items: Iterable[Any]) -> list[Path]:
        """Nothing: the subset is scored here."""
        return []

    def submit(self, scored_items: Iterable[Any]) -> float | None:
        """None: the subset is scored here."""
        return None


def _questions(path: Path) -> list[Row]:
    rows = read_rows([path])
    for row in rows:
        need(row, "q_uid", "question", *(f"option {i}" for i in range(5)), source=str(path))
    return rows


def _answers(questions: Path) -> dict[str, int]:
    path = questions.with_name("subset_answers.json")
    if not path.is_file():
        raise MissingDataError(f"{path} is missing; it holds the answers of the subset")
    answers: dict[str, int] = read_json(path)
    return answers


def _row(number: int, question: Row, answer: int | None) -> Row:
    options = [f"{letter}. {question[f'option {i}']}" for i, letter in enumerate(LETTERS)]
    return {
        "question_idx": str(number),
        "question": question["question"],
        "video_idx": question["q_uid"],
        "option": options,
        "answer": None if answer is None else str(answer),
    }


def _find_video(uid: str, folders: DataFolders) -> VideoRef:
    names = [f"{folder}{uid}{suffix}" for folder in ("videos/", "") for suffix in (".mp4", ".MP4")]
    path = folders.place(names)
    if path.exists():
        return VideoRef(path)
    source = _source_video(uid, folders)
    return source if source is not None and source.exists else VideoRef(path)


@lru_cache(maxsize=1)
def _stretches(folders: DataFolders) -> dict[str, dict[str, Any]]:
    """Question id -> video_uid, starting_sec, ending_sec: read once for 5,031 questions."""
    files = folders.files(("uid_to_ego4d.json", "raw/uid_to_ego4d.json"))
    stretches: dict[str, dict[str, Any]] = read_json(files[0]) if files else {}
    return stretches


def _source_video(uid: str, folders: DataFolders) -> VideoRef | None:
    """The stretch of an Ego4D video that a clip was cut from, by uid_to_ego4d.json."""
    cut = _stretches(folders).get(uid)
    if not cut:
        return None
    path = folders.place([f"{folder}/{cut['video_uid']}.mp4" for folder in _EGO4D_FOLDERS])
    return VideoRef(path, start=float(cut["starting_sec"]), end=float(cut["ending_sec"]))
