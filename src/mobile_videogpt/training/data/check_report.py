"""A check as a report for programs (JSON) and one for people (a page that needs nothing else)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from ..files import write_text
from .check import CheckResult, summary
from .findings import PROBLEMS, WARNINGS, Finding
from .probe import Probe
from .records import Record
from .stats import TextStatistics, media_statistics

_TEMPLATE = Path(__file__).with_name("check_page.html.jinja")
_ROWS = 60  # of one kind on the page; the JSON has all
_GALLERY = 48
_EXCERPT = 240


def build_report(result: CheckResult, cleaned: Path | None) -> dict[str, Any]:
    """Everything that was found, as JSON."""
    statistics = TextStatistics()
    for source in result.records:
        for record in result.clean_records(source):
            statistics.add(record)
    options = result.options
    return {
        "config": str(result.config.path),
        **summary(result),
        "cleaned": None if cleaned is None else str(cleaned),
        "options": {
            "sample": options.sample,
            "seed": options.seed,
            "time_limit_s": options.time_limit_s,
            "min_frames": options.min_frames,
            "max_tokens": options.budget.limit,
        },
        "found": _by_kind(result.problems, PROBLEMS),
        "worth_knowing": _by_kind(result.warnings, WARNINGS),
        "usable_entries": statistics.as_json(),
        "decoded_files": media_statistics(_probes(result).values()),
    }


def write_report(result: CheckResult, report: dict[str, Any], folder: Path) -> None:
    """Write report.json and report.html."""
    text = json.dumps(report, ensure_ascii=False, indent=1)
    write_text(folder / "report.json", f"{text}\n")
    write_text(folder / "report.html", render_page(result, report))


def render_page(result: CheckResult, report: dict[str, Any]) -> str:
    """The page; every value in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["number"] = lambda value: f"{value:,}"
    environment.filters["seconds"] = _seconds
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=report,
        name=result.config.name,
        problems=_groups(result, result.problems, PROBLEMS),
        warnings=_groups(result, result.warnings, WARNINGS),
        gallery=list(_gallery(result)),
        sources=_sources(result),
    )


def _by_kind(findings: list[Finding], kinds: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    grouped = groupby(findings, key=lambda finding: finding.kind)
    return {kind: [finding.as_json() for finding in group] for kind, group in grouped}


def _groups(
    result: CheckResult, findings: list[Finding], kinds: dict[str, str]
) -> list[dict[str, Any]]:
    groups = []
    for kind, group in groupby(findings, key=lambda finding: finding.kind):
        found = list(group)
        rows = [_row(result, finding) for finding in found[:_ROWS]]
        title = kind.replace("_", " ").capitalize()
        groups.append(
            {"kind": kind, "title": title, "text": kinds[kind], "count": len(found), "rows": rows}
        )
    return groups


def _row(result: CheckResult, finding: Finding) -> dict[str, Any]:
    row = {
        "origin": finding.origin,
        "message": finding.message,
        "path": "" if finding.path is None else str(finding.path),
        "question": "",
        "answer": "",
        "thumbnail": "",
    }
    if finding.index is not None:
        record = result.records[finding.source][finding.index]
        row |= _words(record)
        row["thumbnail"] = next(
            (probe.thumbnail for probe in _shown(result, record) if probe.thumbnail), ""
        )
    return row


def _words(record: Record) -> dict[str, str]:
    """The first question and its answer, cut to a length that fits."""
    question = next((turn.text for turn in record.turns if turn.role == "user"), "")
    return {"question": _cut(question), "answer": _cut(record.answers[0])}


def _cut(text: str) -> str:
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT].rstrip()} …"


def _shown(result: CheckResult, record: Record) -> Iterator[Probe]:
    for media in record.media:
        probe = result.results.get(media.path)
        if isinstance(probe, Probe):
            yield probe


def _gallery(result: CheckResult) -> Iterator[dict[str, Any]]:
    """Usable entries whose file has a thumbnail, each file once."""
    seen: set[Path] = set()
    for source in result.records:
        for record in result.clean_records(source):
            for media in record.media:
                probe = result.results.get(media.path)
                if media.path in seen or not isinstance(probe, Probe) or not probe.thumbnail:
                    continue
                seen.add(media.path)
                yield {
                    "name": media.path.name,
                    "thumbnail": probe.thumbnail,
                    "duration_s": probe.duration_s if media.kind == "video" else None,
                    "size": f"{probe.width} × {probe.height}",
                    **_words(record),
                }
                if len(seen) == _GALLERY:
                    return


def _sources(result: CheckResult) -> list[dict[str, Any]]:
    bad = Counter(source for source, _ in result.bad)
    entries = [f for f in result.problems if f.index is None and f.kind != "annotations"]
    broken = Counter(finding.source for finding in entries)
    return [
        {
            "name": source.name,
            "annotations": str(source.annotations),
            "entries": len(result.records[source.name]) + broken[source.name],
            "usable": len(result.records[source.name]) - bad[source.name],
        }
        for source in result.config.sources
    ]


def _probes(result: CheckResult) -> dict[Path, Probe]:
    return {path: item for path, item in result.results.items() if isinstance(item, Probe)}


def _seconds(value: float) -> str:
    """Seconds below two minutes, minutes above."""
    return f"{value:.1f} s" if value < 120 else f"{int(value // 60)}:{int(value % 60):02d} min"
