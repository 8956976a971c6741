"""Fine-tune the built-in model on a motion that it does not know, and measure what that changed.

    python examples/finetune/proof.py OUT > report.json

Makes the clips (`zigzag.py`) and old ones to replay, asks the built-in model about both, runs
`mobile-videogpt finetune`, and asks the result the same. What an earlier start finished is not done
again. Ten minutes on two cores for the fine-tuning, a few more for the questions.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

from zigzag import TEST, TRAIN, write_split

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.evaluation.moving_shapes import evaluate
from mobile_videogpt.synthetic import write_dataset

BUILT_IN = "moving-shapes"
REPLAYED_CLIPS, REPLAY_SEED = 200, 17  # the built-in model's own clips are those of seed 0
EVAL_SEED = 7
CHOICES = ["--epochs", "4"]


def measure(model: str, table: Path) -> dict:
    """Share of the answers that are exactly right, all and by kind of question, beside chance."""
    chat = VideoChat(model, max_open_videos=1)
    right: dict[str, list[bool]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            said = str(chat.ask(table.parent / row["video"], row["question"], max_new_tokens=8))
            kind = row["question"].split()[1]  # color, shape or object
            for key in (kind, "all"):
                right[key].append(said.strip() == row["answer"])
                chance[key].append(float(row["chance"]))
    return {
        key: {
            "accuracy": sum(right[key]) / len(right[key]),
            "chance": sum(chance[key]) / len(chance[key]),
            "questions": len(right[key]),
        }
        for key in right
    }


def old_families(model: str, limit: int | None) -> dict:
    """What `mobile-videogpt eval moving-shapes` says, without the extras."""
    report = evaluate(model, seed=EVAL_SEED, limit=limit)
    families = {name: row["open"] for name, row in report["families"].items()}
    keys = ("multiple_choice_accuracy", "open_accuracy", "questions")
    return {**{key: report[key] for key in keys}, "open": families}


def once(path: Path, make) -> dict:
    """A finished part from its file, or made now and kept there."""
    if not path.exists():
        path.write_text(json.dumps(make()), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def finetune(out: Path, model: str, choices: list[str]) -> dict:
    """The command, as a user would type it; its JSON and how long it took."""
    command = [sys.executable, "-m", "mobile_videogpt", "finetune", "--json", "--model", model]
    command += ["--data", str(out / "train.csv"), "--replay", str(out / "old" / "annotations.json")]
    command += ["--output", str(out / "run"), *choices]
    begun = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {**json.loads(done.stdout), "seconds": round(time.monotonic() - begun, 1)}


def prove(
    out: Path,
    model: str = BUILT_IN,
    *,
    train: int = TRAIN,
    test: int = TEST,
    limit: int | None = None,
    choices: list[str] = CHOICES,
) -> dict:
    """Everything, as one document; `limit` is of the questions about old families."""
    out.mkdir(parents=True, exist_ok=True)
    write_split(out, "train", train)
    table = write_split(out, "test", test)
    write_dataset(out / "old", REPLAYED_CLIPS * train // TRAIN, seed=REPLAY_SEED)
    report: dict = {"clips": train, "test_clips": test, "choices": choices, "before": {}}
    report["before"] = once(out / "before.json", lambda: asked(model, table, limit))
    report["finetune"] = once(out / "finetune.json", lambda: finetune(out, model, choices))
    tuned = str(out / "run" / "model")
    report["after"] = once(out / "after.json", lambda: asked(tuned, table, limit))
    before, after = (report[when]["old"] for when in ("before", "after"))
    report["lost_points"] = {
        key: 100 * (before[key] - after[key])
        for key in ("multiple_choice_accuracy", "open_accuracy")
    }
    return report


def asked(model: str, table: Path, limit: int | None) -> dict:
    """The new concept and the old families."""
    return {"zigzag": measure(model, table), "old": old_families(model, limit)}


def main() -> None:
    """Prove and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--model", default=BUILT_IN)
    parser.add_argument("--train", type=int, default=TRAIN, metavar="N", help="clips")
    parser.add_argument("--test", type=int, default=TEST, metavar="N", help="clips")
    parser.add_argument("--limit", type=int, metavar="N", help="questions about old families")
    options = parser.parse_args()
    report = prove(
        options.out, options.model, train=options.train, test=options.test, limit=options.limit
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
