"""What the subcommands write, and where: answers to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def say(message: str) -> None:
    """One line on stderr."""
    print(f"mobile-videogpt: {message}", file=sys.stderr, flush=True)


def answer(text: str, end: str = "\n") -> None:
    """Text on stdout, shown at once."""
    # One write: a reader that leaves after the last line (`| head -1`) must not see two.
    sys.stdout.write(f"{text}{end}")
    sys.stdout.flush()


def answer_json(document: Any) -> None:
    """One JSON document on stdout."""
    answer(to_json(document, indent=2))


def to_json(document: Any, indent: int | None = None) -> str:
    """JSON text; unicode stays readable, NaN is refused because no other parser reads it."""
    return json.dumps(document, ensure_ascii=False, indent=indent, allow_nan=False)


def add_timings(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """Seconds per part of two calls together, to the microsecond."""
    return {part: round(first[part] + second[part], 6) for part in first}


class LogLines(logging.Handler):
    """Log records as lines on stderr, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record."""
        try:
            say(self.format(record))
        except Exception:
            self.handleError(record)


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Yield `items` with a progress bar on stderr, shown only on a terminal.

    None either where stdout is a terminal too: there the answers themselves show the progress.
    """
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import Progress

    # rich would send to its own console, stderr, what is meant for stdout.
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        yield from bar.track(items, total=total, description=label)


@contextmanager
def status(label: str) -> Iterator[None]:
    """Show that something is going on, on stderr, only on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield


def table(rows: Iterable[tuple[str, str]], title: str | None = None) -> None:
    """Two columns on stdout: coloured on a terminal, plain `name  value` lines elsewhere."""
    rows = list(rows)
    if not sys.stdout.isatty():
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            answer(f"{name:<{width}}  {value}".rstrip())
        return
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, show_header=False, box=None, padding=(0, 2, 0, 0))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in rows:
        # Values are text, not rich's markup: a path may hold brackets.
        grid.add_row(_plain(name), _plain(value))
    Console().print(grid)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)
