"""ActivityNet-QA, test: 8,000 open questions about 800 videos; a language model judges the answers.

Paper: Yu et al., "ActivityNet-QA" (AAAI 2019). What the judge is asked is word for word what the
field asks, so that numbers can be compared; which model judges changes them, and a report names it.
Without a judge only `exact_match` is left, the measure of the original repository, which is no
substitute: it takes "a boat" for a wrong answer where "boat" is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..annotated_task import AnnotatedTask, Layout
from ..annotations import DataFolders, hub_patterns, need, read_json, read_rows
from ..parsing import clean
from ..scored import flat
from ..task import (
    AnnotationError,
    Item,
    JudgedTask,
    MissingDataError,
    Parsed,
    Row,
    VideoRef,
)
from .activitynetqa_judge import harness_verdict, request_body, strict_verdict

TYPE_NAMES = (
    "motion",
    "spatial relation",
    "temporal relation",
    "yes/no",
    "color",
    "object",
    "location",
    "number",
    "other",
)
_NO = {"Correctness": "no", "score": 0}
_FREE_TYPES = range(3, len(TYPE_NAMES))


class ActivityNetQA(AnnotatedTask, JudgedTask):
    """Task `activitynetqa`."""

    title = "ActivityNet-QA"
    published_as = "ActNet-QA"
    metric = "gpt_eval_accuracy"
    max_new_tokens = 64
    stop = ("ASSISTANT:",)
    judge_model = "gpt-4o-2024-11-20"  # of the paper and its time: gpt-3.5-turbo-0613
    folder_names = ("activitynetqa", "ActivityNetQA", "activitynet-qa")
    how_to_get = (
        "get dataset/test_q.json and test_a.json from https://github.com/MILVLG/activitynet-qa (or "
        "lmms-lab/ActivityNetQA on the Hugging Face hub) and put them under the data folder as "
        "activitynetqa/ with the videos v_<id>.mp4 in activitynetqa/all_test/"
    )

    @property
    def layouts(self) -> Sequence[Layout]:
        """Rows of the hub, or questions and answers in two files."""
        original = ("test_q.json", "dataset/test_q.json", "raw/test_q.json")
        hub = hub_patterns("ActivityNetQA", "", "test")
        return (
            Layout("Hugging Face", "test-*.parquet", hub, read_rows),
            Layout("original", original[0], original, _read_pairs),
        )

    def missing_parts(self, files: Sequence[Path]) -> list[str]:
        """The answers, which the repository keeps in a file of their own."""
        path = files[0].with_name("test_a.json")
        return [str(path)] if files[0].name == "test_q.json" and not path.is_file() else []

    def item(self, row: Row, number: int, folders: DataFolders) -> Item:
        """See `AnnotatedTask`."""
        need(row, "video_name", "question", "question_id", "answer", source=self.name)
        places = [f"all_test/v_{row['video_name']}.{end}" for end in ("mp4", "webm", "mkv")]
        kind = _kind(row)
        return Item(
            id=str(row["question_id"]),
            row=row,
            video=VideoRef(folders.place(places)),
            question=row["question"],
            options=(),
            answer=row["answer"],
            sub_task=None if kind is None else TYPE_NAMES[kind],
            group="free" if kind in _FREE_TYPES else None,
        )

    def prompt(self, row: Row) -> str:
        """The question with one capital letter, as a question, and the instruction."""
        question = str(row["question"]).capitalize()
        return f"{question}? Answer the question using a single word or phrase."

    def read(self, row: Row, output: str) -> Parsed:
        """The text itself."""
        return Parsed(clean(output))

    def score(self, row: Row, prediction: Any) -> float | None:
        """None: the judge must say."""
        return None

    def judge_request(self, row: Row, prediction: str, model: str | None = None) -> dict[str, Any]:
        """Body of the chat completion: the question as in the annotation, answer, prediction."""
        return request_body(
            model or self.judge_model, row["question"], row["answer"], clean(prediction)
        )

    def read_verdict(self, reply: str) -> dict[str, Any] | None:
        """{"Correctness": "yes" | "no" | what it was, "score": int}, or None."""
        return strict_verdict(reply) if self.scoring == "strict" else harness_verdict(reply)

    def verdict_score(self, verdict: Mapping[str, Any]) -> float | None:
        """1 for a yes, 0 for a no, None for anything else."""
        said = str(verdict["Correctness"])
        return 1.0 if "yes" in said else 0.0 if "no" in said else None

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """Percent yes among yes and no, and the judge's mean score over all judged items.

        A record without a verdict (keys `Correctness` and `score`, or `verdict` with both) counts
        for `exact_match` only; but beside judged ones, a video that could not be read is a no.
        """
        records = [flat(entry) for entry in scored_items]
        verdicts = [v for v in map(_verdict_of, records) if v is not None]
        if verdicts:
            verdicts += [_NO for record in records if record.get("error") is not None]
        scores = [s for s in map(self.verdict_score, verdicts) if s is not None]
        accuracy = 100 * sum(scores) / len(scores) if scores else 0
        points = sum(int(verdict["score"]) for verdict in verdicts)
        return {
            **self.headline(accuracy if verdicts or not records else None, len(records)),
            "gpt_eval_accuracy": accuracy,
            "gpt_eval_score": points / len(verdicts) if verdicts else 0,
            "judged": len(verdicts),
            "scoring": self.scoring,
            "exact_match": _exact_share(records),
        }


def _verdict_of(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    verdict = record.get("verdict")
    if isinstance(verdict, Mapping):
        return verdict
    return record if "Correctness" in record and "score" in record else None


def exact_match_accuracies(
    truth: Sequence[Mapping[str, Any]], predictions: Iterable[Mapping[str, Any]]
) -> dict[str, float]:
    """The original repository's accuracies: equal strings, by type of question.

    Args:
        truth: records with `question_id`, `answer` and `type` 0 to 8.
        predictions: records with `question_id` and `answer`; a question without one is wrong.

    Returns:
        shares by type name, "free" (types 3 to 8), "all", and "free_as_printed": the repository
        divides the free ones by the numbers of the 4th to 9th type *that occurs in the file*.
    """
    said = {p["question_id"]: p["answer"] for p in predictions}
    totals: Counter[int] = Counter()
    right: Counter[int] = Counter()
    for record in truth:
        kind = int(record["type"])
        totals[kind] += 1
        right[kind] += said.get(record["question_id"]) == record["answer"]
    free = sum(right[kind] for kind in _FREE_TYPES)
    counts = list(totals.values())  # in order of first appearance
    return {
        **{TYPE_NAMES[kind]: _share(right[kind], totals[kind]) for kind in sorted(totals)},
        "free": _share(free, sum(totals[kind] for kind in _FREE_TYPES)),
        "free_as_printed": _share(free, sum(counts[_FREE_TYPES.start :])),
        "all": _share(right.total(), totals.total()),
    }


def _exact_share(records: Sequence[Mapping[str, Any]]) -> float | None:
    pairs = [(r["prediction"], r["answer"]) for r in records if "prediction" in r and "answer" in r]
    return _share(sum(said == truth for said, truth in pairs), len(pairs)) if pairs else None


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _kind(row: Row) -> int | None:
    """Type 0 to 8, given as a number or its digit."""
    text = str(row.get("type"))
    return int(text) if text.isdigit() and int(text) < len(TYPE_NAMES) else None


def _read_pairs(files: list[Path]) -> list[Row]:
    questions = files[0]
    answers = questions.with_name("test_a.json")
    if not answers.is_file():
        raise MissingDataError(f"{answers} is missing; it holds the answers to {questions.name}")
    by_id = {entry["question_id"]: entry for entry in read_json(answers)}
    return [_row(question, by_id, answers) for question in read_rows([questions])]


def _row(question: Row, answers: Mapping[str, Row], path: Path) -> Row:
    need(question, "video_name", "question", "question_id", source="test_q.json")
    answer = answers.get(question["question_id"])
    if answer is None:
        raise AnnotationError(f"{path} has no answer to question {question['question_id']}")
    row = {name: question[name] for name in ("video_name", "question", "question_id")}
    return {**row, "answer": answer["answer"], "type": str(answer["type"])}
