"""Put the recorded scores of the built-in model into the front page, between the markers.

    python benchmarks/front_page.py [--check]

Reads benchmarks/results/moving-shapes.json. With --check nothing is written: the exit code says
whether README.md shows what was recorded.
"""

import sys

from page_tables import main, recorded


def scores() -> str:
    """A row per family of questions, and one for all."""
    results = recorded("moving-shapes.json")
    rows = [
        "| Family | Questions | Multiple choice | Open | Chance | Majority | Blind |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, family in sorted(results["families"].items()):
        keys = ("multiple_choice", "open", "chance", "majority", "blind")
        figures = " | ".join(percent(family.get(key)) for key in keys)
        rows.append(f"| {name.replace('_', ' ')} | {family['n']} | {figures} |")
    total = percent(results["multiple_choice_accuracy"]), percent(results["open_accuracy"])
    rows.append(f"| **all** | **{results['questions']}** | **{total[0]}** | **{total[1]}** | | | |")
    return "\n".join(rows) + "\n"


def percent(value: float | None) -> str:
    """A share; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f} %"


PAGES = {"README.md": {"moving-shapes": scores}}


if __name__ == "__main__":
    sys.exit(main(PAGES, __doc__))
