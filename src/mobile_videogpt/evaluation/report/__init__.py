"""What came out of a run, for people and programs: report.md, report.html, report.json, charts.

`write_report(OUT)` reads a run folder, finished or not, and can be called again at any time: the
answers are in the folder, nothing is asked twice.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ...files import write_atomically
from ..predictions import Prediction
from .benchmarks import benchmarks_of
from .build import build_report, report_text
from .markdown import to_markdown
from .page import to_page
from .plots import draw_bars, radar_of_benchmarks, radar_of_kinds
from .results import Run, read_run
from .samples import choose_samples, describe_sample, draw_key_frames

__all__ = ["build_report", "read_run", "write_report"]

logger = logging.getLogger(__name__)

SAMPLES_FOLDER = "samples"


def write_report(folder: str | Path) -> dict[str, Any]:
    """Write `FOLDER/report.{md,html,json}` and the pictures in them; returns the JSON document.

    Without matplotlib the report has no charts and says so in the log.

    Raises:
        ValueError: the folder is no run, or nothing is answered in it.
    """
    run = read_run(Path(folder))
    report = build_report(run)
    pictures = {**_add_charts(report), **_add_samples(report, run)}
    _forget_old_pictures(run.folder, set(pictures))
    for name, content in pictures.items():
        path = run.folder / name
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content)
    texts = {
        "report.json": report_text(report),
        "report.md": to_markdown(report),
        "report.html": to_page(report, pictures),
    }
    for name, text in texts.items():
        write_atomically(run.folder / name, text.encode("utf-8", "backslashreplace"))
    return report


def _add_charts(report: dict[str, Any]) -> dict[str, bytes]:
    """Draw the charts and name them in `report["pictures"]`; file name -> content."""
    model = str(report["run"].get("model", "unknown model"))
    drawn: dict[str, bytes] = {}

    def keep(name: str, shows: str, picture: bytes | None) -> None:
        if picture is not None:
            drawn[f"{name}.png"] = picture
            report["pictures"].append({"file": f"{name}.png", "shows": shows})

    try:
        for benchmark in report["benchmarks"]:
            if benchmark["overall"]["accuracy"] is None:
                continue
            name, title = benchmark["name"], benchmark["title"]
            keep(f"bars-{name}", f"{title}: accuracy", draw_bars(benchmark, model))
            radar = radar_of_kinds(benchmark, model)
            keep(f"radar-{name}", f"{title}: kinds of questions", radar)
        whole = radar_of_benchmarks(report["benchmarks"], model)
        keep("radar", "the benchmarks of the paper's Table 1", whole)
    except ValueError as error:
        logger.warning("the report has no charts: %s", error)
    return drawn


def _add_samples(report: dict[str, Any], run: Run) -> dict[str, bytes]:
    """Choose samples, name them in `report["samples"]`; file name -> picture."""
    drawn: dict[str, bytes] = {}
    for benchmark in benchmarks_of(run.results):
        results: list[Prediction] = [r for task in benchmark.tasks for r in run.results[task]]
        for place, result in enumerate(choose_samples(results)):
            sample = {"benchmark": benchmark.name, **describe_sample(result), "picture": None}
            picture = draw_key_frames(result)
            if picture is not None:
                sample["picture"] = f"{SAMPLES_FOLDER}/{benchmark.name}-{place}.jpg"
                drawn[sample["picture"]] = picture
            report["samples"].append(sample)
    return drawn


def _forget_old_pictures(folder: Path, names: set[str]) -> None:
    """Samples of an earlier report of the same run would lie about without a text."""
    for path in (folder / SAMPLES_FOLDER).glob("*.jpg"):
        if f"{SAMPLES_FOLDER}/{path.name}" not in names:
            path.unlink(missing_ok=True)
