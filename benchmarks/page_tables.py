"""Tables between markers in the documents, made from what was recorded.

A document says where a table stands, with `<!-- begin NAME -->` and `<!-- end NAME -->` on lines of
their own. A script of this folder that makes tables names them in its `PAGES` and ends in

    sys.exit(main(PAGES, __doc__))

Run plainly it then fills in its pages; with `--check` nothing is written, and the exit code says
whether the pages show what was recorded.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

# Name of a table in its page -> its text, which ends with its last line's end.
Tables = Mapping[str, Callable[[], str]]
# Path of a page below the checkout -> what is filled in there.
Pages = Mapping[str, Tables]


def recorded(name: str) -> dict[str, Any]:
    """What `record.py`, or a command that says as much, has written under this name."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def main(pages: Pages, about: str | None) -> int:
    """The command line of a script that does nothing else; returns its exit code."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n\n")[0])
    add_check_option(parser)
    return show(pages, check=parser.parse_args().check)


def add_check_option(parser: argparse.ArgumentParser) -> None:
    """`--check`, wherever tables are filled in."""
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where a page is stale"
    )


def show(pages: Pages, *, check: bool = False, root: Path = ROOT) -> int:
    """Fill in every page, or only say which ones are stale; returns an exit code.

    Raises:
        ValueError: a page does not say where one of its tables stands.
    """
    stale = []
    for name, tables in pages.items():
        path = root / name
        text = path.read_text(encoding="utf-8")
        wanted = filled(text, tables)
        if wanted != text:
            stale.append(name)
            if not check:
                path.write_text(wanted, encoding="utf-8")
    if stale:
        print("stale:" if check else "changed:", ", ".join(stale))
    return int(check and bool(stale))


def filled(text: str, tables: Tables) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: a table has no place in the page, or more than one.
    """
    for name, make in tables.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, _, rest = text.partition(begin)
        if begin in rest or rest.count(end) != 1:
            raise ValueError(
                f"the page must hold {begin.strip()!r} and, below it, {end!r}, once each."
            )
        text = f"{before}{begin}{make()}{end}{rest.partition(end)[2]}"
    return text
