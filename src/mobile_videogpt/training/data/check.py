"""Look for everything that would spoil a training run before it starts.

Every entry is read and every file looked up; a sample of the files, or all, is decoded, each in a
process that may crash. What was decoded is remembered in the output folder, so that a check that
was stopped, or made again after a repair, only looks at files that are new or changed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .annotations import scan_annotations
from .findings import PROBLEMS, WARNINGS, Finding
from .media_checks import judge
from .mixture import apply_prompt, read_config
from .mixture_file import MixtureConfig, SourceConfig
from .probe import Probe, Task, probe_file
from .probe_memory import ProbeMemory
from .records import DataError, EntryError, MediaKind, Record, RecordStore
from .text_checks import TokenBudget, check_texts
from .workers import Failure, ProbeFunction, Result, probe_all

_THUMBNAILS = 48
_LOOKING_THREADS = 16
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CheckOptions:
    """How closely to look.

    Attributes:
        sample: files to decode, chosen by the seed; None for all.
        seed: which sample.
        workers: processes that decode; None for one per core.
        time_limit_s: for one file.
        min_frames: fewest frames of a usable video, or of its stretch; by default as many as the
            video encoder looks at.
        budget: longest conversation.
    """

    sample: int | None = 200
    seed: int = 0
    workers: int | None = None
    time_limit_s: float = 30.0
    min_frames: int = 8
    budget: TokenBudget = field(default_factory=TokenBudget)


@dataclass
class CheckResult:
    """What was found.

    Attributes:
        config: the mixture that was checked.
        records: of each source, those that could be read.
        problems, warnings: in the order of the entries.
        files: every file that is named, and its size in bytes; None if it is missing.
        results: of the files that were decoded.
    """

    config: MixtureConfig
    options: CheckOptions
    records: dict[str, RecordStore]
    unreadable: int
    problems: list[Finding]
    warnings: list[Finding]
    files: dict[tuple[MediaKind, Path], int | None]
    results: dict[Path, Result]

    @property
    def entries(self) -> int:
        """Entries of all sources, readable or not."""
        return sum(map(len, self.records.values())) + self.unreadable

    @property
    def bad(self) -> set[tuple[str, int]]:
        """Source and record index of what must be left out."""
        return {(f.source, f.index) for f in self.problems if f.index is not None}

    @property
    def usable(self) -> int:
        """Entries with no problem found."""
        return sum(map(len, self.records.values())) - len(self.bad)

    def clean_records(self, source: str) -> Iterator[Record]:
        """The usable records of a source."""
        bad = self.bad
        for index, record in enumerate(self.records[source]):
            if (source, index) not in bad:
                yield record


def check_data(
    path: str | Path,
    options: CheckOptions | None = None,
    *,
    root: str | Path | None = None,
    memory: Path | None = None,
    on_progress: Progress | None = None,
    probe: ProbeFunction = probe_file,
) -> CheckResult:
    """Check a mixture or an annotation file.

    Args:
        path: YAML of a mixture, or annotations.
        options: how closely to look.
        root: where the data lies, instead of the mixture's own `root`.
        memory: a file that remembers what was decoded.
        on_progress: called with files done and files to do.
        probe: looks into one file, in a worker.

    Raises:
        DataError: for a mixture that cannot be used, or when no annotation file can be read.
    """
    options = options or CheckOptions()
    config = read_config(path, root=root)
    checker = _Checker(config, options)
    checker.read_entries()
    checker.look_up_files()
    checker.decode(ProbeMemory(memory), on_progress or (lambda done, total: None), probe)
    checker.judge_media()
    checker.find_repeated()
    order = {name: number for number, name in enumerate((*PROBLEMS, *WARNINGS))}
    for findings in (checker.problems, checker.warnings):
        findings.sort(key=lambda f: (order[f.kind], f.source, -1 if f.index is None else f.index))
    return CheckResult(
        config,
        options,
        checker.records,
        checker.unreadable,
        checker.problems,
        checker.warnings,
        checker.files,
        checker.results,
    )


class _Checker:
    """The steps of a check, in the order in which `check_data` calls them."""

    def __init__(self, config: MixtureConfig, options: CheckOptions) -> None:
        self.config = config
        self.options = options
        self.records: dict[str, RecordStore] = {}
        self.unreadable = 0
        self.problems: list[Finding] = []
        self.warnings: list[Finding] = []
        self.files: dict[tuple[MediaKind, Path], int | None] = {}
        self.results: dict[Path, Result] = {}

    def read_entries(self) -> None:
        """Read every source; a file that cannot be read is a finding unless there is no other."""
        failed: list[DataError] = []
        for source in self.config.sources:
            try:
                self.records[source.name] = RecordStore(self._readable(source))
            except DataError as error:
                failed.append(error)
                self.records[source.name] = RecordStore(())
                self._add("annotations", source.name, None, str(source.annotations), str(error))
        if len(failed) == len(self.config.sources):
            raise failed[0]

    def _readable(self, source: SourceConfig) -> Iterator[Record]:
        found = scan_annotations(
            source.annotations, media_root=source.media_root, layout=source.layout
        )
        index = 0
        for item in found:
            if isinstance(item, EntryError):
                self.unreadable += 1
                message = str(item).removeprefix(f"{item.origin}: ")
                self._add(item.problem, source.name, None, item.origin, message)
                continue
            asked = apply_prompt(item, source)
            for kind, message in dict(check_texts(asked, self.options.budget)).items():
                self._add_record(kind, source.name, index, item, message)
            index += 1
            yield item

    def look_up_files(self) -> None:
        """Which files are named, and which of them are there."""
        named = {
            (media.kind, media.path): None
            for store in self.records.values()
            for record in store
            for media in record.media
        }
        # Threads: on a network disk every look takes its time, and there may be a million.
        with ThreadPoolExecutor(_LOOKING_THREADS) as pool:
            sizes = pool.map(_size, (path for _, path in named), chunksize=256)
            self.files = dict(zip(named, sizes, strict=True))
        for name, store in self.records.items():
            for index, record in enumerate(store):
                for media in record.media:
                    size = self.files[media.kind, media.path]
                    if not size:
                        message = "does not exist." if size is None else "is empty."
                        self._add_record("missing", name, index, record, message, media.path)

    def decode(self, memory: ProbeMemory, on_progress: Progress, probe: ProbeFunction) -> None:
        """Look into the sample, or take what an earlier check saw."""
        tasks = self._tasks()
        left = []
        for task in tasks:
            known = memory.recall(task)
            if known is None:
                left.append(task)
            else:
                self.results[task.path] = known
        on_progress(len(tasks) - len(left), len(tasks))
        workers = self.options.workers or os.cpu_count() or 1
        found = probe_all(left, probe, workers=workers, time_limit_s=self.options.time_limit_s)
        for done, (task, result) in enumerate(found, start=len(tasks) - len(left) + 1):
            self.results[task.path] = result
            memory.keep(task, result)
            on_progress(done, len(tasks))

    def _tasks(self) -> list[Task]:
        """The files to decode. Only files of equal size can be equal, so only those are hashed."""
        there = sorted((path, kind) for (kind, path), size in self.files.items() if size)
        there = [pair for i, pair in enumerate(there) if not i or pair[0] != there[i - 1][0]]
        wanted = len(there) if self.options.sample is None else self.options.sample
        rng = np.random.default_rng([self.options.seed, 7])
        order = rng.permutation(len(there))
        chosen = sorted(order[:wanted].tolist())
        shown = set(order[:_THUMBNAILS].tolist())
        by_size: dict[int | None, int] = defaultdict(int)
        for i in chosen:
            by_size[self.files[there[i][1], there[i][0]]] += 1
        tasks = []
        for i in chosen:
            path, kind = there[i]
            is_hashed = by_size[self.files[kind, path]] > 1
            tasks.append(Task(kind, path, digest=is_hashed, thumbnail=i in shown))
        return tasks

    def judge_media(self) -> None:
        """What the decoded files mean for the entries that name them."""
        first_of: dict[str, Path] = {}
        for path, result in sorted(self.results.items()):
            if isinstance(result, Probe) and result.digest:
                first_of.setdefault(result.digest, path)
        warned: set[Path] = set()
        for name, store in self.records.items():
            for index, record in enumerate(store):
                for media in record.media:
                    if media.path not in self.results:
                        continue
                    result = self.results[media.path]
                    for kind, message in judge(media, result, self.options.min_frames):
                        self._add_record(kind, name, index, record, message, media.path)
                    if isinstance(result, Probe) and media.path not in warned:
                        warned.add(media.path)
                        first = first_of.get(result.digest, media.path)
                        self._warn(name, index, record, media.path, result, first)

    def _warn(
        self, name: str, index: int, record: Record, path: Path, result: Probe, first: Path
    ) -> None:
        """Once per file: what is odd about it, and which file it equals."""
        notes = [("odd_media", f"{note.rstrip('.')}.") for note in result.notes]
        if first != path:
            notes.append(("duplicate_media", f"has the same content as {first}."))
        for kind, message in notes:
            finding = Finding(kind, name, index, record.origin, message, record.id, path)
            self.warnings.append(finding)

    def find_repeated(self) -> None:
        """Entries that say again what an earlier one says, about the same content."""
        seen: dict[int, str] = {}
        for name, store in self.records.items():
            for index, record in enumerate(store):
                media = tuple((self._content(m.path), m.start, m.end) for m in record.media)
                key = hash((media, tuple((turn.role, turn.text) for turn in record.turns)))
                first = seen.setdefault(key, record.origin)
                if first != record.origin:
                    self._add_record("repeated", name, index, record, f"says what {first} says.")

    def _content(self, path: Path) -> str:
        result = self.results.get(path)
        return (result.digest if isinstance(result, Probe) else "") or str(path)

    def _add(self, kind: str, source: str, index: int | None, origin: str, message: str) -> None:
        self.problems.append(Finding(kind, source, index, origin, message))

    def _add_record(
        self,
        kind: str,
        source: str,
        index: int,
        record: Record,
        message: str,
        path: Path | None = None,
    ) -> None:
        finding = Finding(kind, source, index, record.origin, message, record.id, path)
        self.problems.append(finding)


def _size(path: Path) -> int | None:
    """Bytes of a file, 1 for a folder of frames, None for what is not there."""
    try:
        return 1 if path.is_dir() else path.stat().st_size
    except (OSError, ValueError):
        return None


def summary(result: CheckResult) -> dict[str, Any]:
    """The figures of a check that fit a line."""
    decoded = list(result.results.values())
    return {
        "entries": result.entries,
        "usable": result.usable,
        "files": len(result.files),
        "missing": sum(not size for size in result.files.values()),
        "decoded": sum(isinstance(item, Probe) for item in decoded),
        "failed": sum(isinstance(item, Failure) for item in decoded),
        "problems": len(result.problems),
        "warnings": len(result.warnings),
    }
