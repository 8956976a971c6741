"""Answers under way: all of them get their next token of one pass over the weights."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mobile_videogpt.chat.answers import GrowingText
from mobile_videogpt.engines.base import in_pieces
from mobile_videogpt.engines.batching import new_batch
from mobile_videogpt.serving.dialogue import Prompt
from mobile_videogpt.serving.errors import ApiError, too_late
from mobile_videogpt.serving.jobs import Ended, Finished, Job, Piece
from mobile_videogpt.serving.scheduling.outbox import Outbox
from mobile_videogpt.serving.stop_strings import StopStrings

if TYPE_CHECKING:
    from mobile_videogpt.chat import VideoChat


@dataclass
class Counters:
    """What the model's thread has done since it began; read by the metrics."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    steps: int = 0
    encoded_videos: int = 0


@dataclass(eq=False)
class Running:
    """A job that has begun."""

    job: Job
    started: float = field(default_factory=time.monotonic)
    first_token: float | None = None
    rows: set[int] = field(default_factory=set)
    """Of its answers that are being decoded."""
    tokens: int = 0
    ended: int = 0
    """Answers that are complete."""
    is_given_up: bool = False

    def timings(self) -> dict[str, float]:
        """What it took, once it is finished."""
        now, arrived = time.monotonic(), self.job.arrived
        first = self.first_token or now
        per_second = (self.tokens - self.ended) / (now - first) if now > first else 0.0
        return {
            "waiting_s": round(self.started - arrived, 6),
            "first_token_s": round(first - arrived, 6),
            "total_s": round(now - arrived, 6),
            "tokens_per_second": round(max(0.0, per_second), 2),
        }


@dataclass(eq=False)
class _Row:
    """One answer."""

    running: Running
    index: int
    limit: int
    text: GrowingText
    stops: StopStrings


class Answers:
    """Decodes answers and tells their clients; used by the model's thread.

    Args:
        chat: the model.
        max_answers: rows of a batch.
        outbox: takes what is said.
        counters: kept up to date.
    """

    def __init__(
        self, chat: VideoChat, max_answers: int, outbox: Outbox, counters: Counters
    ) -> None:
        self.batch = new_batch(chat.engine, max_answers)
        self._chat = chat
        self._outbox = outbox
        self._counters = counters
        self._running: list[Running] = []
        self._rows: dict[int, _Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def by_owner(self) -> Counter[str]:
        """How many answers of each client are under way."""
        return Counter(row.running.job.owner for row in self._rows.values())

    def begin(self, running: Running, prompt: Prompt) -> None:
        """Read the question of a job, once for each of its answers, and begin with them.

        Raises:
            ApiError: it was given up meanwhile.
        """
        self._running.append(running)
        count = len(running.job.order.answers)
        for one in in_pieces(count, 1, self._chat.engine.pause):
            self._begin_one(running, prompt, one.start)

    def _begin_one(self, running: Running, prompt: Prompt, index: int) -> None:
        order = running.job.order
        options = order.answers[index]
        room = self._chat.config.text_config.max_position_embeddings - prompt.num_tokens
        options = replace(options, max_new_tokens=min(options.max_new_tokens, room))
        number, token = self.batch.add(prompt.prefix, prompt.question_ids, options)
        if running.is_given_up:  # while the question was read
            self.batch.remove(number)
            raise too_late()
        running.first_token = running.first_token or time.monotonic()
        text, stops = GrowingText(self._decode), StopStrings(order.stop)
        row = _Row(running, index, options.max_new_tokens, text, stops)
        running.rows.add(number)
        self._rows[number] = row
        self._advance(number, token)

    def step(self) -> None:
        """The next token of every answer."""
        if not len(self.batch):
            return
        self._counters.steps += 1
        for number, token in self.batch.step().items():
            if number in self._rows:
                self._advance(number, token)

    def give_up(self, running: Running) -> None:
        """Stop decoding a job's answers, those too that have not begun."""
        running.is_given_up = True
        for number in running.rows:
            self.batch.remove(number)
            self._rows.pop(number, None)
        running.rows.clear()
        if running in self._running:
            self._running.remove(running)

    def drop_the_lost(self) -> None:
        """Let go of jobs that nobody waits for, and of those whose time is over."""
        for running in list(self._running):
            if running.job.is_lost:
                self.give_up(running)
                self._outbox.fail(running.job, too_late())

    def fail_all(self, error: ApiError) -> None:
        """End everything."""
        for running in list(self._running):
            self.give_up(running)
            self._outbox.fail(running.job, error)

    def _advance(self, number: int, token: int | None) -> None:
        """One answer's next token, or None at its end."""
        row = self._rows[number]
        if token is None:
            self._end(number, "stop")
            return
        self._counters.generated_tokens += 1
        row.running.tokens += 1
        piece = row.stops.add(row.text.add(token))
        if piece:
            self._outbox.say(row.running.job, Piece(row.index, piece))
        if row.stops.is_hit:
            self._end(number, "stop")
        elif len(row.text.ids) >= row.limit:
            self._end(number, "length")

    def _end(self, number: int, reason: str) -> None:
        row = self._rows.pop(number)
        self.batch.remove(number)
        running, job = row.running, row.running.job
        rest = row.stops.add(row.text.end()) + row.stops.end()
        if rest:
            self._outbox.say(job, Piece(row.index, rest))
        reason = "stop" if row.stops.is_hit else reason
        self._outbox.say(job, Ended(row.index, reason, len(row.text.ids)))
        running.rows.discard(number)
        running.ended += 1
        if running.ended == len(job.order.answers):
            self._running.remove(running)
            self._outbox.say(job, Finished(running.timings()))

    def _decode(self, token_ids: list[int]) -> str:
        return self._chat.processor.tokenizer.decode(token_ids, skip_special_tokens=True)
