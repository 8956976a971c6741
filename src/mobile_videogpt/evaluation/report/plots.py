"""Charts of a report as PNG: bars with intervals and baselines, and a radar of kinds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import published
from ..charts import BLIND, FAINT, INK, OTHERS, OURS, PAPER, RULE, new_figure, png, tidy
from .tables import by_column, name_of, published_accuracy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_AXES = 3  # a radar with fewer is a line


def draw_bars(benchmark: dict[str, Any], model: str) -> bytes:
    """Accuracy of every kind of question with its interval, chance, blind run and the paper's.

    Raises:
        ValueError: matplotlib is not installed.
    """
    rows = [benchmark["overall"], *benchmark["sub_tasks"]]
    rows = rows[:1] if len(rows) == 2 else rows
    figure = new_figure((8.2, 1.5 + 0.34 * len(rows)))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        _draw_bar(axes, place, row)
        _draw_baselines(axes, place, row, _papers_share(benchmark, row))
    if len(rows) > 1:
        axes.axhline(0.5, color=RULE, linewidth=1)
    axes.set_yticks(range(len(rows)), [f"{name_of(r['name'])}  ({r['questions']:,})" for r in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy, %")
    axes.xaxis.grid(color=RULE, linewidth=0.8)
    tidy(axes, f"{benchmark['title']}: {model}")
    _legend(figure, axes)
    return png(figure)


def draw_radar(title: str, labels: Sequence[str], series: Sequence[Series]) -> bytes:
    """Shares on one axis per label.

    Raises:
        ValueError: matplotlib is not installed, or there are fewer than three labels.
    """
    if len(labels) < LEAST_AXES:
        raise ValueError(f"a radar needs {LEAST_AXES} axes or more, not {len(labels)}")
    figure = new_figure((7.4, 6.6))
    axes: Any = figure.subplots(subplot_kw={"projection": "polar"})
    axes.set_theta_offset(math.pi / 2)
    axes.set_theta_direction(-1)
    angles = [2 * math.pi * i / len(labels) for i in range(len(labels))]
    for name, shares, style in series:
        values = [math.nan if share is None else 100 * share for share in shares]
        axes.plot([*angles, angles[0]], [*values, values[0]], label=name, **style)
    axes.fill(angles, [100 * (share or 0) for share in series[0][1]], color=OURS, alpha=0.12)
    axes.set_ylim(0, 100)
    axes.set_yticks([25, 50, 75, 100], ["25", "50", "75 %", ""], fontsize=8, color=FAINT)
    axes.set_rlabel_position(180 / len(labels))
    axes.grid(color=RULE)
    axes.spines["polar"].set_color(RULE)
    axes.set_xticks(angles, ["" for _ in labels])
    for angle, label in zip(angles, labels, strict=True):
        _label(axes, angle, label)
    axes.set_title(f"{title}: accuracy, %", fontsize=11, color=INK, pad=34)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return png(figure)


Series = tuple[str, Sequence[float | None], dict[str, Any]]


def radar_of_kinds(benchmark: dict[str, Any], model: str) -> bytes | None:
    """One axis per kind of question: this run, baselines, the paper's models; None for too few."""
    rows = benchmark["sub_tasks"]
    if len(rows) < LEAST_AXES:
        return None
    series = _own_series(rows, model)
    others = [name for name in published.mvbench_average() if any(r["paper"] for r in rows)]
    shares = {name: [row["paper"].get(name) for row in rows] for name in others}
    series += _paper_series(shares)
    return draw_radar(benchmark["title"], [name_of(r["name"]) for r in rows], series)


def radar_of_benchmarks(benchmarks: Sequence[dict[str, Any]], model: str) -> bytes | None:
    """One axis per benchmark of the paper's Table 1 that was run; None for too few."""
    found = by_column(benchmarks).values()
    measured = [b for b in found if published_accuracy(b) is not None]
    if len(measured) < LEAST_AXES:
        return None
    rows = [{**b["overall"], "accuracy": published_accuracy(b)} for b in measured]
    series = _own_series(rows, model)
    complete = [name for name in measured[0]["paper"] if all(name in b["paper"] for b in measured)]
    shares = {name: [b["paper"][name] for b in measured] for name in complete}
    series += _paper_series(shares)
    return draw_radar("The paper's benchmarks", [b["column"] for b in measured], series)


def _own_series(rows: Sequence[dict[str, Any]], model: str) -> list[Series]:
    series: list[Series] = [
        (f"this run: {model}", [r["accuracy"] for r in rows], {"color": OURS, "linewidth": 2.2})
    ]
    if any(row["blind"] is not None for row in rows):
        style = {"color": BLIND, "linewidth": 1.2, "linestyle": "--"}
        series.append(("blind: no video", [r["blind"] for r in rows], style))
    if any(row["chance"] is not None for row in rows):
        style = {"color": FAINT, "linewidth": 1.2, "linestyle": ":"}
        series.append(("chance", [r["chance"] for r in rows], style))
    return series


def _paper_series(shares: dict[str, list[float | None]]) -> list[Series]:
    """The paper's models as thin lines, its own in green."""
    found: list[Series] = []
    colors = iter(OTHERS * 3)
    for name, values in shares.items():
        is_theirs = name in published.OURS
        color = PAPER if is_theirs else next(colors)
        style = {"color": color, "linewidth": 1.6 if is_theirs else 0.9}
        if name == published.OURS[1]:
            style["linestyle"] = "-."
        found.append((f"{name}, paper", values, style))
    return found


def _draw_bar(axes: Axes, place: int, row: dict[str, Any]) -> None:
    accuracy, interval = row["accuracy"], row["interval"]
    if accuracy is None:
        axes.text(1, place, "not scored", va="center", fontsize=8, color=FAINT)
        return
    is_whole = place == 0
    axes.barh(place, 100 * accuracy, height=0.62, color=OURS, alpha=1.0 if is_whole else 0.75)
    ends = [100 * (accuracy - interval["low"]), 100 * (interval["high"] - accuracy)]
    # Rounding may put an end a hair inside the bar's own end.
    whisker = [[max(0.0, ends[0])], [max(0.0, ends[1])]]
    axes.errorbar(100 * accuracy, place, xerr=whisker, color=INK, capsize=2.5, linewidth=1.1)


def _draw_baselines(axes: Axes, place: int, row: dict[str, Any], paper: float | None) -> None:
    if row["chance"] is not None:
        x = 100 * row["chance"]
        axes.plot([x, x], [place - 0.38, place + 0.38], color=INK, linewidth=1.6, linestyle=":")
    marks = ((row["majority"], "s", FAINT), (row["blind"], "o", BLIND), (paper, "D", PAPER))
    for share, marker, color in marks:
        if share is not None:
            axes.plot(
                *(100 * share, place),
                marker=marker,
                markersize=5.5,
                markeredgewidth=1.6,
                color=color,
                markerfacecolor="white",
                linestyle="none",
            )


def _papers_share(benchmark: dict[str, Any], row: dict[str, Any]) -> float | None:
    """What the paper has for its own 0.5B model: of the benchmark, or of one MVBench sub-task."""
    shares = benchmark["paper"] if row is benchmark["overall"] else row["paper"]
    found: float | None = shares.get(published.OURS[0])
    return found


def _legend(figure: Figure, axes: Axes) -> None:
    """Only what is drawn is explained."""
    from matplotlib.lines import Line2D

    def mark(label: str, **style: Any) -> Line2D:
        return Line2D([], [], label=label, **style)

    drawn = {(line.get_marker(), line.get_linestyle()) for line in axes.lines}
    points = {"linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 1.6}
    handles = [mark("95 % interval", color=INK, linewidth=1.1)]
    if ("None", ":") in drawn:
        handles.append(mark("chance", color=INK, linewidth=1.6, linestyle=":"))
    for marker, color, label in (
        ("s", FAINT, "majority class"),
        ("o", BLIND, "blind: no video"),
        ("D", PAPER, f"{published.OURS[0]}, paper"),
    ):
        if (marker, "None") in drawn:
            handles.append(mark(label, color=color, marker=marker, **points))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=8)


def _label(axes: Any, angle: float, label: str) -> None:
    """Beside the circle, set off to its own side so that it does not lie on the drawing."""
    across = math.sin(angle)
    side = "center" if abs(across) < 0.15 else "left" if across > 0 else "right"
    axes.text(
        *(angle, 107, label),
        ha=side,
        va="center" if abs(across) >= 0.15 else "bottom" if math.cos(angle) > 0 else "top",
        fontsize=8.5,
        color=INK,
    )
