"""The thread itself: completions wait in the order in which they came.

Between two decoding steps at most one of them is taken in (its video encoded, its prompt read), so
that answers under way keep flowing; then every answer gets its next token.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from mobile_videogpt.serving.errors import ApiError, internal_error, shutting_down, too_late
from mobile_videogpt.serving.jobs import Job
from mobile_videogpt.serving.scheduling.answers import Answers, Counters, Running
from mobile_videogpt.serving.scheduling.intake import Intake
from mobile_videogpt.serving.scheduling.outbox import Outbox

if TYPE_CHECKING:
    from mobile_videogpt.chat import VideoChat

logger = logging.getLogger(__name__)

_IDLE_S = 1.0


class Scheduler:
    """Runs completions on one model.

    Args:
        chat: the model; nobody else may use it from now on.
        max_answers: answers decoded together.
    """

    def __init__(self, chat: VideoChat, max_answers: int) -> None:
        self.counters = Counters()
        self._outbox = Outbox()
        self._answers = Answers(chat, max_answers, self._outbox, self.counters)
        self._intake = Intake(chat, self._answers, self._outbox, self.counters)
        self._max_answers = max_answers
        self._waiting: deque[Job] = deque()
        self._condition = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step at hand; what is not finished fails."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether there is someone to work."""
        return self._thread.is_alive()

    @property
    def num_waiting(self) -> int:
        """Completions that have not begun."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Answers that are being decoded."""
        return len(self._answers)

    def submit(self, job: Job) -> None:
        """Queue a completion."""
        with self._condition:
            if self._is_stopping:
                raise shutting_down()
            self._waiting.append(job)
            self._condition.notify()

    def cancel(self, job: Job) -> None:
        """Give a completion up; nothing is said about it any more."""
        job.is_cancelled = True
        with self._condition:
            self._condition.notify()

    # From here on: the thread.

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._drop_the_lost()
                self._take_in_one()
                self._answers.step()
            except Exception:
                # Nothing of one job should get here; if it does, all that run are affected.
                logger.exception("decoding failed")
                self._answers.fail_all(internal_error())
            self._outbox.flush()
        with self._condition:
            waiting, self._waiting = list(self._waiting), deque()
        for job in waiting:
            self._outbox.fail(job, shutting_down())
        self._answers.fail_all(shutting_down())
        self._outbox.flush()

    def _wait_for_work(self) -> bool:
        with self._condition:
            while not (self._waiting or len(self._answers) or self._is_stopping):
                self._condition.wait(_IDLE_S)
            return not self._is_stopping

    def _drop_the_lost(self) -> None:
        with self._condition:
            lost = [job for job in self._waiting if job.is_cancelled or job.is_late]
            if lost:
                self._waiting = deque(job for job in self._waiting if job not in lost)
        for job in lost:
            self._outbox.fail(job, too_late())
        self._answers.drop_the_lost()

    def _take_in_one(self) -> None:
        """Begin with the next job if there is room for all of its answers."""
        with self._condition:
            if not self._waiting:
                return
            needed = len(self._waiting[0].order.answers)
            if len(self._answers) and len(self._answers) + needed > self._max_answers:
                return
            job = self._waiting.popleft()
        running = Running(job)
        try:
            self._intake.begin(running)
        except ApiError as error:
            self._answers.give_up(running)
            self._outbox.fail(job, error)
        except Exception:
            logger.exception("a completion failed")
            self._answers.give_up(running)
            self._outbox.fail(job, internal_error())
