"""Taking a completion in: its videos encoded, its prompt read; forms are filled in right away."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mobile_videogpt.serving.dialogue import Prompt, PromptBuilder
from mobile_videogpt.serving.jobs import Ended, Finished, HeldVideo, Piece, Started
from mobile_videogpt.serving.scheduling.answers import Answers, Counters, Running
from mobile_videogpt.serving.scheduling.outbox import Outbox

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat


class Intake:
    """Begins with jobs; used by the model's thread.

    Args:
        chat: the model.
        answers: decodes what is begun.
        outbox: takes what is said.
        counters: kept up to date.
    """

    def __init__(
        self, chat: VideoChat, answers: Answers, outbox: Outbox, counters: Counters
    ) -> None:
        # Encoded videos are kept by the server, with small frames: one at a time is enough here.
        chat.max_open_videos = 1
        self._chat = chat
        self._answers = answers
        self._outbox = outbox
        self._counters = counters
        self._prompts = PromptBuilder(chat)

    def begin(self, running: Running) -> None:
        """Read the prompt of a job, and begin with its answers.

        Raises:
            ApiError: the prompt cannot be read.
        """
        job = running.job
        seen = [self._encode(held) for held in job.videos]
        self._outbox.say(job, job.on_prepared)
        videos = [encoded for encoded, _ in seen]
        prompt = self._prompts.build(job.order.messages, videos)
        self._counters.prompt_tokens += prompt.num_tokens
        self._counters.cached_tokens += prompt.cached_tokens
        shown = tuple(_shown(encoded, reused) for encoded, reused in seen)
        frames = tuple(encoded.frames for encoded in videos)
        self._outbox.say(job, Started(prompt.num_tokens, prompt.cached_tokens, shown, frames))
        if job.order.form is not None:
            self._fill_in_form(running, videos)
        else:
            self._answers.begin(running, prompt)

    def _encode(self, held: HeldVideo) -> tuple[EncodedVideo, bool]:
        """A video of a job, and whether it was encoded before."""
        if held.encoded is not None:
            return held.encoded, True
        assert held.clip is not None
        encoded = self._chat.open(held.clip)
        self._counters.encoded_videos += 1
        # Of its frames the small ones stay.
        held.encoded = replace(encoded, frames=held.small_frames)
        held.clip = None
        return held.encoded, False

    def _fill_in_form(self, running: Running, videos: Sequence[EncodedVideo]) -> None:
        """Answer by comparing options."""
        job = running.job
        *before, last = job.order.messages
        form = job.order.form
        assert form is not None

        def score(question: str, options: Sequence[str]) -> int:
            if self._chat.engine.pause is not None:
                self._chat.engine.pause()  # between two fields
            prompt = self._prompts.build([*before, replace(last, text=question)], videos)
            return self._likeliest(prompt, options)

        text = form.fill_in(last.text, score)
        running.first_token = time.monotonic()
        tokens = len(self._ids(text))
        for index in range(len(job.order.answers)):
            self._outbox.say(job, Piece(index, text))
            self._outbox.say(job, Ended(index, "stop", tokens))
            running.tokens += tokens
        self._counters.generated_tokens += running.tokens
        self._outbox.say(job, Finished(running.timings()))

    def _likeliest(self, prompt: Prompt, options: Sequence[str]) -> int:
        end = self._chat.end_token_ids[0]
        answers = [[*self._ids(option), end] for option in options]
        logs = self._chat.engine.score(prompt.prefix, prompt.question_ids, answers)
        sums = [math.fsum(row) for row in logs]
        return sums.index(max(sums))

    def _ids(self, text: str) -> list[int]:
        return self._chat.processor.tokenizer(text, add_special_tokens=False)["input_ids"]


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
