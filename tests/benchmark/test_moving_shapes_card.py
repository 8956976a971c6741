"""The card of the MovingShapes test set shows the set and what was recorded, and nothing else."""

import json
import re
from pathlib import Path

from mobile_videogpt.synthetic import test_set
from mobile_videogpt.synthetic.questions import FAMILIES

ROOT = Path(__file__).parents[2]
CARD = (ROOT / "docs" / "moving-shapes.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results"


def test_the_card_describes_the_set():
    about = test_set.about_set()
    facts = dict(re.findall(r"^\| ([\w-]+(?: \w+)?) \| (.+) \|$", CARD, flags=re.MULTILINE))
    assert facts["Version"] == str(test_set.VERSION)
    assert f"`{test_set.SHA256}`" in facts["SHA-256"]
    assert facts["Questions"].startswith(
        f"{about['questions']:,} multiple choice: {test_set.PER_FAMILY} of each of {len(FAMILIES)}"
    )
    assert facts["Clips"].startswith(f"{about['clips']} of four seconds: {about['frames']} frames")
    assert f"seed {test_set.SEED}" in facts["Drawn from"]


def test_the_example_row_is_the_first_of_the_set():
    (shown,) = re.findall(r"```json\n(.*?)\n```", CARD, flags=re.DOTALL)
    assert json.loads(shown) == test_set.draw_questions()[0].row()


def test_the_recorded_run_is_of_this_version_and_complete():
    report = json.loads((RESULTS / "moving-shapes-test.json").read_text(encoding="utf-8"))
    (benchmark,) = report["benchmarks"]
    assert benchmark["overall"]["questions"] == len(test_set.draw_questions())
    assert benchmark["title"].endswith(f"version {test_set.VERSION}")
    assert report["run"]["model"] == "moving-shapes"


def test_both_harnesses_gave_the_same_answers():
    report = json.loads((RESULTS / "lmms-eval.json").read_text(encoding="utf-8"))
    assert set(report["runs"]) == {"chat", "simple", "likelihood"}
    for run in report["runs"].values():
        assert run["questions"] == run["same_answers"] == len(test_set.draw_questions())
        assert run["lmms_eval_accuracy"] == run["mobile_videogpt_accuracy"]
        assert not run["differing"]
