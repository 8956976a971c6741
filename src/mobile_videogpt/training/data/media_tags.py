"""Which clip stands where: the `<image>` and `<video>` tags of a text and the files of its entry.

The released code repeats `<image>` once per frame, so a run of them is one video there. Tags may
only stand in what the user says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .records import EntryError, Media, Role, Turn

_TAG = re.compile(r"<image>|<video>")
_AROUND_TAGS = re.compile(r"\s*(?:<image>|<video>)(?:\s*(?:<image>|<video>))*\s*")
_RUNS = (re.compile(r"(?:<image>)+|<video>"), re.compile(r"<image>(?:\s*<image>)*|<video>"))


def place_media(
    origin: str, turns: Iterable[tuple[Role, str]], media: Sequence[Media], *, strict: bool
) -> tuple[Turn, ...]:
    """Turns without tags, the media with the turn in which their tag stands.

    Args:
        origin: of the entry, for messages.
        turns: role and text with tags, in order.
        media: the entry's files in order; images and videos are matched by their own tags, and
            where there are only videos, `<image>` stands for a video as well.
        strict: False puts media without a tag in front of the first user turn and drops tags
            without media.

    Raises:
        EntryError: the tags do not match the media, and `strict`.
    """
    turns = list(turns)
    tags = [_tags(text, role, media) for role, text in turns]
    if sum(map(len, tags)) != len(media) and not any(m.kind == "image" for m in media):
        # A run may also have been written with line breaks between its tags.
        tags = [_runs(text, role, 1) for role, text in turns]
    placed = _match(tags, media)
    if placed is None:
        if strict:
            raise EntryError(origin, _mismatch(turns, media), "placeholders")
        placed = _match_leniently(tags, media, turns)
    return tuple(
        Turn(role, _without_tags(text), tuple(found))
        for (role, text), found in zip(turns, placed, strict=True)
    )


def _tags(text: str, role: Role, media: Sequence[Media]) -> list[str]:
    """The tags of one turn, by kind."""
    if role == "user" and any(m.kind == "image" for m in media):
        return [tag[1:-1] for tag in _TAG.findall(text)]
    return _runs(text, role, 0)


def _runs(text: str, role: Role, looseness: int) -> list[str]:
    """Videos only: every run of `<image>` is one. A tag that is not the user's matches nothing."""
    found = _RUNS[looseness].findall(text)
    return ["video" if role == "user" else "misplaced"] * len(found)


def _match(tags: list[list[str]], media: Sequence[Media]) -> list[list[Media]] | None:
    """The media of each turn, None unless every tag has one and every one a tag."""
    waiting = {
        kind: [m for m in media if m.kind == kind] for kind in ("video", "image", "misplaced")
    }
    placed = []
    for names in tags:
        if any(names.count(kind) > len(left) for kind, left in waiting.items()):
            return None
        placed.append([waiting[name].pop(0) for name in names])
    return None if any(waiting.values()) else placed


def _match_leniently(
    tags: list[list[str]], media: Sequence[Media], turns: list[tuple[Role, str]]
) -> list[list[Media]]:
    left = list(media)
    placed: list[list[Media]] = []
    for names in tags:
        placed.append([])
        for name in names:
            found = next((m for m in left if m.kind == name), None)
            if found is not None:
                left.remove(found)
                placed[-1].append(found)
    first_user = next((i for i, (role, _) in enumerate(turns) if role == "user"), 0)
    placed[first_user] = sorted([*left, *placed[first_user]], key=list(media).index)
    return placed


def _without_tags(text: str) -> str:
    return _AROUND_TAGS.sub("\n", text).strip() if _TAG.search(text) else text


def _mismatch(turns: list[tuple[Role, str]], media: Sequence[Media]) -> str:
    if any(role != "user" and _TAG.search(text) for role, text in turns):
        return "a tag <video> or <image> stands in a turn that is not the user's: move it."
    tags = [tag for _, text in turns for tag in _TAG.findall(text)]
    images = sum(m.kind == "image" for m in media)
    return (
        f"{_count(len(media) - images, 'video')} and {_count(images, 'image')}, but the text has "
        f"{_count(tags.count('<video>'), '<video> tag')} and "
        f"{_count(tags.count('<image>'), '<image> tag')}: write one tag where each file belongs."
    )


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
