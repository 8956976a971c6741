"""A report as markdown: for a repository, a pull request, a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from .layout import HOW_TO_READ, Section, sections, settings_lines, title_of
from .tables import Table


def to_markdown(report: dict[str, Any]) -> str:
    """The whole report; pictures are linked by their file names."""
    lines = [f"# {_plain(title_of(report))}", "", *_settings(report)]
    for section in sections(report):
        lines += ["", f"## {_plain(section.title)}", *_section(section)]
    return "\n".join([*lines, "", HOW_TO_READ, ""])


def _settings(report: dict[str, Any]) -> list[str]:
    return [f"- {label}: {_plain(value)}" for label, value in settings_lines(report)]


def _section(section: Section) -> Iterator[str]:
    for paragraph in section.text:
        yield from ("", _plain(paragraph))
    for caption, table in section.tables:
        if caption:
            yield from ("", f"**{caption}**")
        yield from ("", *table_lines(table))
        if table.note:
            yield from ("", _plain(table.note))
    for shows, file in section.pictures:
        yield from ("", f"![{_plain(shows)}]({file})")
    for is_right, heading in ((True, "Some right answers"), (False, "Some wrong answers")):
        samples = [s for s in section.samples if s["is_right"] == is_right]
        if samples:
            yield from ("", f"### {heading}")
            for sample in samples:
                yield from ("", *_sample(sample))


def table_lines(table: Table) -> list[str]:
    """A table with bars; figures to the right."""
    figures = ":---" if table.is_words else "---:"
    rule = [":---", *(figures for _ in table.heading[1:])]
    rows = [
        [f"**{_cell(c)}**" if i in table.strong and c else _cell(c) for c in row]
        for i, row in enumerate(table.rows)
    ]
    lines = [[_cell(c) for c in table.heading], rule, *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _sample(sample: dict[str, Any]) -> Iterator[str]:
    kind = f"*{_plain(sample['kind'].replace('_', ' '))}* " if sample["kind"] else ""
    yield f"{kind}{_plain(sample['question'])}"
    yield ""
    for place, option in enumerate(sample["options"]):
        mark = " **(right)**" if place == sample["right_option"] else ""
        yield f"- {ascii_uppercase[place]}. {_plain(option)}{mark}"
    if not sample["options"]:
        yield f"- right: {_plain(str(sample['answer']))}"
    yield f"- answered: {_plain(sample['output']) or '(nothing)'}"
    if sample.get("picture"):
        yield from ("", f"![key frames]({sample['picture']})")


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """One line, in which nothing that a model or a file wrote is taken for markdown."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(text.split()))
