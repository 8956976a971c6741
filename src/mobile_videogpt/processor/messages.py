"""Conversations as people write them -> a plain list of messages.

Understood: a question; ``{"role", "content"}`` with a string or a list of
``{"type": "text" | "video" | "image"}`` items; LLaVA's ``{"from", "value"}`` with ``<video>`` tags.
Videos, then stills, always come first in their message, wherever they were written: the model was
trained that way.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "user": "user",
    "assistant": "assistant",
    "system": "system",
}
# A run of <image> tags is one video there: the released code repeats the tag once per frame.
_MEDIA_TAGS = re.compile(r"\s*(?:<video>|(?:<image>)+)\s*")


@dataclass(frozen=True)
class Message:
    """One turn.

    Attributes:
        role: system, user or assistant.
        text: what is said, without placeholders.
        videos: its videos in order; None for one that is handed over separately.
        stills: its single pictures, likewise.
    """

    role: str
    text: str
    videos: tuple[Any, ...] = ()
    stills: tuple[Any, ...] = ()


def read_messages(
    conversation: Any, video_token: str, system_prompt: str, still_token: str = "<|image_pad|>"
) -> list[Message]:
    """Read one conversation in any of the forms above; a system message is added if missing.

    Raises:
        ValueError: for an unknown form, role or content.
    """
    if isinstance(conversation, str):
        conversation = [{"role": "user", "content": conversation}]
    if not isinstance(conversation, Sequence) or not conversation:
        raise ValueError("a conversation is empty or no list: give messages with role and content.")
    messages = [_read(message, (video_token, still_token)) for message in conversation]
    if "from" in conversation[0] and messages[0].role == "assistant":
        messages = messages[1:]  # as released: a dialogue begins with the user
    if not messages or messages[0].role != "system":
        messages.insert(0, Message("system", system_prompt))
    return messages


def is_one_conversation(messages: Any) -> bool:
    """Whether ``messages`` is one conversation and not a batch of them."""
    return isinstance(messages, str) or (bool(messages) and isinstance(messages[0], Mapping))


def _read(message: Any, tokens: tuple[str, str]) -> Message:
    if isinstance(message, Message):
        return message
    if not isinstance(message, Mapping) or not ({"role", "from"} & message.keys()):
        raise ValueError(f"message {message!r} has no role: give role and content.")
    role = ROLES.get(str(message.get("role", message.get("from"))))
    if role is None:
        given = message.get("role", message.get("from"))
        raise ValueError(f"role {given!r} is unknown: use system, user or assistant.")
    if "from" in message:
        return _read_tagged(role, str(message.get("value") or ""))
    content = message.get("content") or ""
    if isinstance(content, str):
        return Message(role, *_split_tokens(content, tokens))
    return _read_items(role, content, tokens)


def _read_tagged(role: str, text: str) -> Message:
    tags = _MEDIA_TAGS.findall(text)
    return Message(role, _MEDIA_TAGS.sub("\n", text).strip() if tags else text, (None,) * len(tags))


def _split_tokens(
    text: str, tokens: tuple[str, str]
) -> tuple[str, tuple[None, ...], tuple[None, ...]]:
    """Text without its placeholders (each with the newline that follows), one None for each."""
    numbers = [text.count(token) for token in tokens]
    for token in tokens:
        text = text.replace(token + "\n", "").replace(token, "")
    return text, (None,) * numbers[0], (None,) * numbers[1]


def _read_items(role: str, items: Sequence[Any], tokens: tuple[str, str]) -> Message:
    texts: list[str] = []
    videos: list[Any] = []
    stills: list[Any] = []
    for item in items:
        kind = item.get("type") if isinstance(item, Mapping) else "text"
        if kind == "video":
            videos.append(_medium(item, "video"))
        elif kind == "image":
            stills.append(_medium(item, "image"))
        elif kind == "text":
            text, *written = _split_tokens(item if isinstance(item, str) else item["text"], tokens)
            texts.append(text)
            videos.extend(written[0])
            stills.extend(written[1])
        else:
            raise ValueError(
                f"content of type {kind!r} is not supported: use text, video and image."
            )
    return Message(role, "".join(texts), tuple(videos), tuple(stills))


def _medium(item: Mapping[str, Any], kind: str) -> Any:
    """What stands for a video or a picture; None if it is handed over separately."""
    return next((item[key] for key in (kind, "path", "url") if key in item), None)
