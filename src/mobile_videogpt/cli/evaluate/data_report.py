"""What of a benchmark is on disk: `--dry-run`, and the check before a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mobile_videogpt.cli.output import answer, answer_json, say
from mobile_videogpt.evaluation.task import DataReport, Task

SHOWN = 10  # missing files that are named; --json names all


def dry_run(tasks: Sequence[Task], data_dir: Path, is_json: bool) -> int:
    """Say what is there; 1 if anything is missing."""
    reports = [task.check(data_dir) for task in tasks]
    is_complete = all(report.is_complete for report in reports)
    if is_json:
        answer_json(
            {
                "data_dir": str(data_dir),
                "complete": is_complete,
                "tasks": [_as_json(report) for report in reports],
            }
        )
    else:
        for report in reports:
            answer("\n".join(_lines(report)))
    return 0 if is_complete else 1


def require(tasks: Sequence[Task], data_dir: Path) -> None:
    """Refuse to begin without annotations or without any video; say which videos are missing.

    Raises:
        ValueError: naming the files and where they come from.
    """
    reports = [task.check(data_dir) for task in tasks]
    refused = [reason for reason in map(_why_not, reports) if reason is not None]
    if refused:
        more = f"; {len(refused) - 1} more tasks lack data (--dry-run)" if len(refused) > 1 else ""
        raise ValueError(f"{refused[0]}{more}")
    for report in reports:
        if report.missing_videos:
            say(
                f"{report.task}: {len(report.missing_videos)} of {report.videos} videos are "
                f"missing, their questions count as wrong: {_some(report.missing_videos)}"
            )


def _why_not(report: DataReport) -> str | None:
    """Why a task cannot begin at all; None if it can."""
    missing = len(report.missing_videos)
    if not report.items:
        wanted = "; ".join(report.missing_annotations) or "its annotation holds no question"
        return f"{report.task}: {wanted}; {report.how_to_get}"
    if missing == report.videos:
        return (
            f"{report.task}: none of its {missing} videos is there, for instance "
            f"{report.missing_videos[0]}; {report.how_to_get}"
        )
    return None


def _lines(report: DataReport) -> list[str]:
    state = "complete" if report.is_complete else "not complete"
    lines = [f"{report.task}: {state}, {report.items} questions about {report.videos} videos"]
    lines += [f"  annotation: {path}" for path in report.annotations]
    lines += [f"  missing annotation: {name}" for name in report.missing_annotations]
    if report.missing_videos:
        lines.append(
            f"  {len(report.missing_videos)} videos are missing: {_some(report.missing_videos)}"
        )
    if not report.is_complete and report.how_to_get:
        lines.append(f"  {report.how_to_get}")
    return lines


def _some(paths: Sequence[Path]) -> str:
    shown = ", ".join(map(str, paths[:SHOWN]))
    more = len(paths) - SHOWN
    return f"{shown} and {more} more (--dry-run --json names all)" if more > 0 else shown


def _as_json(report: DataReport) -> dict[str, object]:
    document = asdict(report)
    for name in ("annotations", "missing_videos"):
        document[name] = [str(path) for path in document[name]]
    return {**document, "complete": report.is_complete}
