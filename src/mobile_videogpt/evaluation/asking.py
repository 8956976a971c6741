"""One question put to the model: written freely, or as the likeliest of the options.

By generation the model writes, greedily, and the task reads a letter out of what it wrote. By
likelihood nothing is written: every option continues the same prompt, all of them as one batch on
the video's prefix, and the likeliest is the answer. Where the prompt asks for a letter, letters are
compared; where a task says so (MovingShapes), the options' own words.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .predictions import Blind, Prediction
from .task import Item, Parsed, Task

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat

AnswerBy = Literal["generation", "likelihood"]
ANSWER_BY: tuple[AnswerBy, ...] = ("generation", "likelihood")

# The blind clip: as many frames as MovingShapes' own have; every size looks the same when black.
_BLACK = np.zeros((32, 128, 128, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Reply:
    """What the model gave back for one prompt."""

    output: str
    tokens: int
    ttft_s: float
    decode_s: float
    log_likelihoods: tuple[float, ...] = ()


def open_blind(chat: VideoChat) -> EncodedVideo:
    """A clip that shows nothing: with it, the question is all that the model has."""
    return chat.open(_BLACK)


def how_to_answer(task: Task, item: Item, answer_by: AnswerBy) -> AnswerBy:
    """`answer_by`, as far as the question has options to compare."""
    return answer_by if item.options else "generation"


def ask_item(
    chat: VideoChat,
    task: Task,
    item: Item,
    video: EncodedVideo,
    *,
    answer_by: AnswerBy = "generation",
    blind: EncodedVideo | None = None,
    opened_s: float | None = None,
) -> Prediction:
    """Put one question to the model and read its answer.

    Args:
        chat: the model.
        task: whose question it is.
        item: the question.
        video: its video, opened.
        answer_by: by generation or likelihood; open questions are always generated.
        blind: what `open_blind` returned, to ask the same without the video too.
        opened_s: seconds that opening the video took, if it was opened for this question.

    Raises:
        ValueError: the prompt does not fit into the model.
    """
    by = how_to_answer(task, item, answer_by)
    start = time.perf_counter()
    reply = _ask(chat, task, item, video, by)
    seconds = time.perf_counter() - start + (opened_s or 0.0)
    unseen = None if blind is None else _ask(chat, task, item, blind, by)
    parsed, score = _mark(task, item, reply, by)
    return Prediction(
        **_identity(task, item),
        output=reply.output,
        prediction=parsed.value,
        score=score,
        kept_frames=tuple(video.kept_frames),
        kept_times=tuple(round(video.frame_times[place], 3) for place in video.kept_frames),
        seconds=round(seconds, 6),
        tokens=reply.tokens,
        ttft_s=round(reply.ttft_s + (opened_s or 0.0), 6),
        decode_s=round(reply.decode_s, 6),
        is_first=opened_s is not None,
        answer_by=by,
        log_likelihoods=reply.log_likelihoods,
        random=parsed.is_random,
        blind=None if unseen is None else _blind(task, item, unseen, by),
    )


def failed_item(task: Task, item: Item, error: str) -> Prediction:
    """A question whose video cannot be read: wrong, and the reason kept."""
    return Prediction(
        **_identity(task, item),
        output="",
        prediction=None,
        score=None if item.answer is None else 0.0,
        error=error,
    )


def _identity(task: Task, item: Item) -> dict[str, Any]:
    video = item.video
    return {
        "task": task.name,
        "id": item.id,
        "sub_task": item.sub_task,
        "group": item.group,
        "prompt": task.prompt(item.row),
        "answer": item.answer,
        "options": item.options,
        "video": str(video.path),
        "start": video.start,
        "end": video.end,
        "fps": video.fps,
    }


def _ask(chat: VideoChat, task: Task, item: Item, video: EncodedVideo, by: AnswerBy) -> Reply:
    if by == "likelihood":
        return _compare(chat, task, item, video)
    return _write(chat, task, item, video)


def _write(chat: VideoChat, task: Task, item: Item, video: EncodedVideo) -> Reply:
    """Greedy decoding, up to the task's stop strings."""
    prompt, history = task.prompt(item.row), task.history(item.row)
    stream = chat.stream(video, prompt, history=history, max_new_tokens=task.max_new_tokens)
    written = ""
    for piece in stream:
        written += piece
        if any(stop in written for stop in task.stop):
            stream.close()
            break
    answer = stream.finish()
    text = answer.text
    for stop in task.stop:
        text = text.split(stop, 1)[0]
    timings = answer.timings
    decode_s = timings["decode_tokens"]
    return Reply(text.strip(), int(answer.tokens["generated"]), timings["prefill"], decode_s)


def _compare(chat: VideoChat, task: Task, item: Item, video: EncodedVideo) -> Reply:
    """The letter of the likeliest option; of equals the first."""
    letters = ascii_uppercase[: len(item.options)]
    texts = item.options if task.compares == "options" else tuple(letters)
    prompt, history = task.prompt(item.row), task.history(item.row)
    scores = chat.score(video, prompt, texts, history=history)
    sums = [score.sum for score in scores]
    best = letters[sums.index(max(sums))]
    return Reply(best, 0, scores.timings["prefill"], 0.0, tuple(round(x, 6) for x in sums))


def _mark(task: Task, item: Item, reply: Reply, by: AnswerBy) -> tuple[Parsed, float | None]:
    """What was read out of the reply, and its score."""
    parsed = task.read(item.row, reply.output)
    if by == "likelihood" and item.answer is not None:
        # The letter is known: a harness that reads only A to D must not lose an E.
        return parsed, float(reply.output == item.answer)
    return parsed, task.score(item.row, parsed.value)


def _blind(task: Task, item: Item, reply: Reply, by: AnswerBy) -> Blind:
    parsed, score = _mark(task, item, reply, by)
    return Blind(reply.output, parsed.value, score, parsed.is_random)
