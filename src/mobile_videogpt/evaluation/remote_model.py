"""Another model, behind an OpenAI-compatible address, answers the questions of a task.

It is shown what ours sees: sixteen frames of the video as pictures, or the whole video as a file,
then the task's prompt and, for models that need to be told, one line of instruction. Its answers
become the same predictions as ours, so that reports and comparisons take both.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from PIL import Image

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.source import read_video

from .asking import failed_item
from .endpoint import Body, Endpoint, EndpointError
from .predictions import Blind, Prediction
from .task import Item, Parsed, Task, VideoRef
from .tasks.moving_shapes import ClipRef, clip_file

logger = logging.getLogger(__name__)

Media = Literal["frames", "video"]
MEDIA: tuple[Media, ...] = ("frames", "video")
INSTRUCTION = "Answer with the letter of the right option only."


@dataclass(frozen=True)
class RemoteModel:
    """How a model behind an address is asked.

    Args:
        endpoint: where it is.
        media: "frames": pictures (PNG) as a list of `image_url`; "video": one `video_url` that
            holds the file.
        num_frames: how many pictures, evenly over the video.
        instruction: a line after the prompt of a question with options; "" for none.
        max_tokens: longest answer.
        body: more fields for every request; None removes one, such as {"temperature": None}.

    Raises:
        ValueError: an argument has a value that it cannot have.
    """

    endpoint: Endpoint
    media: Media = "frames"
    num_frames: int = 16
    instruction: str = INSTRUCTION
    max_tokens: int = 64
    body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.media not in MEDIA:
            raise ValueError(f"media is {self.media!r}; it must be one of {', '.join(MEDIA)}")
        if self.num_frames < 1 or self.max_tokens < 1:
            raise ValueError("a model needs at least 1 frame, and room for at least 1 token")

    @property
    def name(self) -> str:
        """What the address calls it, and the address."""
        return f"{self.endpoint.model} at {self.endpoint.url}"

    @property
    def settings(self) -> dict[str, Any]:
        """What a score depends on besides the model, for the record of a run."""
        frames = {"frames": self.num_frames} if self.media == "frames" else {}
        return {
            "media": self.media,
            **frames,
            "instruction": self.instruction,
            "max_tokens": self.max_tokens,
            **({"body": self.body} if self.body else {}),
        }

    def request(self, prompt: str, video: list[Body]) -> Body:
        """The body of one request; `video` are the content parts that show it."""
        content = [*video, {"type": "text", "text": prompt}]
        plain = {
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        return {k: v for k, v in {**plain, **self.body}.items() if v is not None}

    def prompt(self, task: Task, item: Item) -> str:
        """What is asked about the video."""
        turns = [text for turn in task.history(item.row) for text in turn]
        last = task.prompt(item.row)
        lines = [last, self.instruction] if item.options and self.instruction else [last]
        return "\n".join([*turns, *lines])

    def show(self, video: VideoRef) -> list[Body]:
        """The content parts that show a video.

        Raises:
            VideoError: it cannot be read, or only a part of it is to be sent as a file.
        """
        if self.media == "video":
            url = _data_url("video/mp4", file_of(video))
            return [{"type": "video_url", "video_url": {"url": url}}]
        clip = read_video(
            video.source, start=video.start, end=video.end, fps=video.fps, count=self.num_frames
        )
        urls = [_data_url("image/png", png(frame)) for frame in clip.frames]
        return [{"type": "image_url", "image_url": {"url": url}} for url in urls]


def answer_items_remotely(
    model: RemoteModel, task: Task, items: Iterable[Item], *, is_blind: bool = False
) -> Iterator[Prediction]:
    """Put questions to the model, as many at a time as its endpoint allows.

    A question whose video cannot be read, or that the server gives up on, counts as wrong and does
    not stop the run.

    Args:
        model: who is asked.
        task: whose questions they are.
        items: the questions; those about one video best stand together.
        is_blind: ask each question without its video too.

    Yields:
        The predictions as they come, in no order.
    """
    asked = _Asked(model, task, is_blind)
    for place, reply in model.endpoint.complete_each(asked.bodies(items)):
        yield from asked.unreadable()
        if (prediction := asked.receive(place, reply)) is not None:
            yield prediction
    yield from asked.unreadable()


class _Asked:
    """The questions under way, and replies that wait for their blind half."""

    def __init__(self, model: RemoteModel, task: Task, is_blind: bool) -> None:
        self.model, self.task, self.is_blind = model, task, is_blind
        self._sent: list[tuple[Item, bool]] = []
        self._halves: dict[str, dict[bool, str | EndpointError]] = {}
        self._failed: list[Prediction] = []

    def bodies(self, items: Iterable[Item]) -> Iterator[Body]:
        """A request a question, and its blind one; a video is read once for all about it."""
        shown: tuple[VideoRef, list[Body]] | None = None
        for item in items:
            try:
                if shown is None or shown[0] != item.video:
                    shown = (item.video, self.model.show(item.video))
            except VideoError as error:
                self._failed.append(failed_item(self.task, item, str(error)))
                continue
            prompt = self.model.prompt(self.task, item)
            for video in (shown[1], []) if self._wants_blind(item) else (shown[1],):
                self._sent.append((item, not video))
                yield self.model.request(prompt, video)

    def unreadable(self) -> Iterator[Prediction]:
        """Questions whose videos turned out to be unreadable since the last call."""
        while self._failed:
            yield self._failed.pop(0)

    def receive(self, place: int, reply: str | EndpointError) -> Prediction | None:
        """The prediction that a reply completes, if it does."""
        item, is_blind = self._sent[place]
        halves = self._halves.setdefault(item.id, {})
        halves[is_blind] = reply
        if len(halves) <= self._wants_blind(item):
            return None
        del self._halves[item.id]
        return self._predict(item, halves[False], halves.get(True))

    def _wants_blind(self, item: Item) -> bool:
        return self.is_blind and self.task.wants_blind(item)

    def _predict(
        self, item: Item, reply: str | EndpointError, unseen: str | EndpointError | None
    ) -> Prediction:
        asked = failed_item(self.task, item, str(reply))
        asked = replace(asked, prompt=self.model.prompt(self.task, item))
        if isinstance(reply, EndpointError):
            return asked
        parsed, score = self._mark(item, reply)
        blind = None
        if isinstance(unseen, str):
            guessed, chance = self._mark(item, unseen)
            blind = Blind(unseen, guessed.value, chance, guessed.is_random)
        return replace(
            asked,
            error=None,
            output=reply,
            prediction=parsed.value,
            score=score,
            random=parsed.is_random,
            blind=blind,
        )

    def _mark(self, item: Item, reply: str) -> tuple[Parsed, float | None]:
        parsed = self.task.read(item.row, reply)
        return parsed, self.task.score(item.row, parsed.value)


def png(frame: np.ndarray) -> bytes:
    """A frame, uint8 (H, W, 3), without loss."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()


def file_of(video: VideoRef) -> bytes:
    """The bytes of a video's file; of a MovingShapes clip, one that every player reads.

    Raises:
        VideoError: there is no such file, or only a stretch of it is meant.
    """
    if isinstance(video, ClipRef):
        return clip_file(video.number)
    if video.start is not None or video.end is not None or not video.path.is_file():
        raise VideoError(
            f"{video.path} cannot be sent as a file, because it is none or only a part of it is "
            "meant: send frames"
        )
    return video.path.read_bytes()


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
