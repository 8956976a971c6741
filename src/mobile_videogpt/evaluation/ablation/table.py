"""The paper's Table 3 with the miniature's numbers, and with the paper's own below them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..published import published
from .summary import REFERENCE

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """One column: its title, the variant that fills it, and the paper's name for it."""

    title: str
    variant: str
    published: str | None = None


# The paper's layout; what it does not have is added within the group it belongs to.
GROUPS: dict[str, tuple[Column, ...]] = {
    "Vision encoder": (
        Column("Image", "image-only", "image_encoder_only"),
        Column("Video", "video-only", "video_encoder_only"),
        Column("Dual with FS", "dual", "dual_with_frame_selection"),
    ),
    "Frame selection (FS)": (
        Column("Without FS", "all-frames", "without_frame_selection"),
        Column("Attention-based", "dual", "attention_based_frame_selection"),
        Column("Uniform", "uniform"),
        Column("Random", "random"),
    ),
    "Token projection": (
        Column("MLP", "mlp", "mlp_projector"),
        Column("ET", "dual", "et_projector"),
    ),
    "Token layout": (
        Column("Released", "released-layout"),
        Column("Paper", "dual"),
    ),
}


def columns() -> list[Column]:
    """All columns, in order."""
    return [column for group in GROUPS.values() for column in group]


def render_table(results: Mapping[str, Any]) -> str:
    """Markdown: the miniature's rows (percent with 95 % intervals), then the paper's.

    Args:
        results: `variants` from `summarise`, `speed` (variant -> numbers), `visual_tokens`
            (variant -> number).
    """
    variants, speed = results["variants"], results.get("speed", {})
    lines = [*_header(), *(_row(f"**{title}**", cells) for title, cells in _scores(variants))]
    families = next(iter(variants.values()))["families"] if variants else {}
    for family in families:
        lines.append(_row(family.replace("_", " "), _family_cell(variants, family)))
    tokens = results.get("visual_tokens", {})
    lines += [
        _row("Seeds", lambda c: str(len(variants.get(c.variant, {}).get("seeds", ())))),
        _row("**Visual tokens**", lambda c: str(tokens.get(c.variant, MISSING))),
        _row("**Tokens/second**, end to end", _number(speed, "tokens_per_second", "{:.0f}")),
        _row("Tokens/second while decoding", _number(speed, "decode_per_second", "{:.0f}")),
        _row("**Time to first token**, ms", _number(speed, "ttft_s", "{:.1f}", 1000)),
    ]
    return "\n".join([*lines, *_paper_rows()]) + "\n"


def render_differences(results: Mapping[str, Any]) -> str:
    """Markdown: every variant's difference from the reference in points, by both intervals."""
    lines = [
        f"| Against `{REFERENCE}` | multiple choice | each seed | over seeds | open | over seeds |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, found in results["variants"].items():
        if "difference" not in found:
            continue
        choice, spoken = (found["difference"][score] for score in ("multiple_choice", "open"))
        seeds = ", ".join(f"{100 * gap:+.1f}" for gap in choice["seeds"])
        cells = [_points(choice), seeds, _over_seeds(choice), _points(spoken), _over_seeds(spoken)]
        lines.append(_line(f"`{name}`", cells))
    return "\n".join(lines) + "\n"


def _points(gap: Mapping[str, Any]) -> str:
    ends = gap["interval"]
    return f"{100 * gap['value']:+.1f} ({100 * ends['low']:+.1f} to {100 * ends['high']:+.1f})"


def _over_seeds(gap: Mapping[str, Any]) -> str:
    if gap["over_seeds"] is None:
        return MISSING
    low, high = gap["over_seeds"]
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def _header() -> list[str]:
    # A group's name stands over its first column, as Markdown has no cells that span several.
    groups = [
        name if place == 0 else "" for name, group in GROUPS.items() for place in range(len(group))
    ]
    return [
        _line("", groups),
        _line("---", ["---:"] * len(groups)),
        _row("", lambda column: f"*{column.title}*"),
    ]


def _row(title: str, cell: Callable[[Column], str]) -> str:
    return _line(title, [cell(column) for column in columns()])


def _line(title: str, cells: Sequence[str]) -> str:
    return f"| {' | '.join([title, *cells])} |"


def _scores(variants: Mapping[str, Any]) -> list[tuple[str, Callable[[Column], str]]]:
    titles = {"multiple_choice": "Multiple choice", "open": "Open answers"}

    def cell_of(score: str) -> Callable[[Column], str]:
        def cell(column: Column) -> str:
            found = variants.get(column.variant)
            return _share(found[score]) if found else MISSING

        return cell

    return [(title, cell_of(score)) for score, title in titles.items()]


def _family_cell(variants: Mapping[str, Any], family: str) -> Callable[[Column], str]:
    def cell(column: Column) -> str:
        found = variants.get(column.variant)
        return (
            f"{100 * found['families'][family]['multiple_choice']['value']:.1f}"
            if found
            else (MISSING)
        )

    return cell


def _share(score: Mapping[str, Any]) -> str:
    low, high = score["interval"]["low"], score["interval"]["high"]
    return f"{100 * score['value']:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def _number(
    speed: Mapping[str, Any], key: str, form: str, factor: float = 1.0
) -> Callable[[Column], str]:
    def cell(column: Column) -> str:
        found = speed.get(column.variant)
        return form.format(factor * found[key]) if found else MISSING

    return cell


def _paper_rows() -> list[str]:
    rows = published()["table3"]["rows"]

    def cell_of(name: str) -> Callable[[Column], str]:
        return lambda column: f"{rows[name][column.published]}" if column.published else ""

    return [
        _row("*the paper, 0.5B:*", lambda column: ""),
        *(_row(name, cell_of(name)) for name in rows),
    ]
