"""The one thread that owns the model: who is next, whose answers are decoded together.

Completions wait in the order in which they came. Between two decoding steps at most one of them is
taken in (its video encoded, its prompt read), so that answers under way keep flowing; then every
answer gets its next token of one pass over the weights.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mobile_videogpt.chat.answers import GrowingText
from mobile_videogpt.engines.batching import new_batch
from mobile_videogpt.serving.dialogue import Prompt, PromptBuilder
from mobile_videogpt.serving.errors import ApiError, internal_error
from mobile_videogpt.serving.jobs import (
    Ended,
    Event,
    Failed,
    Finished,
    HeldVideo,
    Job,
    Piece,
    Started,
)
from mobile_videogpt.serving.stop_strings import StopStrings

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat

logger = logging.getLogger(__name__)

# What is kept of an encoded video's frames: enough to show them.
_THUMBNAIL = 160
_IDLE_S = 1.0


@dataclass
class Counters:
    """What the scheduler has done since it began; read by the metrics."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    steps: int = 0
    encoded_videos: int = 0


@dataclass(eq=False)
class _Running:
    """A job whose answers are being decoded."""

    job: Job
    started: float
    first_token: float | None = None
    rows: set[int] = field(default_factory=set)
    tokens: int = 0
    ended: int = 0


@dataclass(eq=False)
class _Row:
    """One answer under way."""

    running: _Running
    index: int
    limit: int
    text: GrowingText
    stops: StopStrings


class Scheduler:
    """Runs completions on one model.

    Args:
        chat: the model; nobody else may use it from now on.
        max_answers: answers decoded together.
    """

    def __init__(self, chat: VideoChat, max_answers: int) -> None:
        self.counters = Counters()
        self._chat = chat
        # Encoded videos are kept by the server, with small frames: one at a time is enough here.
        chat.max_open_videos = 1
        self._max_answers = max_answers
        self._batch = new_batch(chat.engine, max_answers)
        self._prompts = PromptBuilder(chat)
        self._waiting: deque[Job] = deque()
        self._running: list[_Running] = []
        self._rows: dict[int, _Row] = {}
        self._outbox: list[tuple[Job, Event | Callable[[], None]]] = []
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
        return len(self._rows)

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
                self._step()
            except Exception:
                # Nothing of one job should get here; if it does, all that run are affected.
                logger.exception("decoding failed")
                self._fail_all(internal_error())
            self._flush()
        with self._condition:
            waiting, self._waiting = list(self._waiting), deque()
        for job in waiting:
            self._say(job, Failed(shutting_down()))
        self._fail_all(shutting_down())
        self._flush()

    def _wait_for_work(self) -> bool:
        with self._condition:
            while not (self._waiting or self._rows or self._is_stopping):
                self._condition.wait(_IDLE_S)
            return not self._is_stopping

    def _drop_the_lost(self) -> None:
        """Let go of jobs that nobody waits for, and of those whose time is over."""
        with self._condition:
            lost = [job for job in self._waiting if job.is_cancelled or job.is_late]
            if lost:
                kept = [job for job in self._waiting if job not in lost]
                self._waiting = deque(kept)
        for job in lost:
            self._fail(job, too_late())
        for running in list(self._running):
            if running.job.is_cancelled or running.job.is_late:
                self._give_up(running)
                self._fail(running.job, too_late())

    def _take_in_one(self) -> None:
        """Begin with the next job if there is room for all of its answers."""
        with self._condition:
            if not self._waiting:
                return
            needed = len(self._waiting[0].order.answers)
            if self._rows and len(self._rows) + needed > self._max_answers:
                return
            job = self._waiting.popleft()
        running = _Running(job, time.monotonic())
        try:
            self._begin(running)
        except ApiError as error:
            self._give_up(running)
            self._fail(job, error)
        except Exception:
            logger.exception("a completion failed")
            self._give_up(running)
            self._fail(job, internal_error())

    def _begin(self, running: _Running) -> None:
        """Read the prompt of a job, and begin with its answers."""
        job = running.job
        seen = [self._encode(held) for held in job.videos]
        self._say(job, job.on_prepared)
        videos = [encoded for encoded, _ in seen]
        prompt = self._prompts.build(job.order.messages, videos)
        self.counters.prompt_tokens += prompt.num_tokens
        self.counters.cached_tokens += prompt.cached_tokens
        shown = tuple(_shown(encoded, reused) for encoded, reused in seen)
        self._say(job, Started(prompt.num_tokens, prompt.cached_tokens, shown))
        if job.order.form is not None:
            self._fill_in_form(running, videos)
            return
        self._running.append(running)
        for index in range(len(job.order.answers)):
            self._begin_answer(running, prompt, index)

    def _encode(self, held: HeldVideo) -> tuple[EncodedVideo, bool]:
        """A video of a job, and whether it was encoded before."""
        if held.encoded is not None:
            return held.encoded, True
        assert held.clip is not None
        encoded = self._chat.open(held.clip)
        self.counters.encoded_videos += 1
        held.encoded = replace(encoded, frames=[_thumbnail(frame) for frame in encoded.frames])
        held.clip = None
        return held.encoded, False

    def _begin_answer(self, running: _Running, prompt: Prompt, index: int) -> None:
        order = running.job.order
        options = order.answers[index]
        room = self._chat.config.text_config.max_position_embeddings - prompt.num_tokens
        options = replace(options, max_new_tokens=min(options.max_new_tokens, room))
        number, token = self._batch.add(prompt.prefix, prompt.question_ids, options)
        running.first_token = running.first_token or time.monotonic()
        text, stops = GrowingText(self._decode), StopStrings(order.stop)
        row = _Row(running, index, options.max_new_tokens, text, stops)
        running.rows.add(number)
        self._rows[number] = row
        self._advance(number, token)

    def _step(self) -> None:
        """The next token of every answer."""
        if not len(self._batch):
            return
        self.counters.steps += 1
        for number, token in self._batch.step().items():
            if number in self._rows:
                self._advance(number, token)

    def _advance(self, number: int, token: int | None) -> None:
        """One answer's next token, or None at its end."""
        row = self._rows[number]
        if token is None:
            self._end_answer(number, "stop")
            return
        self.counters.generated_tokens += 1
        row.running.tokens += 1
        piece = row.stops.add(row.text.add(token))
        if piece:
            self._say(row.running.job, Piece(row.index, piece))
        if row.stops.is_hit:
            self._end_answer(number, "stop")
        elif len(row.text.ids) >= row.limit:
            self._end_answer(number, "length")

    def _end_answer(self, number: int, reason: str) -> None:
        row = self._rows.pop(number)
        self._batch.remove(number)
        running, job = row.running, row.running.job
        rest = row.stops.add(row.text.end()) + row.stops.end()
        if rest:
            self._say(job, Piece(row.index, rest))
        reason = "stop" if row.stops.is_hit else reason
        self._say(job, Ended(row.index, reason, len(row.text.ids)))
        running.rows.discard(number)
        running.ended += 1
        if running.ended == len(job.order.answers):
            self._running.remove(running)
            self._say(job, Finished(self._timings(running)))

    def _fill_in_form(self, running: _Running, videos: Sequence[EncodedVideo]) -> None:
        """Answer by comparing options."""
        job = running.job
        *before, last = job.order.messages
        form = job.order.form
        assert form is not None

        def score(question: str, options: Sequence[str]) -> int:
            prompt = self._prompts.build([*before, replace(last, text=question)], videos)
            return self._likeliest(prompt, options)

        text = form.fill_in(last.text, score)
        running.first_token = time.monotonic()
        tokens = len(self._ids(text))
        for index in range(len(job.order.answers)):
            self._say(job, Piece(index, text))
            self._say(job, Ended(index, "stop", tokens))
            running.tokens += tokens
        self.counters.generated_tokens += running.tokens
        self._say(job, Finished(self._timings(running)))

    def _likeliest(self, prompt: Prompt, options: Sequence[str]) -> int:
        end = self._chat.end_token_ids[0]
        answers = [[*self._ids(option), end] for option in options]
        logs = self._chat.engine.score(prompt.prefix, prompt.question_ids, answers)
        sums = [math.fsum(row) for row in logs]
        return sums.index(max(sums))

    def _timings(self, running: _Running) -> dict[str, float]:
        now, job = time.monotonic(), running.job
        first = running.first_token or now
        per_second = (running.tokens - running.ended) / (now - first) if now > first else 0.0
        return {
            "waiting_s": round(running.started - job.arrived, 6),
            "first_token_s": round(first - job.arrived, 6),
            "total_s": round(now - job.arrived, 6),
            "tokens_per_second": round(max(0.0, per_second), 2),
        }

    def _fail(self, job: Job, error: ApiError) -> None:
        self._say(job, job.on_prepared)
        self._say(job, Failed(error))

    def _fail_all(self, error: ApiError) -> None:
        for running in list(self._running):
            self._give_up(running)
            self._fail(running.job, error)

    def _give_up(self, running: _Running) -> None:
        """Stop decoding a job's answers."""
        for number in running.rows:
            self._batch.remove(number)
            self._rows.pop(number, None)
        running.rows.clear()
        if running in self._running:
            self._running.remove(running)

    def _say(self, job: Job, event: Event | Callable[[], None]) -> None:
        self._outbox.append((job, event))

    def _flush(self) -> None:
        """Hand all that was said to the event loops, in one call each."""
        by_loop: dict[Any, list[tuple[Job, Event | Callable[[], None]]]] = {}
        for job, event in self._outbox:
            by_loop.setdefault(job.loop, []).append((job, event))
        self._outbox.clear()
        for loop, events in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(_deliver, events)

    def _ids(self, text: str) -> list[int]:
        return self._chat.processor.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _decode(self, token_ids: list[int]) -> str:
        return self._chat.processor.tokenizer.decode(token_ids, skip_special_tokens=True)


def too_late() -> ApiError:
    """For a request that took longer than it may."""
    return ApiError(
        504, "the request took longer than this server allows: ask for less, or later", "timeout"
    )


def shutting_down() -> ApiError:
    """For a request that comes when the server is about to stop."""
    return ApiError(503, "the server is shutting down: try again later", "shutting_down", None, 5.0)


def _deliver(events: list[tuple[Job, Event | Callable[[], None]]]) -> None:
    """On the event loop."""
    for job, event in events:
        if callable(event):
            event()
        elif not job.is_cancelled:
            job.events.put_nowait(event)


def _shown(video: EncodedVideo, reused: bool) -> dict[str, Any]:
    return {
        "id": video.key,
        "duration_s": video.duration_s,
        "frame_times": [round(time_s, 6) for time_s in video.frame_times],
        "frame_scores": video.frame_scores,
        "kept_frames": video.kept_frames,
        "visual_tokens": video.num_visual_tokens,
        "reused": reused,
    }


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    image = Image.fromarray(frame)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(image)
