"""Tabulate in docs/watch.md what watch_ten_minutes.py measured.

    python benchmarks/watch_table.py [--check]

Reads benchmarks/results/watch-ten-minutes.json. With --check nothing is written: the exit code says
whether the page's table shows what was recorded.
"""

import sys
from typing import Any

from page_tables import main, recorded


def table() -> str:
    """The recorded run as a table."""
    run = recorded("watch-ten-minutes.json")
    rows = {
        "Watched": f"{run['seconds_watched']:g} s of a pretend camera that was cut and came back "
        f"{run['events']['connected'] - 1} times",
        "Windows": f"{run['windows']} of {run['window_s']} s; {triggers(run)}",
        "Moving objects counted right": share(
            run["moving_counted_right"], run["windows_within_a_clip"]
        ),
        "Objects named that were in the window": share(
            run["objects_named"]["named_and_shown"], run["objects_named"]["named"]
        ),
        "Frames encoded per window": f"{run['frames_encoded_per_window']} of 16",
        "Behind": f"{run['lag_s']['median']:.2f} s at the median, nine answers in ten at most "
        f"{run['lag_s']['nine_of_ten']:.2f} s, all at most {run['lag_s']['most']:.2f} s",
        "Memory by minute": f"{', '.join(f'{mb:.0f}' for mb in run['rss_mb_by_minute'])} MB",
    }
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
    machine = run["machine"]
    origin = f"commit {run['commit']}, {run['date']}, {machine['cores']} cores of {machine['cpu']}"
    return "\n".join([*lines, "", f"Built-in model, {origin}.", ""])


def triggers(run: dict[str, Any]) -> str:
    """How many windows each occasion made."""
    names = {"interval": "on the clock", "change": "on a change of the scene", "end": "at the end"}
    return ", ".join(f"{count} {names[name]}" for name, count in sorted(run["triggers"].items()))


def share(part: int, whole: int) -> str:
    """A part of a whole, as both and in percent."""
    return f"{part} of {whole} ({100 * part / whole:.0f} %)"


PAGES = {"docs/watch.md": {"watch": table}}

if __name__ == "__main__":
    sys.exit(main(PAGES, __doc__))
