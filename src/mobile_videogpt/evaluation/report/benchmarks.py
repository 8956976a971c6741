"""What a report must know of each benchmark beyond its task: how scores are averaged, and how many
questions the published numbers are of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .. import published
from ..task import MVBENCH_SUB_TASKS, TASK_NAMES, get_task

_MLVU_DEV = ("plotQA", "needle", "ego", "count", "order", "anomaly_reco", "topic_reasoning")
_MLVU_TEST = (
    *("anomaly_reco", "count", "ego", "needleQA", "order", "plotQA", "sportsQA"),
    *("topic_reasoning", "tutorialQA"),
)
# MVBench's kinds of questions about CLEVRER, a data set that the paper trains on.
CLEVRER = (
    *("moving_direction", "object_existence", "moving_count", "moving_attribute"),
    "counterfactual_inference",
)
_EGOSCHEMA_NOTE = (
    "The paper's number is of all 5,031 questions, scored by the benchmark's server; "
    "this one is of the 500 whose answers are public."
)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of a report: a task, or the sub-tasks of MVBench together.

    Attributes:
        name, title: for machines and for people.
        column: its column in the paper's Table 1.
        is_mean_of_kinds: whether the number is a mean over kinds of questions, not questions.
        kinds: the kinds that the published number is a mean of; empty where that is not fixed.
        questions: how many the published number is of.
        note: why it is not quite the paper's number even when all questions were asked.
    """

    name: str
    title: str
    column: str | None = None
    is_mean_of_kinds: bool = False
    kinds: tuple[str, ...] = ()
    questions: int | None = None
    note: str = ""
    tasks: tuple[str, ...] = field(default=())


_FACTS: dict[str, dict[str, object]] = {
    "mvbench": {"is_mean_of_kinds": True, "kinds": MVBENCH_SUB_TASKS, "questions": 4000},
    # Not the questions of the paper's number, but the nearest that can be scored here.
    "egoschema_subset": {"column": "EgoSchema", "questions": 500, "note": _EGOSCHEMA_NOTE},
    "egoschema": {"questions": 5031},
    "mlvu": {"is_mean_of_kinds": True, "kinds": _MLVU_DEV, "questions": 2174},
    "mlvu_dev": {"is_mean_of_kinds": True, "kinds": _MLVU_DEV, "questions": 2174},
    "mlvu_test": {"is_mean_of_kinds": True, "kinds": _MLVU_TEST, "questions": 502},
    "nextqa_mc_test": {"questions": 8564},
    "perceptiontest_val_mc": {"questions": 19140},
    "activitynetqa": {"questions": 8000},
    "moving-shapes": {"is_mean_of_kinds": True, "title": "MovingShapes, multiple choice"},
    "moving-shapes-test": {"is_mean_of_kinds": True},
    "moving-shapes-open": {"is_mean_of_kinds": True, "title": "MovingShapes, open answers"},
    "moving-shapes-extras": {
        "is_mean_of_kinds": True,
        "title": "MovingShapes, descriptions and follow-ups",
    },
}


def benchmarks_of(tasks: Iterable[str]) -> list[Benchmark]:
    """The benchmarks that these tasks are, MVBench's sub-tasks as one, in the paper's order."""
    members: dict[str, list[str]] = {}
    for task in sorted(tasks, key=_place_in_paper):
        name = "mvbench" if task.removeprefix("mvbench_") in MVBENCH_SUB_TASKS else task
        members.setdefault(name, []).append(task)
    found = [_benchmark(name, tuple(names)) for name, names in members.items()]
    order = published.benchmark_columns()
    return sorted(found, key=lambda b: order.index(b.column) if b.column else len(order))


def _place_in_paper(task: str) -> int:
    """Among the rows of Table 2; other tasks behind them, in the order in which they are known."""
    rows = [name for names in published.mvbench_groups().values() for name in names]
    order = [*rows, *TASK_NAMES]
    return order.index(task) if task in order else len(order)


def _benchmark(name: str, tasks: tuple[str, ...]) -> Benchmark:
    facts = {"title": name, **_FACTS.get(name, {})}
    if tasks[0] in TASK_NAMES:
        task = get_task(tasks[0])
        facts = {"title": task.title, "column": task.published_as, **_FACTS.get(name, {})}
    return Benchmark(name, tasks=tasks, **facts)  # type: ignore[arg-type]
