"""MLVU: questions about videos of minutes to hours, by kind of task; four options (test: six).

Paper: Zhou et al., "MLVU" (CVPR 2025). Harness and benchmark read answers in ways that changed
twice (`parsing_mlvu`), and so did the prompt; the era is a setting, and every report names it:

* regex: the harness until 2025-03-15, task name `mlvu`; the one that the paper's script could call.
* paren: 2025-03-16 to 2025-04-16. (The parser stayed until 2026-04-10 with the prompt of head.)
* head: the harness since 2026-04-11.

The number is the unweighted mean over the kinds of task ("M-avg"); before 2025-02-27 it was the
mean over all items, which is reported beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, ClassVar

from ..annotated_task import Layout, MultipleChoiceTask, letter_of
from ..annotations import DataFolders, hub_patterns, need, read_rows
from ..parsing_mlvu import mlvu_answer
from ..scored import Scored, as_scored
from ..task import Item, MlvuEra, Parsed, Row, VideoRef

_INSTRUCTION = "Only give the best option."
_BEGUN_ANSWER = "Best option: ("

# Original file, and so the folder of its videos -> kind of task.
FILES = {
    "1_plotQA": "plotQA",
    "2_needle": "needle",
    "3_ego": "ego",
    "4_count": "count",
    "5_order": "order",
    "6_anomaly_reco": "anomaly_reco",
    "7_topic_reasoning": "topic_reasoning",
}
_TYPES_DEV = tuple(FILES.values())
_TYPES_TEST = (*(t for t in _TYPES_DEV if t != "needle"), "needleQA", "sportsQA", "tutorialQA")
# What a kind is called in the original files and in the rows of the old task.
_OTHER_NAMES = {
    "findNeedle": "needle",
    "TR": "topic_reasoning",
    "AR": "anomaly_reco",
    "NQA": "needle",
    "ER": "ego",
    "PQA": "plotQA",
    "AO": "order",
    "AC": "count",
}


class UnknownTaskTypeError(KeyError, ValueError):
    """A row of a kind that the benchmark does not have."""

    def __str__(self) -> str:
        return str(self.args[0])


class MlvuDev(MultipleChoiceTask):
    """Task `mlvu_dev`: seven kinds."""

    title = "MLVU dev"
    published_as: ClassVar[str | None] = "MLVU"
    folder_names: ClassVar[tuple[str, ...]] = ("mlvu", "MLVU")
    how_to_get = (
        "get MLVU/MVLU from the Hugging Face hub (json/ and video/, see https://github.com/"
        "JUNJIE99/MLVU; or the rows of sy1998/MLVU_dev) and put it under the data folder as mlvu/"
    )
    types: ClassVar[tuple[str, ...]] = _TYPES_DEV
    hub_name = "MLVU_[dD]ev"
    fixture = "dev_test"
    default_era: ClassVar[MlvuEra] = "head"
    takes_other_names: ClassVar[bool] = False  # kinds by the names in _OTHER_NAMES

    @property
    def era(self) -> MlvuEra:
        """The era chosen, or the one that the task's name stands for."""
        return self.mlvu_era or self.default_era

    @property
    def metric(self) -> str:  # type: ignore[override]
        """The harness's name, which got a typo on 2025-03-16."""
        return "mlvu_perception_score" if self.era == "regex" else "mlvu_percetion_score"

    @property
    def settings(self) -> dict[str, Any]:
        """See `Task`; with the era."""
        return {**super().settings, "mlvu_era": self.era}

    @property
    def layouts(self) -> Sequence[Layout]:
        """Rows of the hub, or one file for each kind."""
        hub = (*hub_patterns(self.hub_name, "", "test"), f"hf_{self.fixture}.json")
        original = [f"{folder}/[1-7]_*.json" for folder in ("json", "data", "raw_json")]
        return (
            Layout("Hugging Face", "test-*.parquet", hub, read_rows),
            Layout("original", "json/1_plotQA.json to 7_topic_reasoning.json", original, read),
        )

    def missing_parts(self, files: Sequence[Path]) -> list[str]:
        """The kinds whose file is not among the original ones."""
        found = {path.stem for path in files}
        if not found & FILES.keys():
            return []
        return [str(files[0].with_name(f"{name}.json")) for name in FILES if name not in found]

    def item(self, row: Row, number: int, folders: DataFolders) -> Item:
        """See `AnnotatedTask`."""
        need(row, "video_name", "question", "candidates", "answer", "task_type", source=self.name)
        return Item(
            id=str(row.get("question_id") or f"{row['task_type']}-{number:04d}"),
            row=row,
            video=find_video(str(row["video_name"]), str(row["task_type"]), folders),
            question=str(row["question"]).split("\n(A)", 1)[0],
            options=self.options(row),
            answer=self.answer_letter(row),
            sub_task=type_of(row),
        )

    def prompt(self, row: Row) -> str:
        """The row's question, which holds the options, and the era's instruction."""
        if self.era != "head":
            return f"\n{row['question']}\n{_INSTRUCTION}\n\n{_BEGUN_ANSWER}"
        if self.prompt_variant == "plm":
            return f"{row['question']}\n{_INSTRUCTION}"
        return f"{row['question']}\n{_INSTRUCTION}\n{_BEGUN_ANSWER}"

    def options(self, row: Row) -> tuple[str, ...]:
        """The candidates."""
        return tuple(row["candidates"])

    def answer_letter(self, row: Row) -> str | None:
        """The row's letter; "" (never right) where the answer is none of the candidates."""
        answer = row.get("answer")
        return None if answer is None else str(answer)

    def harness_read(self, row: Row, output: str) -> Parsed:
        """What the era's parser makes of it."""
        return Parsed(mlvu_answer(output, self.era))

    def score(self, row: Row, prediction: Any) -> float | None:
        """1 where the prediction is the answer letter; an empty prediction never is."""
        answer = self.answer_letter(row)
        return None if answer is None else float(bool(answer) and letter_of(prediction) == answer)

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """M-avg; in lmms-eval a kind without items counts as 0, in strict it is left out.

        Raises:
            UnknownTaskTypeError: a record is of a kind that the benchmark does not have.
        """
        scored = [as_scored(self, entry) for entry in scored_items]
        kinds: dict[str, list[float]] = {kind: [] for kind in self.types}
        for entry in scored:
            kinds[self._kind(entry)].append(entry.score or 0.0)
        by_sub_task = {
            kind: {"value": self.in_units(sum(scores), len(scores)), "items": len(scores)}
            for kind, scores in kinds.items()
            if scores
        }
        total = sum(row["value"] for row in by_sub_task.values())
        divisor = len(by_sub_task) if self.scoring == "strict" else len(self.types)
        correct = sum(s.score or 0.0 for s in scored)
        return self.result(
            total / divisor if divisor else 0.0,
            scored,
            by_sub_task=by_sub_task,
            over_items=self.in_units(correct, len(scored)),
            mlvu_era=self.era,
        )

    def _kind(self, entry: Scored) -> str:
        kind = entry.sub_task or ""
        kind = _OTHER_NAMES.get(kind, kind) if self.takes_other_names else kind
        if kind not in self.types:
            raise UnknownTaskTypeError(
                f"{self.name} has no kind of task {kind!r}; it has {', '.join(self.types)}"
            )
        return kind


class Mlvu(MlvuDev):
    """Task `mlvu`, as it was called until 2025-03-15: the paper's script names it so."""

    title = "MLVU dev (task mlvu of early 2025)"
    default_era = "regex"
    takes_other_names = True


class MlvuTest(MlvuDev):
    """Task `mlvu_test`: nine kinds, six options; the harness can only ever find A to D."""

    title = "MLVU test"
    published_as = None
    folder_names = ("mlvu_test", "MLVU_Test", "mlvu")
    how_to_get = (
        "get the rows of sy1998/MLVU_Test and the videos of MLVU/MLVU_Test from the Hugging Face "
        "hub and put them under the data folder as mlvu_test/"
    )
    types = _TYPES_TEST
    hub_name = "MLVU_[tT]est"
    fixture = "test_test"

    @property
    def layouts(self) -> Sequence[Layout]:
        """Rows of the hub only: the repository keeps the answers of the test set apart."""
        return super().layouts[:1]

    def prompt(self, row: Row) -> str:
        """Today the harness shows the bare question; before, the instruction of dev."""
        return str(row["question"]) if self.era == "head" else super().prompt(row)


def type_of(row: Row) -> str:
    """The kind of task of a row, by its usual name."""
    return _OTHER_NAMES.get(row["task_type"], str(row["task_type"]))


def read(files: list[Path]) -> list[Row]:
    """Rows from the original files, in the order of the kinds."""
    return [
        _row(row, number, path)
        for path in sorted(files)
        if path.stem in FILES
        for number, row in enumerate(read_rows([path]))
    ]


def _row(row: Row, number: int, path: Path) -> Row:
    need(row, "video", "question", "candidates", "answer", "question_type", source=str(path))
    options = [f"({x}) {text}" for x, text in zip(ascii_uppercase, row["candidates"], strict=False)]
    kind = _OTHER_NAMES.get(row["question_type"], row["question_type"])
    found = [i for i, text in enumerate(row["candidates"]) if text == row["answer"]]
    return {
        "video_name": row["video"],
        "duration": row.get("duration"),
        "question": "\n".join([row["question"], *options]),
        "candidates": row["candidates"],
        "answer": ascii_uppercase[found[0]] if found else "",
        "task_type": kind,
        "question_id": f"{kind}-{number:03d}",
    }


def find_video(name: str, task_type: str, folders: DataFolders) -> VideoRef:
    """Flat as the harness has it, or in the folder of its kind; some names lack their ".mp4"."""
    kind = _OTHER_NAMES.get(task_type, task_type)
    homes = ["", *(f"video/{folder}/" for folder, of in FILES.items() if of == kind), "video/"]
    names = [name] if name.lower().endswith((".mp4", ".avi", ".mkv", ".webm")) else []
    names = names or [f"{name}.mp4", name]
    return VideoRef(folders.place([f"{home}{n}" for n in names for home in homes]))
