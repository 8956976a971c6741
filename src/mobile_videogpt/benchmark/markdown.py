"""Tables of a report for documents: what is asked, who was measured, where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_MET = {True: "yes", False: "**no**", None: "not run"}


def origin_line(report: dict[str, Any]) -> str:
    """Where, when and with which commit a report was made."""
    machine = report["machine"]
    return (
        f"{machine['cpu']}, {report['threads']} threads; commit {report['commit']}, "
        f"{report['date']}; medians of {report['runs']} runs, in alternation.\n"
    )


def rows_table(report: dict[str, Any]) -> str:
    """What is asked, what was measured."""
    rows = [
        (
            row["what"],
            row["asked"],
            "not run" if row["measured"] is None else f"{row['measured']:g}",
            _MET[row["met"]],
        )
        for row in report["rows"]
    ]
    return _table(("What", "Asked", "Measured", "Met"), rows)


def contestants_table(report: dict[str, Any]) -> str:
    """Our model, its variants and the peers."""
    others = {**report.get("variants", {}), **report["peers"]}
    rows = []
    for name, one in {f"ours, {report['model']} ({report['engine']})": report, **others}.items():
        if "not_offered" in one:
            rows.append((name, "not run", "", "", "", "", ""))
            continue
        number_format = one.get("dtype") or one.get("formats", {}).get("language_model", "")
        rows.append(
            (
                name,
                number_format,
                str(one.get("visual_tokens", "")),
                _figure(one.get("vision_s")),
                _figure(one.get("ttft_s")),
                _figure(one.get("decode_tok_s")),
                _figure(one.get("peak_rss_gb")),
            )
        )
    heading = (
        *("Model", "Language model in", "Visual tokens", "Vision, s", "First token, s"),
        *("Decode, tokens/s", "Peak memory, GB"),
    )
    return _table(heading, rows)


def parts_table(report: dict[str, Any]) -> str:
    """Where the time goes, and how near each part is to the ceiling."""
    rows = []
    for part, row in report["parts"].items():
        least = row.get("least_s")
        rows.append(
            (
                part.replace("_", " "),
                row.get("format", ""),
                _figure(row["seconds"]),
                _percent(row.get("share_of_ttft")),
                _figure(row.get("gflop")),
                _figure(row.get("mbyte")),
                _figure(least),
                _percent(row.get("of_ceiling")),
            )
        )
    heading = (
        *("Part", "In", "Seconds", "Of the first token's time", "GFLOP", "MB"),
        *("Least seconds", "Of the ceiling"),
    )
    return _table(heading, rows)


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
