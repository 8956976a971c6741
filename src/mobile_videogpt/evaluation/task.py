"""What a benchmark is: `Item`, `Task`, and `get_task`, which finds a task by its name.

A task knows how its annotations are read, where its videos lie, what the model is asked, how an
answer is read out of what the model wrote, and how scores become the published number. It knows
nothing about models: the runner asks, the task judges. Names are those of lmms-eval, so that a
number can be compared with one from there.
"""

from __future__ import annotations

import difflib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

Row = dict[str, Any]
Scoring = Literal["lmms-eval", "strict"]
SCORINGS: tuple[Scoring, ...] = ("lmms-eval", "strict")
MlvuEra = Literal["regex", "paren", "head"]
MLVU_ERAS: tuple[MlvuEra, ...] = ("regex", "paren", "head")


class MissingDataError(FileNotFoundError):
    """An annotation file is not where it should be; the message says how to get it."""


class AnnotationError(ValueError):
    """An annotation file cannot be understood; the message names the file and what is wrong."""


@dataclass(frozen=True)
class VideoRef:
    """Where a video is: what `VideoChat.open` needs.

    Attributes:
        path: a file or a folder of frames; where it should be when it is missing.
        start, end: the stretch to look at, in seconds; None for the whole video.
        fps: clock of a folder of frames; None for a file.
    """

    path: Path
    start: float | None = None
    end: float | None = None
    fps: float | None = None

    @property
    def exists(self) -> bool:
        """Whether there is something at `path`."""
        return self.path.exists()

    @property
    def source(self) -> Any:
        """What `VideoChat.open` is given: the path, unless the video is made as it is asked for."""
        return str(self.path)


@dataclass(frozen=True)
class Item:
    """One question about one video.

    Attributes:
        id: unique within the task, the same on every machine and in every run.
        row: the annotation in its Hugging Face form: what `Task.prompt` and `Task.parse` take.
        video: where to look.
        question: the bare question.
        options: the bare option texts; empty for an open question.
        answer: the right letter, or the text of an open question; None when it is kept secret.
        sub_task: the kind of question, for the report.
        group: the group of kinds, where the benchmark has groups.
    """

    id: str
    row: Row
    video: VideoRef
    question: str
    options: tuple[str, ...]
    answer: str | None
    sub_task: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Parsed:
    """What was read out of an output: `value`, and whether it was drawn because nothing was."""

    value: Any
    is_random: bool = False


@dataclass(frozen=True)
class DataReport:
    """What of a benchmark is on disk, and what is not.

    Attributes:
        task: the task's name.
        annotations: the annotation files that were found.
        items: questions in them.
        videos: different videos that the questions are about.
        missing_annotations: files that were looked for (alternatives joined by " or ").
        missing_videos: videos that are not there, each once.
        how_to_get: where the data comes from and where to put it.
    """

    task: str
    annotations: tuple[Path, ...] = ()
    items: int = 0
    videos: int = 0
    missing_annotations: tuple[str, ...] = ()
    missing_videos: tuple[Path, ...] = ()
    how_to_get: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the task can run on all of its items."""
        return self.items > 0 and not self.missing_annotations and not self.missing_videos


class Task(ABC):
    """One benchmark. Settings that change a score are fixed when it is made.

    Args:
        scoring: "lmms-eval" repeats the harness, flaws included; "strict" reads answers carefully
            and never draws one.
        mlvu_era: which of the harness's three MLVU parsers; other tasks ignore it.
        seed: of the letters drawn where the harness draws one.
        prompt_variant: a model's name: the harness has a prompt of their own for a few.
    """

    name: str
    title: ClassVar[str]
    published_as: ClassVar[str | None] = None  # column of the paper's Table 1
    unit: ClassVar[Literal["percent", "fraction"]] = "percent"
    metric: ClassVar[str]  # the harness's name of the number
    max_new_tokens: ClassVar[int] = 16
    stop: ClassVar[tuple[str, ...]] = ("\n\n",)
    # What `--answer-by likelihood` compares: the letters that the prompt asks for, or the texts.
    compares: ClassVar[Literal["letters", "options"]] = "letters"
    # How questions with options are answered unless the user says so.
    answer_by: ClassVar[Literal["generation", "likelihood"]] = "generation"

    def __init__(
        self,
        name: str,
        *,
        scoring: Scoring = "lmms-eval",
        mlvu_era: MlvuEra | None = None,
        seed: int = 0,
        prompt_variant: str = "default",
    ):
        self.name = name
        self.scoring = _one_of("scoring", scoring, SCORINGS)
        self.mlvu_era = None if mlvu_era is None else _one_of("MLVU era", mlvu_era, MLVU_ERAS)
        self.seed = seed
        self.prompt_variant = prompt_variant

    @property
    def settings(self) -> dict[str, Any]:
        """What changes a score of this task, for the record of a run."""
        return {
            "scoring": self.scoring,
            "seed": self.seed,
            "prompt_variant": self.prompt_variant,
        }

    @abstractmethod
    def items(self, data_dir: str | Path) -> list[Item]:
        """Every question, in the order of the annotation.

        Raises:
            MissingDataError: an annotation file is missing.
            AnnotationError: one cannot be understood.
        """

    @abstractmethod
    def check(self, data_dir: str | Path) -> DataReport:
        """What is there and what is missing; raises nothing for missing files."""

    @abstractmethod
    def prompt(self, row: Row) -> str:
        """The text that the model is shown below the video."""

    @abstractmethod
    def read(self, row: Row, output: str) -> Parsed:
        """Read the prediction out of the model's output."""

    @abstractmethod
    def score(self, row: Row, prediction: Any) -> float | None:
        """1 for right, 0 for wrong; None where the answer is secret or a judge must say."""

    @abstractmethod
    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """The benchmark's numbers from its scored items.

        The result holds `metric` (the harness's name), `value` and `unit`, the value once more
        under the harness's name, `items`, and what else the benchmark publishes.
        """

    def headline(self, value: float | None, items: int) -> dict[str, Any]:
        """What every result of `aggregate` begins with."""
        return {
            "task": self.name,
            "metric": self.metric,
            "value": value,
            "unit": self.unit,
            self.metric: value,
            "items": items,
        }

    def parse(self, row: Row, output: str) -> Any:
        """The prediction: a letter, a number or a text as in the harness; None for none."""
        return self.read(row, output).value

    def first_items(self, data_dir: str | Path, limit: int | None) -> list[Item]:
        """The first `limit` questions, all of them if None; raises what `items` raises."""
        return self.items(data_dir)[:limit]

    def wants_blind(self, item: Item) -> bool:
        """Whether the blind baseline asks this question too."""
        return True

    def history(self, row: Row) -> Sequence[tuple[str, str]]:
        """Earlier (question, answer) turns about the same video; most benchmarks have none."""
        return ()

    def random_letter(self, key: object, letters: Sequence[str]) -> Parsed:
        """A letter drawn for the item `key`: the same in every run, shard and order."""
        draw = random.Random(f"{self.seed}/{self.name}/{key}")
        return Parsed(draw.choice(list(letters)), is_random=True)

    def write_files(self, folder: Path, scored_items: Iterable[Any]) -> list[Path]:
        """Write what else the benchmark asks for, e.g. a submission; the paths written."""
        return []

    def submit(self, scored_items: Iterable[Any]) -> float | None:
        """Have the benchmark's server score the answers; percent, None where there is no server."""
        return None


class JudgedTask(Task):
    """A task whose answers are text, and whose score is what a language model says of them.

    `score` is None for these; with a reply of the judge, `verdict_score` is the score.
    """

    judge_model: ClassVar[str]  # what the harness asks unless told otherwise

    @abstractmethod
    def judge_request(self, row: Row, prediction: str, model: str | None = None) -> dict[str, Any]:
        """Body of the chat completion that asks the judge about one prediction."""

    @abstractmethod
    def read_verdict(self, reply: str) -> dict[str, Any] | None:
        """What the judge said; None when the reply cannot be understood."""

    @abstractmethod
    def verdict_score(self, verdict: Mapping[str, Any]) -> float | None:
        """The item's score between 0 and 1; None for a verdict that counts as neither."""


def _one_of(what: str, value: Any, allowed: Sequence[Any]) -> Any:
    if value not in allowed:
        raise ValueError(f"{what} {value!r} is not one of {', '.join(map(str, allowed))}")
    return value


MVBENCH_SUB_TASKS = (
    "action_sequence",
    "moving_count",
    "action_prediction",
    "episodic_reasoning",
    "action_antonym",
    "action_count",
    "scene_transition",
    "object_shuffle",
    "object_existence",
    "fine_grained_pose",
    "unexpected_action",
    "moving_direction",
    "state_change",
    "object_interaction",
    "character_order",
    "action_localization",
    "counterfactual_inference",
    "fine_grained_action",
    "moving_attribute",
    "egocentric_navigation",
)

# Task name -> "module:class" under evaluation/, imported when the task is asked for.
_HOMES: dict[str, str] = {
    **{f"mvbench_{sub_task}": "tasks.mvbench:MVBench" for sub_task in MVBENCH_SUB_TASKS},
    "egoschema": "tasks.egoschema:EgoSchema",
    "egoschema_subset": "tasks.egoschema:EgoSchemaSubset",
    "mlvu": "tasks.mlvu:Mlvu",
    "mlvu_dev": "tasks.mlvu:MlvuDev",
    "mlvu_test": "tasks.mlvu:MlvuTest",
    "mlvu_sub_scene": "tasks.mlvu_generation:MlvuSubScene",
    "mlvu_summary": "tasks.mlvu_generation:MlvuSummary",
    "nextqa_mc_test": "tasks.nextqa:NextQA",
    "perceptiontest_val_mc": "tasks.perceptiontest:PerceptionTest",
    "activitynetqa": "tasks.activitynetqa:ActivityNetQA",
    "moving-shapes": "tasks.moving_shapes:MovingShapes",
    "moving-shapes-open": "tasks.moving_shapes:MovingShapes",
    "moving-shapes-extras": "tasks.moving_shapes:MovingShapes",
    "moving-shapes-test": "tasks.moving_shapes_test:MovingShapesTest",
}

TASK_NAMES: tuple[str, ...] = tuple(_HOMES)

# The whole of MVBench as one task: what the group of that name aggregates to.
_HOMES_OF_GROUPS = {"mvbench": "tasks.mvbench:WholeMVBench"}

# A name that stands for several tasks.
TASK_GROUPS: Mapping[str, tuple[str, ...]] = {
    "mvbench": tuple(f"mvbench_{sub_task}" for sub_task in MVBENCH_SUB_TASKS),
    "mlvu_generation": ("mlvu_sub_scene", "mlvu_summary"),
    "moving-shapes": ("moving-shapes", "moving-shapes-open", "moving-shapes-extras"),
}


def get_task(name: str, **settings: Any) -> Task:
    """The task called `name` (one of TASK_NAMES, or "mvbench") with its settings (see `Task`).

    Raises:
        ValueError: there is no such task, or a setting has a value that it cannot have.
    """
    home = _HOMES.get(name) or _HOMES_OF_GROUPS.get(name)
    if home is None:
        raise ValueError(_no_such_task(name))
    module, cls = home.split(":")
    task: Task = getattr(import_module(f".{module}", __package__), cls)(name, **settings)
    return task


def expand_names(names: Iterable[str]) -> list[str]:
    """Task names with the groups written out, each once, in the order given.

    Raises:
        ValueError: a name is neither a task nor a group.
    """
    expanded: dict[str, None] = {}
    for name in names:
        if name not in _HOMES and name not in TASK_GROUPS:
            raise ValueError(_no_such_task(name))
        expanded.update(dict.fromkeys(TASK_GROUPS.get(name, (name,))))
    return list(expanded)


def _no_such_task(name: str) -> str:
    known = [*TASK_GROUPS, *TASK_NAMES]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}" if near else f"known are {', '.join(known)}"
    return f"there is no task {name!r}; {hint}"
