"""What lmms-eval asks, in this package's words: its request tuples become `Request`s.

A request carries functions instead of data: the row of the benchmark is looked up in the model's
`task_dict`, and the functions make the prompt and the video of it. Three shapes occur:

    simple      (context, generation settings, doc_to_visual, doc_id, task, split)
    chat        (context, doc_to_messages, generation settings, doc_id, task, split)
    likelihood  (context, continuation, doc_to_visual, doc_id, task, split)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tiff", ".webp"}
Find = Callable[[str, str, Any], Mapping[str, Any]]
"""Task, split and number of a row -> the row."""


@dataclass(frozen=True)
class Clip:
    """The video of a request: what `VideoChat.open` takes. Equal clips are encoded once."""

    source: Any = field(compare=False)
    start: float | None = None
    end: float | None = None
    key: Any = None
    """Tells videos apart: the path of a file, the place of a row otherwise."""


@dataclass(frozen=True)
class Request:
    """One question about one video."""

    clip: Clip
    question: str
    history: tuple[tuple[str, str], ...] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)
    """The task's settings, as the harness hands them over."""
    continuation: str = ""
    """The answer whose likelihood is asked for."""


def read_simple(arguments: Sequence[Any], find: Find) -> Request:
    """A request of the kind `simple`.

    Raises:
        ValueError: it is not about one video; the message names the task.
    """
    context, generation, doc_to_visual, doc_id, task, split = arguments
    visuals = doc_to_visual(find(task, split, doc_id))
    return Request(_one_clip(visuals, (task, split, doc_id)), context, (), generation or {})


def read_likelihood(arguments: Sequence[Any], find: Find) -> Request:
    """A request for the likelihood of one answer; raises as `read_simple` does."""
    if len(arguments) != 6:
        # What `acc_mutual_info` adds: the answer without the question.
        raise ValueError(
            f"a likelihood without a video is asked for ({arguments!r}), which this model does not "
            "have; leave acc_mutual_info out of the task's metrics"
        )
    context, continuation, doc_to_visual, doc_id, task, split = arguments
    row = find(task, split, doc_id)
    if callable(continuation):
        continuation = continuation(row)
    clip = _one_clip(doc_to_visual(row), (task, split, doc_id))
    # The harness puts a space before the answer; here an answer begins its turn.
    return Request(clip, context, continuation=str(continuation).strip())


def read_chat(arguments: Sequence[Any], find: Find) -> Request:
    """A request of the kind `chat`: earlier turns become history, a system text goes in front.

    Raises:
        ValueError: it is not about one video, or does not end with a question.
    """
    _context, doc_to_messages, generation, doc_id, task, split = arguments
    place = (task, split, doc_id)
    visuals: list[Any] = []
    turns: list[tuple[str, str]] = []
    for message in doc_to_messages(find(*place)):
        text, media = _read_content(message["content"])
        visuals += media
        turns.append((message["role"], text))
    question, history = _read_turns(turns, place)
    return Request(_one_clip(visuals, place), question, history, generation or {})


def _read_content(content: Any) -> tuple[str, list[Any]]:
    """The text of a message, and its visuals in the form in which `doc_to_visual` gives them."""
    if isinstance(content, str):
        return content, []
    texts, media = [], []
    for part in content:
        if part["type"] == "text":
            texts.append(part["text"])
            continue
        url = part["url"]
        times = {"video_start": part.get("start_time"), "video_end": part.get("end_time")}
        times = {name: value for name, value in times.items() if value is not None}
        inner = url if isinstance(url, Mapping) else {"url": url}
        media.append({"type": part["type"], **times, **inner})
    # As the model's own template joins them: without anything in between.
    return "".join(texts), media


def _read_turns(
    turns: Sequence[tuple[str, str]], place: tuple[Any, ...]
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The last question and the (question, answer) pairs before it."""
    instructions = [text for role, text in turns if role == "system"]
    spoken = [(role, text) for role, text in turns if role != "system"]
    roles = [role for role, _ in spoken]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        raise ValueError(
            f"{_where(place)} has turns of {', '.join(roles) or 'nobody'}; this model takes user "
            "and assistant in turn, the user last"
        )
    texts = [text for _, text in spoken]
    pairs = tuple(zip(texts[0:-1:2], texts[1::2], strict=True))
    question = "\n".join([*instructions, texts[-1]])
    return question, pairs


def _one_clip(visuals: Any, place: tuple[Any, ...]) -> Clip:
    """The one video of a request; several pictures are its frames."""
    media = [_read_medium(visual, place) for visual in _flatten(visuals)]
    clips = [medium for medium in media if isinstance(medium, Clip)]
    pictures = [medium for medium in media if not isinstance(medium, Clip)]
    if len(clips) == 1 and not pictures:
        return clips[0]
    if pictures and not clips:
        return Clip(pictures, key=place)
    found = f"{len(clips)} videos and {len(pictures)} pictures" if media else "no video"
    raise ValueError(
        f"{_where(place)} has {found}; this model answers about one video, or pictures as its "
        "frames"
    )


def _read_medium(visual: Any, place: tuple[Any, ...]) -> Any:
    """A `Clip`, or a picture."""
    if isinstance(visual, Mapping):
        return _read_described(visual, place)
    if isinstance(visual, str | Path):
        is_picture = Path(visual).suffix.lower() in PICTURES - {".gif"}
        return visual if is_picture else Clip(visual, key=str(visual))
    if isinstance(visual, Image.Image):
        return visual
    if isinstance(visual, np.ndarray):
        return visual if visual.ndim < 4 else Clip(visual, key=place)
    raise ValueError(
        f"{_where(place)} has a {type(visual).__name__}; this model takes a path, a picture or an "
        "array of frames"
    )


def _read_described(visual: Mapping[str, Any], place: tuple[Any, ...]) -> Any:
    """A medium with its kind beside it, and for a video maybe the stretch to look at."""
    if visual.get("type", "video") not in ("video", "image"):
        raise ValueError(
            f"{_where(place)} has a medium of type {visual['type']!r}; this model sees videos and "
            "pictures only"
        )
    source = next((visual[k] for k in ("url", "path", "video", "image") if k in visual), None)
    if visual.get("type") == "image":
        return source
    start, end = visual.get("video_start"), visual.get("video_end")
    key = str(source) if isinstance(source, str | Path) else place
    return Clip(source, start, end, key)


def _flatten(visuals: Any) -> Iterable[Any]:
    if isinstance(visuals, list | tuple):
        for visual in visuals:
            yield from _flatten(visual)
    elif visuals is not None:
        yield visuals


def _where(place: tuple[Any, ...]) -> str:
    task, split, doc_id = place
    return f"row {doc_id} of {task} ({split})"
