"""What all charts of this room have in common: colours, figure, PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, RULE = "#1c2430", "#667085", "#e0e4ea"
OURS, BLIND, PAPER = "#2f6fb0", "#d65400", "#157f4b"
OTHERS = ("#8a63d2", "#c2912e", "#5f9ea0", "#b5495b", "#7d8794")
_DPI = 130


def new_figure(size: tuple[float, float]) -> Figure:
    """An empty figure, inches.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise ValueError(
            "the charts of a report need matplotlib; run: pip install 'mobile-videogpt[eval]'"
        ) from None
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def tidy(axes: Axes, title: str) -> None:
    """A title on the left, and no lines but the lowest."""
    axes.set_title(title, fontsize=11, color=INK, loc="left")
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8.5, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(RULE)


def png(figure: Figure) -> bytes:
    """The figure as a file."""
    picture = io.BytesIO()
    # No date and no version inside: the same numbers give the same file.
    figure.savefig(
        picture, format="png", dpi=_DPI, bbox_inches="tight", metadata={"Software": None}
    )
    return picture.getvalue()
