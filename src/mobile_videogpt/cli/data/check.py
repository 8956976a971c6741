"""`mobile-videogpt data check`: find what would spoil a training run before it starts."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.arguments import add_data_argument, positive_float, positive_int
from mobile_videogpt.cli.output import answer, answer_json, say, table

if TYPE_CHECKING:
    from mobile_videogpt.training.data.check import CheckOptions, Progress

_LINE_EVERY_S = 10.0

EPILOG = """\
Written to the output folder: report.html (open it in a browser), report.json, and what can be
trained on as cleaned.json or, for a mixture, cleaned.yaml. Files are decoded in processes of their
own, so that one that crashes or hangs the decoder is only reported. Started again, the check
looks only at files that are new or changed.
Exit code 0: every entry can be used, 1: some cannot."""


def add_parser(kinds: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add `data check`."""
    parser = kinds.add_parser(
        "check",
        parents=parents,
        help="find broken entries and files before training does",
        description="Check annotations or a mixture: missing, broken, too short and repeated "
        "files, tags that do not match, empty answers, prompts that are too long.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_data_argument(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for the report (default: CONFIG.check)"
    )
    decode = parser.add_mutually_exclusive_group()
    decode.add_argument("--all", action="store_true", help="decode every file")
    decode.add_argument(
        "--sample",
        type=positive_int,
        default=200,
        metavar="N",
        help="decode so many files (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="which sample")
    parser.add_argument("--workers", type=positive_int, metavar="N", help="processes that decode")
    parser.add_argument(
        "--time-limit",
        type=positive_float,
        default=30.0,
        metavar="S",
        help="seconds for one file (default: %(default)g)",
    )
    parser.add_argument(
        "--min-frames",
        type=positive_int,
        default=8,
        metavar="N",
        help="fewest frames of a usable video (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens",
        type=positive_int,
        default=4096,
        metavar="N",
        help="longest conversation, visual tokens included (default: %(default)s)",
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="where the data lies")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, write the reports, print the figures; 1 if any entry cannot be used."""
    from mobile_videogpt.training.data.check import check_data
    from mobile_videogpt.training.data.check_report import build_report, write_report
    from mobile_videogpt.training.data.cleaned import output_folder, write_cleaned

    folder = args.output or output_folder(args.config)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; --output must be a folder, existing or not")
    if args.seed < 0:
        raise ValueError(f"--seed is {args.seed}; give 0 or more")
    if not args.config.is_file():
        raise ValueError(f"no such mixture or annotation file: {args.config}")
    folder.mkdir(parents=True, exist_ok=True)
    with progress_of_files() as on_progress:
        result = check_data(
            args.config,
            _options(args),
            root=args.root,
            memory=folder / "probes.jsonl",
            on_progress=on_progress,
        )
    report = build_report(result, write_cleaned(result, folder))
    write_report(result, report, folder)
    if args.json:
        answer_json(report)
    else:
        _print(report, folder)
    if result.problems:
        say(_verdict(report))
    return 1 if result.problems else 0


def _options(args: argparse.Namespace) -> CheckOptions:
    from mobile_videogpt.training.data.check import CheckOptions
    from mobile_videogpt.training.data.text_checks import TokenBudget

    return CheckOptions(
        sample=None if args.all else args.sample,
        seed=args.seed,
        workers=args.workers,
        time_limit_s=args.time_limit,
        min_frames=args.min_frames,
        budget=TokenBudget(limit=args.max_tokens),
    )


def _print(report: dict[str, Any], folder: Path) -> None:
    names = ("entries", "usable", "files", "missing", "decoded", "failed")
    rows = [(name, f"{report[name]:,}") for name in names]
    for group in ("found", "worth_knowing"):
        mark = "" if group == "found" else " (kept)"
        for kind, findings in report[group].items():
            rows.append((f"{kind.replace('_', ' ')}{mark}", f"{len(findings):,}"))
    table(rows)
    answer(str(folder / "report.html"))
    if report["cleaned"]:
        answer(report["cleaned"])


def _verdict(report: dict[str, Any]) -> str:
    unusable = report["entries"] - report["usable"]
    if not unusable:
        return f"{report['problems']} of the annotation files cannot be read"
    return f"{unusable} of {report['entries']} entries cannot be used"


@contextmanager
def progress_of_files() -> Iterator[Progress]:
    """Files done of files to do, on stderr: a bar on a terminal, now and then a line elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("decoding", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Progress for logs: nothing in the first seconds, then a line every ten."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._last >= _LINE_EVERY_S:
            self._last = time.monotonic()
            say(f"decoded {done} of {total} files")
