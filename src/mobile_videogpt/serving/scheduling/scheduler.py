"""The thread itself: completions wait in line, one after the other is taken in.

What takes long (a new video to encode, a long prompt to read) is done in pieces: in the engine's
pauses between them answers under way get their next token, and who asks about a video that is read
already is taken in, too. So the thread is at most two completions deep in its work.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from mobile_videogpt.serving.errors import ApiError, internal_error, shutting_down, too_late
from mobile_videogpt.serving.jobs import Job
from mobile_videogpt.serving.scheduling.answers import Answers, Counters, Running
from mobile_videogpt.serving.scheduling.intake import Intake
from mobile_videogpt.serving.scheduling.outbox import Outbox
from mobile_videogpt.serving.scheduling.waiting import WaitingLine

if TYPE_CHECKING:
    from mobile_videogpt.chat import VideoChat

logger = logging.getLogger(__name__)

_IDLE_S = 1.0
# Streams need no token more often while a video is taken in; where that is quick, more answers
# share a step afterwards.
_BREATH_S = 0.05
# Characters of a dialogue that may be read while another prompt waits halfway.
_SHORT = 2000


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
        self._waiting = WaitingLine()
        self._taken_in: list[Running] = []
        self._condition = threading.Condition()
        self._is_stopping = False
        self._last_round = 0.0
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._engine = chat.engine
        self._engine.pause = self._meanwhile

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
        self._engine.pause = None

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
            self._waiting.add(job)
            self._condition.notify()

    def cancel(self, job: Job) -> None:
        """Give a completion up; nothing is said about it any more."""
        job.is_cancelled = True
        with self._condition:
            self._condition.notify()

    # From here on: the thread.

    def _run(self) -> None:
        while self._wait_for_work():
            self._do_a_round()
        with self._condition:
            waiting = self._waiting.remove(lambda job: True)
        for job in waiting:
            self._outbox.fail(job, shutting_down())
        self._answers.fail_all(shutting_down())
        self._outbox.flush()

    def _do_a_round(self) -> None:
        try:
            self._drop_the_lost()
            self._take_in_one()
            self._answers.step()
        except Exception:
            # Nothing of one job should get here; if it does, all that run are affected.
            logger.exception("decoding failed")
            self._answers.fail_all(internal_error())
        self._outbox.flush()
        self._last_round = time.monotonic()

    def _meanwhile(self) -> None:
        """The engine pauses in what it does for the job that is being taken in.

        Raises:
            ApiError: nobody wants it any more.
        """
        if self._is_stopping:
            raise shutting_down()
        if self._taken_in and self._taken_in[-1].job.is_lost:
            raise too_late()
        if time.monotonic() - self._last_round >= _BREATH_S:
            self._do_a_round()

    def _wait_for_work(self) -> bool:
        with self._condition:
            while not (self._waiting or len(self._answers) or self._is_stopping):
                self._condition.wait(_IDLE_S)
            return not self._is_stopping

    def _drop_the_lost(self) -> None:
        with self._condition:
            lost = self._waiting.remove(lambda job: job.is_lost)
        for job in lost:
            self._outbox.fail(job, too_late())
        self._answers.drop_the_lost()

    def _take_in_one(self) -> None:
        """Begin with the next job if there is room for all of its answers."""
        if len(self._taken_in) > 1:
            return
        job = self._next_job()
        if job is None:
            return
        running = Running(job)
        self._taken_in.append(running)
        try:
            self._intake.begin(running)
        except ApiError as error:
            self._answers.give_up(running)
            self._outbox.fail(job, error)
        except Exception:
            logger.exception("a completion failed")
            self._answers.give_up(running)
            self._outbox.fail(job, internal_error())
        finally:
            self._taken_in.pop()

    def _next_job(self) -> Job | None:
        busy = self._answers.by_owner()
        for running in self._taken_in:  # its answers have a place
            busy[running.job.owner] += len(running.job.order.answers)
        room = self._max_answers - busy.total()
        may_go = _is_quick if self._taken_in else _is_any
        with self._condition:
            return self._waiting.take(busy, room, may_go)


def _is_any(job: Job) -> bool:
    return True


def _is_quick(job: Job) -> bool:
    """Whether a job's prompt is read in a moment: all but a short question is known already."""
    first, *_ = messages = job.order.messages
    if sum(len(message.text) for message in messages) > _SHORT or first.role == "system":
        return False
    is_usual = not job.videos or (len(job.videos) == 1 and len(first.videos) == 1)
    return is_usual and all(held.is_read for held in job.videos)
