"""The loop of watching: wait for frames, decide whether to ask, ask, say what was found.

Only this loop uses the model. While it is busy the reader goes on dropping what is too old, so an
answer is always about the newest frames there were when it was begun: too slow a model makes the
answers fewer, never late. What it holds is bounded, however long it runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from mobile_videogpt.chat.live_window import clip_of
from mobile_videogpt.serving.live.actions import Action
from mobile_videogpt.serving.live.changes import ChangeDetector
from mobile_videogpt.serving.live.conditions import Condition, Debounce
from mobile_videogpt.serving.live.settings import WatchSettings
from mobile_videogpt.video.live.reader import LiveFrame, LiveReader

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat
    from mobile_videogpt.video.source import VideoClip

_LOG = logging.getLogger(__name__)
_WAIT_S = 0.5
# A window is full if its frames span this share of it: a source may lose some.
_FULL = 0.8
_LAST_WORDS_S = 5.0

Event = dict[str, Any]


class Watch:
    """A source under watch; `events` does the work.

    Args:
        chat: the model.
        reader: of the source, not started yet, with a rate of `frame_rate`.
        settings: what is asked, and when.

    Raises:
        ValueError: a condition's command cannot be run.
    """

    def __init__(self, chat: VideoChat, reader: LiveReader, settings: WatchSettings) -> None:
        self._chat = chat
        self._reader = reader
        self._settings = settings
        self._rules = [_Rule(condition) for condition in settings.conditions]
        self._changes = ChangeDetector()
        self._newest = 0  # number of the newest frame there is
        self._seen = 0  # of the last frame that was asked about
        self._looked_at = 0  # of the last frame that was looked at for changes
        self._dropped = 0
        self._encoded = 0  # frames of all time when the last window was asked about
        self._encoded_before = 0  # and when watching began
        self._due: float | None = None
        self._busy_since = 0.0  # when the last answer was complete, or its window was full
        self._change_due: float | None = None
        self._wall = datetime.now().astimezone()
        self.windows = 0
        """How many windows were asked about."""
        self.longest_lag_s = 0.0

    def events(self) -> Iterator[Event]:
        """What happens, as JSON documents, until the source ends or the time is over.

        Raises:
            VideoError: the source cannot be read, or is lost for good.
        """
        reader = self._reader
        self._warm_up()
        self._wall = datetime.now().astimezone()
        reader.start()
        try:
            while True:
                reader.wait(self._newest, _WAIT_S)
                is_over = reader.is_over  # before looking: nothing may come in between
                yield from self._notices()
                frames = reader.latest(self._settings.window_s)
                self._newest = frames[-1].number if frames else 0
                trigger = self._trigger(frames, is_over)
                if trigger is not None:
                    yield from self._ask(frames, trigger)
                if is_over or self._is_time_up():
                    break
            if reader.failure is not None:
                raise reader.failure
            yield self._end()
        finally:
            reader.close()
            for rule in self._rules:
                rule.wait(_LAST_WORDS_S)

    def _warm_up(self) -> None:
        """Ask about nothing: the first answer takes seconds longer, and no source waits yet."""
        nothing = [np.zeros((64, 64, 3), np.uint8)] * self._chat.config.num_frames
        self._chat.ask(nothing, "What happens?", max_new_tokens=2)
        self._chat.forget()
        self._encoded = self._encoded_before = self._chat.frames_encoded

    def _is_time_up(self) -> bool:
        limit = self._settings.stop_after_s
        return limit is not None and self._reader.now >= limit

    def _notices(self) -> Iterator[Event]:
        while self._reader.notices:
            notice = self._reader.notices.popleft()
            event = {"event": notice.kind, **self._at(notice.time)}
            if notice.kind == "lost":
                event |= {"reason": notice.reason, "retry_s": notice.retry_s}
            yield event

    def _trigger(self, frames: list[LiveFrame], is_over: bool) -> str | None:
        """Why a question is due now; None if none is."""
        if not frames or frames[-1].number == self._seen:
            return None
        settings, newest = self._settings, frames[-1].time
        if settings.on_change:
            self._look_for_change(frames)
        if is_over:
            return "end"
        step = 1 / self._reader.rate
        if self._due is None:  # the first window ends when it is full
            self._due = frames[0].time + settings.window_s - step
        if newest - frames[0].time < _FULL * settings.window_s - step:
            return None  # begun anew after a gap
        if self._change_due is not None and newest >= self._change_due:
            return "change"
        # A frame that comes a little early is the one that is meant.
        return "interval" if newest >= self._due - step / 2 else None

    def _look_for_change(self, frames: list[LiveFrame]) -> None:
        new = [frame for frame in frames if frame.number > self._looked_at]
        if not new:
            return
        features = self._chat.look_at_frames(self._clip(new, len(new)))
        self._looked_at = new[-1].number
        for frame, row in zip(new, features, strict=True):
            if self._changes.add(row) is not None and self._change_due is None:
                self._change_due = frame.time + self._settings.wait_after_change_s

    def _ask(self, frames: list[LiveFrame], trigger: str) -> Iterator[Event]:
        """Ask everything about a window."""
        self._busy_since = self._reader.now
        video = self._chat.open(self._clip(frames, self._chat.config.num_frames))
        newest = frames[-1]
        self._dropped += max(0, frames[0].number - self._seen - 1)
        self._plan_next(newest.time)
        facts = {
            **self._at(newest.time),
            "trigger": trigger,
            "start_s": round(frames[0].time, 3),
            "end_s": round(newest.time, 3),
        }
        counts = {
            "window": len(frames),
            "encoded": self._chat.frames_encoded - self._encoded,
            "dropped": self._dropped,
            "skipped": self._reader.effort.skipped,
        }
        self._seen, self._encoded = newest.number, self._chat.frames_encoded
        self.windows += 1
        for question in self._settings.questions:
            answer = self._chat.ask(video, question, **self._settings.generation)
            yield self._answered(facts, counts, newest, question=question, answer=answer.text)
        for rule in self._rules:
            yield from self._check(rule, video, facts, counts, newest)

    def _check(
        self,
        rule: _Rule,
        video: EncodedVideo,
        facts: Event,
        counts: dict[str, int],
        newest: LiveFrame,
    ) -> Iterator[Event]:
        """Whether a condition is met, and what follows."""
        condition = rule.condition
        scores = self._chat.choose(video, condition.question, condition.options)
        place = condition.options.index(condition.answer)
        probability = scores.probabilities[place]
        is_met = probability >= condition.least_probability
        is_due = rule.debounce.add(is_met, newest.time)
        found = {
            "question": condition.question,
            "answer": scores.best.option,
            "is": condition.answer,
            "probability": round(probability, 4),
            "is_true": rule.debounce.is_true,
        }
        yield self._answered(facts, counts, newest, **found) | {"event": "condition"}
        if is_due:
            known = {**facts, **found, "source": self._reader.source.name}
            yield {"event": "met", **known, "command": condition.command} | {
                "started": rule.act(known)
            }

    def _answered(
        self, facts: Event, counts: dict[str, int], newest: LiveFrame, **found: Any
    ) -> Event:
        now = self._reader.now
        lag, took = now - newest.time, now - self._busy_since
        self._busy_since = now
        self.longest_lag_s = max(self.longest_lag_s, lag)
        return {
            "event": "answer",
            **facts,
            **found,
            "lag_s": round(lag, 3),
            "took_s": round(took, 3),
            "frames": counts,
        }

    def _plan_next(self, newest: float) -> None:
        every = self._settings.every_s
        # A slow model asks again at once, about what is newest then; it does not catch up.
        self._due = inf if every is None else max((self._due or newest) + every, newest)
        self._change_due = None

    def _clip(self, frames: list[LiveFrame], size: int) -> VideoClip:
        rows = [(frame.number, frame.time, frame.pixels) for frame in frames[-size:]]
        return clip_of(rows, size, self._reader.source.name)

    def _at(self, seconds: float) -> Event:
        """A moment: by the clock on the wall, and in seconds since watching began."""
        wall = self._wall + timedelta(seconds=seconds)
        return {"time": wall.isoformat(timespec="milliseconds"), "seconds": round(seconds, 3)}

    def _end(self) -> Event:
        reader = self._reader
        return {
            "event": "end",
            **self._at(reader.now),
            "windows": self.windows,
            "frames": {
                "decoded": reader.frames_decoded,
                "encoded": self._chat.frames_encoded - self._encoded_before,
                "dropped": self._dropped,
                "skipped": reader.effort.skipped,
            },
            "longest_lag_s": round(self.longest_lag_s, 3),
        }


class _Rule:
    """A condition with its state and its command."""

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.debounce = Debounce(condition.windows, condition.again_after_s)
        self._action = None if condition.command is None else Action(condition.command)

    def act(self, facts: Event) -> bool:
        """Run the command, if there is one; whether it was started."""
        return self._action is not None and self._action.start(facts)

    def wait(self, timeout_s: float) -> None:
        """Let the command finish."""
        if self._action is not None:
            self._action.wait(timeout_s)


def frame_rate(chat: VideoChat, window_s: float) -> float:
    """Frames per second that fill a window of so many seconds with what the model looks at."""
    return chat.config.num_frames / window_s
