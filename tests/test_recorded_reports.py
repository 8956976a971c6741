"""The reports in the repository say what the recorded results beside them say."""

import json
import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
FOLDER = RESULTS / "moving-shapes-report"


@pytest.fixture(scope="module")
def report() -> dict:
    return json.loads((FOLDER / "report.json").read_text(encoding="utf-8"))


def test_the_report_of_the_built_in_model_agrees_with_the_front_page(report):
    recorded = json.loads((RESULTS / "moving-shapes.json").read_text(encoding="utf-8"))
    by_name = {benchmark["name"]: benchmark for benchmark in report["benchmarks"]}
    for name, key in (("moving-shapes", "multiple_choice"), ("moving-shapes-open", "open")):
        rows = {row["name"]: row for row in by_name[name]["sub_tasks"]}
        for family, figures in recorded["families"].items():
            assert rows[family]["questions"] == figures["n"]
            assert rows[family]["accuracy"] == pytest.approx(figures[key])
        assert by_name[name]["overall"]["accuracy"] == pytest.approx(recorded[f"{key}_accuracy"])


def test_the_report_says_how_it_was_made(report):
    for key in ("command", "commit", "versions", "machine", "date"):
        assert report[key], key
    assert "+changes" not in report["commit"]


def test_text_and_page_show_the_figures_of_the_document(report):
    text = (FOLDER / "report.md").read_text(encoding="utf-8")
    page = (FOLDER / "report.html").read_text(encoding="utf-8")
    for benchmark in report["benchmarks"]:
        for row in [benchmark["overall"], *benchmark["sub_tasks"]]:
            shown = f"{100 * row['accuracy']:.1f}"
            assert re.search(rf"\|\W*{shown}\W*\|", text) and f"<td>{shown}</td>" in page


def test_every_picture_of_the_report_is_in_the_repository(report):
    names = [picture["file"] for picture in report["pictures"]]
    names += [sample["picture"] for sample in report["samples"]]
    assert names and all((FOLDER / name).is_file() for name in names)


def test_the_documented_comparison_is_the_recorded_one(capsys):
    from mobile_videogpt.cli.evaluate.compare import print_comparison

    path = RESULTS / "compare-merged-tokens.json"
    print_comparison(json.loads(path.read_text(encoding="utf-8")))
    printed = capsys.readouterr().out
    page = (RESULTS.parent.parent / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```text\n(MovingShapes.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert block in printed
