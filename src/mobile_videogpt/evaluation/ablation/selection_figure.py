"""The selection probe as a picture: recall by kind, and what is kept around a happening."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..charts import FAINT, INK, OTHERS, OURS, PAPER, RULE, new_figure, png, tidy
from .selection import RANDOM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = {"attention": OURS, RANDOM: "#98a2b3", "uniform": PAPER}


def draw_selection(probe: Mapping[str, Any]) -> bytes:
    """PNG: share of event frames kept by method and kind, and by distance from the happening.

    Raises:
        ValueError: matplotlib is not installed.
    """
    figure = new_figure((11.5, 4.6))
    by_kind, around = figure.subplots(1, 2, width_ratios=[3, 2])
    spare = iter(OTHERS)
    colors = {name: _COLORS.get(name) or next(spare) for name in probe["methods"]}
    _draw_kinds(by_kind, probe, colors)
    _draw_around(around, probe, colors)
    handles, names = by_kind.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8.5
    )
    return png(figure)


def _draw_kinds(axes: Axes, probe: Mapping[str, Any], colors: Mapping[str, str]) -> None:
    methods = probe["methods"]
    counts = {kind: row["happenings"] for kind, row in methods["attention"]["kinds"].items()}
    groups = ["all", *counts]
    width = 0.8 / len(methods)
    for place, (name, found) in enumerate(methods.items()):
        rows = [found["recall"], *(found["kinds"][kind]["recall"] for kind in counts)]
        values = [100 * row["value"] for row in rows]
        ends = [[100 * row["interval"][end] for row in rows] for end in ("low", "high")]
        low = [max(0.0, value - end) for value, end in zip(values, ends[0], strict=True)]
        high = [max(0.0, end - value) for value, end in zip(values, ends[1], strict=True)]
        at = [group + (place - (len(methods) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(at, values, width=0.9 * width, color=colors[name], label=name)
        axes.errorbar(at, values, [low, high], fmt="none", ecolor=INK, linewidth=0.8)
    axes.axhline(50, color=FAINT, linewidth=0.8, linestyle="--")
    total = methods["attention"]["happenings"]
    labels = [f"{kind}\n({count})" for kind, count in {"all": total, **counts}.items()]
    axes.set_xticks(range(len(groups)), labels, fontsize=8.5)
    axes.set_ylim(0, 100)
    axes.yaxis.grid(color=RULE, linewidth=0.8)
    tidy(axes, f"Event frames kept, % (half of {probe['frames']} frames are kept)")


def _draw_around(axes: Axes, probe: Mapping[str, Any], colors: Mapping[str, str]) -> None:
    for name, found in probe["methods"].items():
        offsets = sorted(int(offset) for offset in found["kept_at"])
        # There is no frame 0: the happening lies between -1 and 1.
        places = [offset + 0.5 if offset < 0 else offset - 0.5 for offset in offsets]
        shares = [100 * found["kept_at"][str(offset)] for offset in offsets]
        # Every second frame is kept: where things happen at even times, that shows as a saw.
        faint = 0.35 if name == "uniform" else 1.0
        axes.plot(
            places, shares, "o-", color=colors[name], markersize=3, linewidth=1.2, alpha=faint
        )
    axes.axvline(0, color=FAINT, linewidth=0.8, linestyle="--")
    axes.set_xlabel("sampled frames from the happening", fontsize=8.5)
    axes.set_ylim(0, 100)
    axes.yaxis.grid(color=RULE, linewidth=0.8)
    tidy(axes, "How often a frame is kept, %")
