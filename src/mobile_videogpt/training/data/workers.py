"""Processes that look into files and may die of it: decoders crash, hang and eat memory.

Every worker holds one file at a time, so that a death names its culprit. A crash is tried once more
in a fresh process, because the system also kills processes for reasons of its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from .probe import Probe, Task
from .records import DataError

_START_LIMIT_S = 120.0


@dataclass(frozen=True)
class Failure:
    """Why a file could not be looked into: `kind` is "undecodable", "crash" or "hang"."""

    kind: str
    message: str


Result = Probe | Failure
ProbeFunction = Callable[[Task], Probe]


def probe_all(
    tasks: Iterable[Task], probe: ProbeFunction, *, workers: int = 1, time_limit_s: float = 30.0
) -> Iterator[tuple[Task, Result]]:
    """Yield each task with its result, in the order in which they finish.

    Args:
        tasks: what to look at.
        probe: a function of a module, called in the workers.
        workers: processes.
        time_limit_s: a file that takes longer is given up and its process ended.

    Raises:
        DataError: a worker does not start at all.
    """
    waiting = deque((task, 1) for task in tasks)
    pool: list[_Worker] = []
    try:
        while waiting or any(worker.task for worker in pool):
            pool[:] = [worker for worker in pool if not worker.is_gone]
            busy = sum(worker.task is not None for worker in pool)
            while len(pool) < min(workers, busy + len(waiting)):
                pool.append(_Worker(probe))
            for worker in pool:
                if worker.is_ready and worker.task is None and waiting:
                    worker.give(*waiting.popleft(), time_limit_s)
            for worker in _active(pool):
                result = worker.collect()
                if result is None:
                    continue
                task, attempt = worker.release()
                if isinstance(result, Failure) and result.kind == "crash" and attempt == 1:
                    waiting.appendleft((task, 2))
                else:
                    yield task, result
    finally:
        for worker in pool:
            worker.end()


def _active(pool: list[_Worker]) -> list[_Worker]:
    """Workers that have something to say, or whose time is over."""
    now = time.monotonic()
    until = min(worker.deadline for worker in pool)
    ready = wait([worker.connection for worker in pool], timeout=max(0.0, min(until - now, 1.0)))
    now = time.monotonic()
    return [worker for worker in pool if worker.connection in ready or worker.deadline <= now]


class _Worker:
    """One process and the task it holds."""

    def __init__(self, probe: ProbeFunction) -> None:
        # spawn: a fork would copy the threads' locks of whatever the caller has loaded.
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, probe), daemon=True)
        self._process.start()
        other.close()
        self.is_ready = self.is_gone = False
        self.task: Task | None = None
        self._attempt = 0
        self._limit_s = 0.0
        self.deadline = time.monotonic() + _START_LIMIT_S

    def give(self, task: Task, attempt: int, time_limit_s: float) -> None:
        """Hand over a task."""
        self.task, self._attempt, self._limit_s = task, attempt, time_limit_s
        self.deadline = time.monotonic() + time_limit_s
        with contextlib.suppress(OSError):  # it died while idle: `collect` finds out
            self.connection.send(task)

    def collect(self) -> Result | None:
        """The result of the task, None if there is none yet."""
        try:
            if self.connection.poll():
                return self._received(self.connection.recv())
        except (EOFError, OSError):
            return self._died()
        if time.monotonic() < self.deadline:
            return None
        if not self.is_ready:
            raise DataError(f"A worker process did not start within {_START_LIMIT_S:.0f} s.")
        self.end()
        return Failure("hang", f"no result within {self._limit_s:g} s: the decoder hangs.")

    def release(self) -> tuple[Task, int]:
        """The task that is done with, and at which attempt."""
        assert self.task is not None
        task, self.task = self.task, None
        self.deadline = float("inf")
        return task, self._attempt

    def end(self) -> None:
        """Kill the process."""
        self.is_gone = True
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _received(self, message: Any) -> Result | None:
        if message == "ready":
            self.is_ready, self.deadline = True, float("inf")
            return None
        result: Result = message
        return result

    def _died(self) -> Result | None:
        self._process.join()
        code = self._process.exitcode
        self.end()
        if not self.is_ready:
            raise DataError(
                f"A worker process ended with exit code {code} before it began: call this from "
                "`if __name__ == '__main__':`, as every program that starts processes must."
            )
        if self.task is None:
            return None
        return Failure("crash", f"the decoder crashes ({_name_of_exit(code)}).")


def _name_of_exit(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _serve(connection: Connection, probe: ProbeFunction) -> None:
    """The worker's loop: one task, one answer, until the other side goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        connection.send("ready")
        while True:
            task = connection.recv()
            try:
                result: Result = probe(task)
            except Exception as error:
                result = Failure("undecodable", _reason(error))
            connection.send(result)
    except (EOFError, OSError):
        return


def _reason(error: Exception) -> str:
    message = " ".join(str(error).split()) or "no reason given"
    return message if isinstance(error, ValueError) else f"{type(error).__name__}: {message}"
