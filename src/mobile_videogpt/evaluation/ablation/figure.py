"""The ablation as a picture: the miniature's accuracies above, the paper's below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..charts import FAINT, INK, OURS, PAPER, RULE, new_figure, png, tidy
from ..published import published
from .summary import REFERENCE
from .table import GROUPS, Column, columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GAP = 0.8  # between groups, in bars


def draw_ablation(results: Mapping[str, Any]) -> bytes:
    """PNG: multiple choice of every variant with its interval and seeds, and the paper's average.

    Raises:
        ValueError: matplotlib is not installed.
    """
    figure = new_figure((10.5, 6.4))
    ours, paper = figure.subplots(2, 1, height_ratios=[3, 2])
    places = _places()
    _draw_ours(ours, places, results["variants"])
    _draw_paper(paper, places)
    titles = [column.title.replace("-", "-\n") for column in columns()]
    for axes in (ours, paper):
        axes.set_xticks(places, titles, fontsize=8.5)
        axes.yaxis.grid(color=RULE, linewidth=0.8)
        axes.set_xlim(places[0] - 0.7, places[-1] + 0.7)
    _name_groups(ours, places)
    counts = sorted({len(variant["seeds"]) for variant in results["variants"].values()})
    seeds = " to ".join(map(str, counts[:: max(1, len(counts) - 1)]))
    tidy(
        ours,
        f"MovingShapes, multiple choice, %: mean of {seeds} seeds (dots), 95 % interval over clips",
    )
    tidy(paper, "The paper's Table 3 (0.5B): average over six benchmarks, %")
    return png(figure)


def _places() -> list[float]:
    places, at = [], 0.0
    for group in GROUPS.values():
        for _ in group:
            places.append(at)
            at += 1.0
        at += _GAP
    return places


def _draw_ours(axes: Axes, places: list[float], variants: Mapping[str, Any]) -> None:
    # Points, not bars: the axis does not begin at zero.
    for place, column in zip(places, columns(), strict=True):
        found = variants.get(column.variant)
        if not found:
            continue
        score = found["multiple_choice"]
        value = 100 * score["value"]
        low, high = (100 * score["interval"][end] for end in ("low", "high"))
        reach = [[max(0.0, value - low)], [max(0.0, high - value)]]
        color = _color(column)
        axes.errorbar(place, value, reach, fmt="s", color=color, markersize=8, capsize=4)
        dots = [100 * seed for seed in score["seeds"]]
        axes.plot([place - 0.22] * len(dots), dots, "o", color=FAINT, markersize=3)
        _write(axes, place, value, color)
    axes.margins(y=0.16)


def _draw_paper(axes: Axes, places: list[float]) -> None:
    row = published()["table3"]["rows"]["Average Accuracy"]
    for place, column in zip(places, columns(), strict=True):
        if column.published is not None:
            axes.plot(place, row[column.published], "s", color=PAPER, markersize=8)
            _write(axes, place, row[column.published], PAPER)
    axes.margins(y=0.16)


def _write(axes: Axes, place: float, value: float, color: str) -> None:
    axes.text(place + 0.16, value, f"{value:.1f}", va="center", fontsize=8.5, color=color)


def _color(column: Column) -> str:
    return OURS if column.variant == REFERENCE else INK


def _name_groups(axes: Axes, places: list[float]) -> None:
    first = 0
    for name, group in GROUPS.items():
        middle = sum(places[first : first + len(group)]) / len(group)
        axes.text(
            middle,
            0.98,
            name,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=9,
            color=FAINT,
        )
        first += len(group)
