"""Contestants in processes of their own, taking turns: only one of them works at any time."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mobile_videogpt.benchmark.contestant import NotOfferedError
from mobile_videogpt.benchmark.environment import child_environment
from mobile_videogpt.benchmark.process_memory import available_bytes
from mobile_videogpt.benchmark.settings import Settings

logger = logging.getLogger(__name__)

# Left for the system when models share the memory.
SPARE_GB = 1.0
# What a contestant takes before that is known: float32 weights and activations at released sizes.
USUAL_GB = {"ours": 4.0, "llava-onevision-0.5b": 5.6, "smolvlm2-500m": 3.5, "llama.cpp": 1.5}


class WorkerError(OSError):
    """A contestant's process failed; names it and says how."""


class Worker:
    """One contestant's process, started when first asked for something."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self.peak_rss_gb: float | None = None
        self._process: subprocess.Popen[str] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process is there (it may have been sent away to make room)."""
        return self._process is not None

    @property
    def wanted_gb(self) -> float:
        """What it takes, as far as known; a miniature is small."""
        if self.settings.kind == "ours" and self.settings.model == "moving-shapes":
            return 0.6
        return self.peak_rss_gb or USUAL_GB[self.settings.kind]

    def ask(self, order: str) -> Any:
        """Have `order` carried out; what the contestant found.

        Raises:
            NotOfferedError: it cannot run here.
            ValueError: what it was given is wrong: says what, and what to do.
            WorkerError: it failed.
        """
        process = self._process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": order}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = process.wait()
            self._process = None
            raise WorkerError(
                f"the process of {self.name} ended with code {code} during {order!r}; "
                "if the machine is out of memory, measure fewer peers at once"
            )
        answer = json.loads(line)
        if "not_offered" in answer:
            raise NotOfferedError(answer["not_offered"])
        if "refused" in answer:
            raise ValueError(answer["refused"])
        if "error" in answer:
            raise WorkerError(f"{self.name} failed during {order!r}: {answer['error']}")
        peak = answer["peak_rss_gb"]
        if peak is not None:
            self.peak_rss_gb = max(self.peak_rss_gb or 0.0, peak)
        return answer["found"]

    def leave(self) -> None:
        """End the process."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        try:
            process.stdin.close()
            process.wait(timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mobile_videogpt.benchmark.worker",
                json.dumps(self.settings.as_dict()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=child_environment(self.settings.threads),
        )


@dataclass
class Turns:
    """What one contestant did."""

    facts: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, float]] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)
    peak_rss_gb: float | None = None
    not_offered: str | None = None


def take_turns(
    workers: Sequence[Worker], runs: int, say: Callable[[str], None] = logger.info
) -> dict[str, Turns]:
    """Let every contestant warm up, then run once a round, `runs` rounds, then its extras.

    All stay in memory between their turns, where there is room for them; otherwise those that
    wait leave, and load and warm up again for their next turn.

    Raises:
        WorkerError: a contestant failed; one that is not offered here does not stop the others.
    """
    results = {worker.name: Turns() for worker in workers}
    try:
        for number in range(runs):
            for worker in workers:
                _turn(worker, workers, results[worker.name], f"run {number + 1} of {runs}", say)
        for worker in workers:
            turns = results[worker.name]
            if turns.not_offered is None:
                _make_ready(worker, workers, turns, say)
                # The peak belongs to answering, not to what is measured besides.
                turns.peak_rss_gb = worker.peak_rss_gb
                turns.extras = worker.ask("extras")
                worker.leave()
    finally:
        for worker in workers:
            worker.leave()
    return results


def _turn(
    worker: Worker, workers: Sequence[Worker], turns: Turns, label: str, say: Callable[[str], None]
) -> None:
    if turns.not_offered is not None:
        return
    try:
        _make_ready(worker, workers, turns, say)
    except NotOfferedError as reason:
        turns.not_offered = str(reason)
        worker.leave()
        say(f"{worker.name}: not measured: {reason}")
        return
    turns.runs.append(worker.ask("run"))
    first = turns.runs[-1]
    shown = ", ".join(
        f"{key} {first[key]:.3g}" for key in ("ttft_s", "decode_tok_s") if key in first
    )
    say(f"{worker.name}: {label}: {shown}")


def _make_ready(
    worker: Worker, workers: Sequence[Worker], turns: Turns, say: Callable[[str], None]
) -> None:
    """Load and warm up what is not running, after making room for it."""
    if worker.is_running:
        return
    for other in workers:
        free = available_bytes()
        if free is None or free / 1e9 >= worker.wanted_gb + SPARE_GB:
            break
        if other.is_running:
            say(f"{other.name}: leaves the memory to {worker.name}")
            other.leave()
    say(f"{worker.name}: loading and warming up")
    turns.facts = worker.ask("load")
    worker.ask("warm_up")
