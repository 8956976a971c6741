"""A task whose items come from annotation files: what the six benchmarks have in common."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase
from typing import Any, ClassVar

from .annotations import DataFolders
from .parsing import clean
from .parsing_strict import strict_letter
from .scored import Scored, as_scored
from .task import DataReport, Item, MissingDataError, Parsed, Row, Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Layout:
    """One form in which a benchmark's annotation is published.

    Attributes:
        name: what a message calls it.
        wanted: the file or files, for a message that they are missing.
        patterns: globs below the benchmark's folder; the files of the first that has any are read.
        read: turns those files into rows in the Hugging Face form.
    """

    name: str
    wanted: str
    patterns: Sequence[str]
    read: Callable[[list[Path]], list[Row]]


class AnnotatedTask(Task):
    """Reads rows in one of the published layouts and turns each into an item."""

    folder_names: ClassVar[tuple[str, ...]]
    how_to_get: ClassVar[str]

    @property
    @abstractmethod
    def layouts(self) -> Sequence[Layout]:
        """The layouts that can be read, the one to prefer first."""

    @abstractmethod
    def item(self, row: Row, number: int, folders: DataFolders) -> Item:
        """The item of a row; `number` counts the rows from 0."""

    def items(self, data_dir: str | Path) -> list[Item]:
        """See `Task`."""
        folders = DataFolders(Path(data_dir), self.folder_names)
        files, layout = self._find(folders)
        if layout is None:
            missing = self._missing_files(folders)
            raise MissingDataError(f"{self.title} is not there: {missing}; {self.how_to_get}")
        return self._items(layout, files, folders)

    def check(self, data_dir: str | Path) -> DataReport:
        """See `Task`."""
        folders = DataFolders(Path(data_dir), self.folder_names)
        files, layout = self._find(folders)
        if layout is None:
            missing = (self._missing_files(folders),)
            return DataReport(self.name, missing_annotations=missing, how_to_get=self.how_to_get)
        try:
            items = self._items(layout, files, folders)
        except MissingDataError:  # a file that the one found cannot be read without
            items = []
        paths = {item.video.path: item.video for item in items}
        return DataReport(
            self.name,
            annotations=tuple(files),
            items=len(items),
            videos=len(paths),
            missing_annotations=tuple(self.missing_parts(files)),
            missing_videos=tuple(path for path, video in paths.items() if not video.exists),
            how_to_get=self.how_to_get,
        )

    def missing_parts(self, files: Sequence[Path]) -> list[str]:
        """Files that belong to the annotation and are not among those found."""
        return []

    def _find(self, folders: DataFolders) -> tuple[list[Path], Layout | None]:
        for layout in self.layouts:
            files = folders.files(layout.patterns)
            if files:
                return files, layout
        return [], None

    def _missing_files(self, folders: DataFolders) -> str:
        """Where the annotation should be, in each layout."""
        named = folders.data_dir / self.folder_names[0]
        home = folders.roots[0] if len(folders.roots) > 1 else named
        return " or ".join(f"{home / layout.wanted} ({layout.name})" for layout in self.layouts)

    def _items(self, layout: Layout, files: list[Path], folders: DataFolders) -> list[Item]:
        rows = layout.read(files)
        missing = self.missing_parts(files)
        if missing:
            logger.warning("%s: %s not found, left out", self.title, ", ".join(missing))
        return with_unique_ids(self.item(row, i, folders) for i, row in enumerate(rows))


class MultipleChoiceTask(AnnotatedTask):
    """The scoring that multiple-choice benchmarks share."""

    @abstractmethod
    def options(self, row: Row) -> tuple[str, ...]:
        """The bare texts of the options."""

    @abstractmethod
    def answer_letter(self, row: Row) -> str | None:
        """The right letter; None when it is secret."""

    @abstractmethod
    def harness_read(self, row: Row, output: str) -> Parsed:
        """What the harness reads from a stripped output."""

    def read(self, row: Row, output: str) -> Parsed:
        """See `Task`."""
        if self.scoring == "strict":
            return Parsed(strict_letter(output, self.options(row)))
        return self.harness_read(row, clean(output))

    def score(self, row: Row, prediction: Any) -> float | None:
        """1 where the letters (or the indices) agree; None where the answer is secret."""
        answer = self.answer_letter(row)
        return None if answer is None else float(letter_of(prediction) == answer)

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """See `Task`: right answers over all items, and by sub-task."""
        return self.mean([as_scored(self, entry) for entry in scored_items])

    def mean(
        self, scored: Sequence[Scored], counted: Sequence[Scored] | None = None
    ) -> dict[str, Any]:
        """The plain mean over `counted` as the result.

        By default every item with a score counts; where all answers are secret there is no value.
        """
        known = [s for s in scored if s.score is not None] if counted is None else counted
        is_secret = counted is None and bool(scored) and not known
        value = None if is_secret else self.in_units(sum(s.score or 0 for s in known), len(known))
        return self.result(value, scored, by_sub_task=self.by_sub_task(known))

    def in_units(self, correct: float, total: int) -> float:
        """A share in the benchmark's unit; 0 of nothing is 0."""
        scale = 100 if self.unit == "percent" else 1
        return scale * correct / total if total else 0.0

    def by_sub_task(self, scored: Iterable[Scored]) -> dict[str, dict[str, Any]]:
        """Value and number of items of every sub-task, in the order they come."""
        kinds: dict[str, list[float]] = {}
        for entry in scored:
            if entry.sub_task is not None:
                kinds.setdefault(entry.sub_task, []).append(entry.score or 0.0)
        return {
            kind: {"value": self.in_units(sum(scores), len(scores)), "items": len(scores)}
            for kind, scores in kinds.items()
        }

    def result(self, value: float | None, scored: Sequence[Scored], **more: Any) -> dict[str, Any]:
        """What `aggregate` returns."""
        return {
            **self.headline(value, len(scored)),
            "correct": sum(s.score or 0.0 for s in scored),
            "random": sum(s.is_random for s in scored),
            "scoring": self.scoring,
            **more,
        }


def letter_of(prediction: Any) -> str | None:
    """The letter of a prediction that is a letter or an index; None for anything else."""
    if isinstance(prediction, bool):
        return None
    if isinstance(prediction, int):
        return ascii_uppercase[prediction] if 0 <= prediction < 26 else None
    return prediction if isinstance(prediction, str) else None


def with_unique_ids(items: Iterable[Item]) -> list[Item]:
    """The items; where an id comes again, "#2" and so on is added to it."""
    seen: dict[str, int] = {}
    unique = []
    for item in items:
        seen[item.id] = count = seen.get(item.id, 0) + 1
        unique.append(item if count == 1 else replace(item, id=f"{item.id}#{count}"))
    return unique


def first_of(fields: Mapping[str, Any], *names: str) -> Any:
    """The first of some fields that is there and not None."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)
