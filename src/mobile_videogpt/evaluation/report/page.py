"""A report as one page that needs nothing else: charts and key frames are inside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .layout import (
    HOW_TO_READ,
    model_of,
    sections,
    settings_lines,
    title_of,
)
from .tables import NOTHING, percent, percent_interval

_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


def to_page(report: dict[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The page; every value in it is escaped.

    Args:
        report: what `build_report` made.
        pictures: content of every file that `report` names, by that name.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["embedded"] = _embedder(pictures)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        title=title_of(report),
        settings=[("model", model_of(report)), *settings_lines(report)],
        cards=[_card(benchmark) for benchmark in report["benchmarks"]],
        sections=sections(report),
        how_to_read=HOW_TO_READ,
    )


def _card(benchmark: dict[str, Any]) -> dict[str, str]:
    overall = benchmark["overall"]
    below = f"{overall['questions']:,} questions"
    if benchmark["server"] is not None:
        figure = f"{percent(benchmark['server'])} %"
        return {"figure": figure, "label": benchmark["title"], "below": f"{below}, by its server"}
    if overall["accuracy"] is None:
        return {"figure": NOTHING, "label": benchmark["title"], "below": f"{below}, not scored"}
    return {
        "figure": f"{percent(overall['accuracy'])} %",
        "label": benchmark["title"],
        "below": f"{percent_interval(overall['interval'])}, {below}",
    }


def _embedder(pictures: Mapping[str, bytes]) -> Callable[[str], str]:
    def embedded(name: str) -> str:
        content = b64encode(pictures[name]).decode("ascii")
        return f"data:{_TYPES[Path(name).suffix]};base64,{content}"

    return embedded
