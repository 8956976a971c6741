"""Put the recorded runs of the MovingShapes test set into its card, between the markers.

    python benchmarks/moving_shapes_card.py [--check]

Reads benchmarks/results/moving-shapes-test.json and lmms-eval.json and fills in
docs/moving-shapes.md and docs/evaluation.md. With --check nothing is written: the exit code says
whether the pages show what was recorded.
"""

import sys

from page_tables import main, recorded

from mobile_videogpt.synthetic.test_set import FixedQuestion, draw_questions


def families() -> str:
    """What is asked in each family, beside the baselines and the built-in model."""
    report = recorded("moving-shapes-test.json")
    (benchmark,) = report["benchmarks"]
    first: dict[str, FixedQuestion] = {}
    for fixed in draw_questions():
        first.setdefault(fixed.question.family, fixed)
    lines = [
        "| Family | For example | Chance | Most frequent | Blind | Built-in model |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in benchmark["sub_tasks"]:
        question = first[row["name"]].question
        lines.append(f"| {row['name']} | {question.text} ({question.answer}) | {_cells(row)} |")
    lines.append(f"| **all** | | {_cells(benchmark['overall'])} |")
    return "\n".join([*lines, "", f"Percent, with 95 % intervals; {origin(report)}"]) + "\n"


def harnesses() -> str:
    """The same questions through both harnesses."""
    report = recorded("lmms-eval.json")
    lines = [
        "| Slot | Answers | Questions | lmms-eval | `mobile-videogpt eval` | Same answers |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, run in report["runs"].items():
        slot = "chat" if name == "chat" else "simple (`--force_simple`)"
        answers = "written" if run["answer_by"] == "generation" else "by likelihood"
        lines.append(
            f"| {slot} | {answers} | {run['questions']} | {run['lmms_eval_accuracy']:.2f} "
            f"| {run['mobile_videogpt_accuracy']:.2f} | {run['same_answers']} |"
        )
    theirs = report["lmms_eval_environment"]
    beside = (
        f"lmms-eval {theirs['lmms_eval']} with PyAV {theirs['av']} beside ours with PyAV "
        f"{report['own_av']}; {origin(report)}"
    )
    return "\n".join([*lines, "", beside]) + "\n"


def origin(report: dict) -> str:
    """Which commit, and when."""
    return f"commit {report['commit']}, {report['date']}."


PAGES = {
    "docs/moving-shapes.md": {"families": families},
    "docs/evaluation.md": {"harnesses": harnesses},
}


def _cells(row: dict) -> str:
    low, high = row["interval"]["low"], row["interval"]["high"]
    plain = (f"{100 * row[name]:.1f}" for name in ("chance", "majority", "blind"))
    accuracy = f"{100 * row['accuracy']:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    return " | ".join([*plain, accuracy])


if __name__ == "__main__":
    sys.exit(main(PAGES, __doc__))
