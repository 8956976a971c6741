"""The tables of `mobile-videogpt bench`, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mobile_videogpt.cli.output import answer

PART_NAMES = {
    "decode": "decode the clip",
    "preprocess": "frames to pixels",
    "image_encoder": "image encoder",
    "selection": "frame selection",
    "video_encoder": "video encoder",
    "projectors": "projectors",
    "prefill": "prefill",
    "decode_token": "one decoded token",
}


def print_report(report: dict[str, Any]) -> None:
    """Everything a person wants to see: the ceiling, the parts, the peers, what is asked."""
    if "curve" in report:
        _print_curve(report)
        return
    weights = "random weights" if report["random"] else "its own weights"
    formats = ", ".join(f"{part} {name}" for part, name in report["formats"].items())
    answer(f"{report['model']} with {weights}, {report['engine']}, {report['threads']} threads")
    answer(f"{report['num_frames']} frames, {report['visual_tokens']} visual tokens; {formats}")
    answer("")
    _print_ceiling(report["ceiling"])
    _print_parts(report)
    _print_totals(report)
    if report.get("variants") or report["peers"]:
        _print_peers(report)
    if "rows" in report:
        _print_rows(report["rows"])


def _print_ceiling(ceiling: dict[str, Any]) -> None:
    products = ", ".join(f"{name} {x}" for name, x in ceiling["matmul_gflops"].items())
    answer(f"ceiling: matrix products in GFLOP/s: {products}; memory {ceiling['memory_gb_s']} GB/s")
    answer("")


def _print_parts(report: dict[str, Any]) -> None:
    rows = [("part", "seconds", "spread", "GFLOP", "MB", "least s", "of ceiling")]
    for part, row in report["parts"].items():
        rows.append(
            (
                PART_NAMES.get(part, part),
                _number(row["seconds"]),
                f"{_number(row['min'])}-{_number(row['max'])}",
                _number(row.get("gflop")),
                _number(row.get("mbyte")),
                _number(row.get("least_s")),
                "" if row.get("of_ceiling") is None else f"{100 * row['of_ceiling']:.0f} %",
            )
        )
    _print_columns(rows)


def _print_totals(report: dict[str, Any]) -> None:
    rows = [("measured", "median", "spread")]
    for key, label in (
        ("ttft_s", "clip to first token, s"),
        ("vision_s", "of this, vision, s"),
        ("followup_ttft_s", "first token of a follow-up, s"),
        ("decode_tok_s", "decoding, tokens/s"),
        ("end_to_end_s", "whole answer, s"),
        ("end_to_end_tok_s", "whole answer, tokens/s"),
    ):
        low, high = report["spread"][key]
        rows.append((label, _number(report[key]), f"{_number(low)}-{_number(high)}"))
    rows.append(("peak memory, GB", _number(report["peak_rss_gb"]), ""))
    for name, clip in report["clips"].items():
        rows.append((f"decode {name}, s", _number(clip["decode_s"]), ""))
    encoder = report["video_encoder"]
    products = f"video encoder / its matrix products ({encoder['format']})"
    rows.append((products, _number(encoder["ratio"]), ""))
    window = report.get("window", {})
    if window.get("share") is not None:
        rows.append(("vision, half of the frames known / fresh", _number(window["share"]), ""))
    if "startup" in report:
        rows.append(("process start to answer, s", _number(report["startup"]["seconds"]), ""))
    _print_columns(rows)


def _print_peers(report: dict[str, Any]) -> None:
    rows = [("beside", "tokens", "first token s", "decode tok/s", "peak GB", "ours is faster by")]
    others = {**report.get("variants", {}), **report["peers"]}
    for name, other in {"ours": report, **others}.items():
        if "not_offered" in other:
            rows.append((f"{name}: {other['not_offered']}", "", "", "", "", ""))
            continue
        rows.append(
            (
                name,
                str(other.get("visual_tokens", "")),
                _number(other.get("ttft_s")),
                _number(other.get("decode_tok_s")),
                _number(other.get("peak_rss_gb")),
                _faster(report["ratios"].get(name, {})),
            )
        )
    _print_columns(rows)


def _faster(ratios: dict[str, float]) -> str:
    """Of a language model alone the prefill stands for the first token."""
    named = (("ttft", "first token"), ("prefill", "prefill"), ("decode", "decode"))
    return ", ".join(f"{label} {_number(ratios[key])}" for key, label in named if key in ratios)


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    shown = [("what", "asked", "measured", "met")]
    for row in rows:
        met = {True: "yes", False: "NO", None: f"not measured: {row.get('needs', '')}"}[row["met"]]
        shown.append((row["what"], row["asked"], _number(row["measured"]), met))
    _print_columns(shown)


def _print_curve(report: dict[str, Any]) -> None:
    rows = [("frames", "visual tokens", "vision s", "prefill s", "first token s", "peak GB")]
    for point in report["curve"]:
        rows.append(
            (
                str(point["num_frames"]),
                str(point["visual_tokens"]),
                _number(point["vision_s"]),
                _number(point["prefill_s"]),
                _number(point["ttft_s"]),
                _number(point["peak_rss_gb"]),
            )
        )
    _print_columns(rows)
    growth = report["growth"]
    answer(
        f"vision grows with frames to the power of {growth['vision']}, "
        f"prefill with tokens to the power of {growth['prefill']}"
    )


def _print_columns(rows: Sequence[Sequence[str]]) -> None:
    """The first row is the heading; the first column is text, the others stand on the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [
            row[0].ljust(widths[0]),
            *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
        ]
        answer("  ".join(cells).rstrip())
        if number == 0:
            answer("-" * (sum(widths) + 2 * len(widths) - 2))
    answer("")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
