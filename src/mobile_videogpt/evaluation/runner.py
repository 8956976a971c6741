"""Asks a model the questions of a task: each video is encoded once, the next is read meanwhile.

What a question is answered with depends on nothing but the model, the question and its video: not
on what was asked before, nor on who asked it. So a run that was killed and resumed, and one that
several processes share, give the answers of one that ran through.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .asking import AnswerBy, ask_item, failed_item, open_blind
from .predictions import Prediction
from .task import Item, Task, VideoRef

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat

logger = logging.getLogger(__name__)

Shard = tuple[int, int]
"""(place, count), the place counted from 0."""


def answer_items(
    chat: VideoChat,
    task: Task,
    items: Iterable[Item],
    *,
    answer_by: AnswerBy | None = None,
    is_blind: bool = True,
) -> Iterator[Prediction]:
    """Put questions to the model, those about one video together.

    A video that cannot be read makes its questions wrong and does not stop the run; nor does a
    prompt that is too long for the model.

    Args:
        chat: the model.
        task: whose questions they are.
        items: the questions.
        answer_by: None: as the task is published.
        is_blind: ask each question without its video too.

    Yields:
        The predictions, video by video, in the order in which the videos first come.

    Raises:
        RuntimeError: the model itself failed, for instance for want of memory.
    """
    groups = by_video(items)
    by = answer_by or task.answer_by
    blind = _open_blind(chat, task, groups) if is_blind else None
    chat.forget()
    for group, (_, video) in zip(groups, chat.open_each(_parts(groups)), strict=True):
        if isinstance(video, RuntimeError):
            raise video  # the model broke, not the video: no question could be answered
        if isinstance(video, Exception):
            logger.warning("%s: %s", group[0].video.path, one_sentence(video))
            yield from (failed_item(task, item, one_sentence(video)) for item in group)
            continue
        opened_s: float | None = opening_seconds(video)
        for item in group:
            unseen = blind if task.wants_blind(item) else None
            try:
                yield ask_item(
                    chat, task, item, video, answer_by=by, blind=unseen, opened_s=opened_s
                )
            except ValueError as error:
                logger.warning("question %s: %s", item.id, one_sentence(error))
                yield failed_item(task, item, one_sentence(error))
            opened_s = None
        # A frame that two videos share would be kept for the second one, whose new frames then make
        # a smaller batch: the last bits of a number differ, and once in a while an answer.
        chat.forget()


def by_video(items: Iterable[Item]) -> list[list[Item]]:
    """Questions about the same part of the same video together, in the order they come."""
    groups: dict[VideoRef, list[Item]] = {}
    for item in items:
        groups.setdefault(item.video, []).append(item)
    return list(groups.values())


def take_shard(items: Sequence[Item], shard: Shard) -> list[Item]:
    """The questions that one of several processes asks; a video belongs to one of them."""
    place, count = shard
    return [item for group in by_video(items)[place::count] for item in group]


def opening_seconds(video: EncodedVideo) -> float:
    """What opening the video took, reading it beside other work included."""
    return sum(seconds for part, seconds in video.timings.items() if part != "total")


def one_sentence(error: Exception) -> str:
    """What went wrong, for a line of the predictions."""
    message = " ".join(str(error).split())
    if message and isinstance(error, (ValueError, OSError)):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _open_blind(
    chat: VideoChat, task: Task, groups: Sequence[Sequence[Item]]
) -> EncodedVideo | None:
    is_wanted = any(task.wants_blind(item) for group in groups for item in group)
    return open_blind(chat) if is_wanted else None


def _parts(groups: Iterable[Sequence[Item]]) -> Iterator[object]:
    from mobile_videogpt.chat import VideoPart

    for group in groups:
        video = group[0].video
        yield VideoPart(video.source, video.start, video.end, video.fps)
