"""One entry of an annotation file -> one record, for each layout."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .media_tags import place_media
from .records import ROLES, EntryError, Media, MediaKind, Record, Role, Turn

_OWN_FIELDS = frozenset(
    "id video videos image images start end conversations messages QA question answer"
    " system".split()
)


@dataclass(frozen=True)
class Entry:
    """One entry, where its relative paths start, and the readers of its fields."""

    origin: str
    fields: dict[str, Any]
    root: Path
    strict: bool

    def error(self, message: str, problem: str = "fields") -> EntryError:
        return EntryError(self.origin, message, problem)

    def text(self, value: Any, name: str) -> str:
        """A string; a number or None becomes one, a list or an object is an error."""
        if value is None or isinstance(value, str | int | float):
            return "" if value is None else str(value)
        raise self.error(f"{name} must be text, not {type(value).__name__}.")

    def seconds(self, name: str, fields: dict[str, Any] | None = None) -> float | None:
        value = (self.fields if fields is None else fields).get(name)
        if value is None or value == "":
            return None
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds >= 0):
            raise self.error(f"{name} is {value!r}: give seconds, 0 or more.")
        return seconds

    def file(self, kind: MediaKind, name: Any, fields: dict[str, Any] | None = None) -> Media:
        """A file named relative to the root; `fields` hold its start and end."""
        if not isinstance(name, str) or not name.strip():
            raise self.error(f"{kind} is {name!r}: give the name of a file.")
        name = name.strip()
        if name.startswith("file://"):
            name = unquote(urlsplit(name).path)
        elif "://" in name or name.startswith("data:"):
            raise self.error(f"{name[:60]!r} is not a file on this machine: download it first.")
        if "\0" in name:
            raise self.error(f"the name of the {kind} holds a null character.")
        start, end = self.seconds("start", fields), self.seconds("end", fields)
        if start is not None and end is not None and start >= end:
            raise self.error(f"start {start:g} is not before end {end:g}.")
        return Media(kind, self.root / name, start, end)

    def files(self) -> list[Media]:
        """The files that the entry's own fields name: images first, then videos."""
        found = []
        for kind in ("image", "video"):
            for name in (kind, f"{kind}s"):
                value = self.fields.get(name)
                if value is None or value == "":
                    continue
                for item in value if isinstance(value, list) else [value]:
                    found.append(self.file(kind, item))  # type: ignore[arg-type]
        return found

    def record(self, turns: tuple[Turn, ...]) -> Record:
        """The record of these turns; a dialogue begins with the user, as released."""
        has_system = bool(turns) and turns[0].role == "system"
        system, rest = turns[:has_system], list(turns[has_system:])
        while rest and rest[0].role == "assistant":
            rest.pop(0)
        if not any(turn.role == "assistant" for turn in rest):
            raise self.error("no question with an answer: nothing could be learned from it.")
        identifier = self.fields.get("id")
        name = self.origin.rpartition("/")[2] if identifier in (None, "") else str(identifier)
        details = {key: value for key, value in self.fields.items() if key not in _OWN_FIELDS}
        return Record(name, (*system, *rest), self.origin, details)


def layout_of(origin: str, fields: dict[str, Any]) -> str:
    """The layout of an entry by its fields; raises `EntryError` for one of none."""
    if "conversations" in fields:
        return "llava"
    if "messages" in fields:
        return "messages"
    if "QA" in fields:
        return "videochat2"
    if "answer" in fields and "question" in fields:
        return "csv"
    known = ", ".join(sorted(map(str, fields))[:8]) or "none"
    raise EntryError(
        origin,
        "neither conversations nor messages nor question and answer among its fields "
        f"({known}): see docs/datasets.md for the layouts.",
    )


def _role(entry: Entry, name: Any) -> Role:
    role = ROLES.get(str(name))
    if role is None:
        raise entry.error(f"role {name!r} is unknown: use system, user (human) or assistant (gpt).")
    return role


def _list_of_objects(entry: Entry, name: str) -> list[dict[str, Any]]:
    value = entry.fields.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise entry.error(f"{name} must be a list of objects.")
    if not value:
        raise entry.error(f"{name} is empty.")
    return value


def _read_llava(entry: Entry) -> Record:
    turns: list[tuple[Role, str]] = []
    for item in _list_of_objects(entry, "conversations"):
        if "from" not in item or "value" not in item:
            raise entry.error("a turn of conversations lacks from or value.")
        turns.append((_role(entry, item["from"]), entry.text(item["value"], "value")))
    if entry.fields.get("system"):
        turns.insert(0, ("system", entry.text(entry.fields["system"], "system")))
    return entry.record(place_media(entry.origin, turns, entry.files(), strict=entry.strict))


def _read_messages(entry: Entry) -> Record:
    roles, texts, typed = [], [], []
    for item in _list_of_objects(entry, "messages"):
        if "role" not in item or "content" not in item:
            raise entry.error("a message lacks role or content.")
        text, media = _read_content(entry, item["content"])
        roles.append(_role(entry, item["role"]))
        texts.append(text)
        typed.append(media)
    if any(typed):
        if entry.files():
            raise entry.error("media both in the messages and beside them: give them once.")
        return entry.record(tuple(map(Turn, roles, texts, map(tuple, typed))))
    turns = list(zip(roles, texts, strict=True))
    return entry.record(place_media(entry.origin, turns, entry.files(), strict=entry.strict))


def _read_content(entry: Entry, content: Any) -> tuple[str, list[Media]]:
    """Text and media of one message."""
    if not isinstance(content, list):
        return entry.text(content, "content"), []
    texts, media = [], []
    for item in content:
        kind = item.get("type") if isinstance(item, dict) else "text"
        if kind == "text":
            text = item if isinstance(item, str) else item.get("text")
            texts.append(entry.text(text, "text"))
        elif kind in ("video", "image", "video_url", "image_url"):
            media.append(_read_item(entry, "video" if "video" in kind else "image", item))
        else:
            raise entry.error(f"content of type {kind!r} is unknown: use text, video and image.")
    return "".join(texts), media


def _read_item(entry: Entry, kind: MediaKind, item: dict[str, Any]) -> Media:
    names = (kind, "path", "url", f"{kind}_url")
    name = next((item[key] for key in names if item.get(key)), None)
    if isinstance(name, dict):
        name = name.get("url")
    return entry.file(kind, name, item)


def _read_row(entry: Entry) -> Record:
    missing = [name for name in ("question", "answer") if name not in entry.fields]
    if missing:
        known = ", ".join(map(str, entry.fields))
        raise entry.error(f"no column {missing[0]}: needed are question and answer, got {known}.")
    question = entry.text(entry.fields["question"], "question")
    answer = entry.text(entry.fields["answer"], "answer")
    turns: list[tuple[Role, str]] = [("user", question), ("assistant", answer)]
    if entry.fields.get("system"):
        turns.insert(0, ("system", entry.text(entry.fields["system"], "system")))
    # Tables usually leave the tags out: there is one question, so there is one place.
    strict = entry.strict and any(tag in question for tag in ("<video>", "<image>"))
    return entry.record(place_media(entry.origin, turns, entry.files(), strict=strict))


def _read_videochat2(entry: Entry) -> Record:
    turns: list[tuple[Role, str]] = []
    for item in _list_of_objects(entry, "QA"):
        if "q" not in item or "a" not in item:
            raise entry.error("a pair of QA lacks q or a.")
        # The instruction is about the whole video: it stands in front of the first question.
        words = [item.get("i")] * (not turns) + [item["q"]]
        question = " ".join(filter(None, (entry.text(word, "q").strip() for word in words)))
        turns += [("user", question), ("assistant", entry.text(item["a"], "a"))]
    # This layout has no tags: the video is always shown first.
    return entry.record(place_media(entry.origin, turns, entry.files(), strict=False))


READERS: dict[str, Callable[[Entry], Record]] = {
    "llava": _read_llava,
    "messages": _read_messages,
    "csv": _read_row,
    "videochat2": _read_videochat2,
}
