"""Tabulate in docs/deployment.md what serving_footprint.py measured.

    python benchmarks/footprint_table.py [--check]

Reads benchmarks/results/serving-footprint.json. With --check nothing is written: the exit code says
whether the page's table shows what was recorded.
"""

import sys

from page_tables import main, recorded


def table() -> str:
    """A row for each model, and what it was measured on."""
    document = recorded("serving-footprint.json")
    lines = [
        "| Model | Start to healthy | Memory at rest | After the first answer | One decoder |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in document["models"]:
        found = row["median"]
        memory = ("rss_at_rest_mb", "rss_after_answer_mb", "rss_of_decoders_mb")
        cells = [row["model"], f"{found['healthy_s']:.1f} s"]
        cells += [f"{found[key]:,.0f} MB" for key in memory]
        lines.append(f"| {' | '.join(cells)} |")
    starts = len(document["models"][0]["starts"])
    lines += [
        "",
        f"{document['machine']['cpu']}, {document['machine']['cores']} cores; commit "
        f"{document['commit']}, {document['date']}; resident memory, medians of {starts} starts "
        "(`benchmarks/results/serving-footprint.json`).",
    ]
    return "\n".join(lines) + "\n"


PAGES = {"docs/deployment.md": {"footprint": table}}

if __name__ == "__main__":
    sys.exit(main(PAGES, __doc__))
