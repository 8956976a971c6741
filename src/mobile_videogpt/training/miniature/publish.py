"""Put a finished run into the package.

    python -m mobile_videogpt.training.miniature.publish RECIPE REPORT [RECORD]

REPORT is what `mobile-videogpt eval moving-shapes --model RUN/model --output REPORT` wrote; the
model card is made from it and from what every stage measured. RECORD, if given, is where the
seconds, measures and thinned loss curve of every stage are written as JSON.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from ..files import write_json
from ..recipe import Recipe, load_recipe

ASSETS = Path(__file__).parents[2] / "assets" / "moving-shapes"
CARD = """---
license: apache-2.0
library_name: mobile-videogpt
pipeline_tag: video-text-to-text
---
# moving-shapes, the built-in miniature

A complete Mobile-VideoGPT of {parameters:.2f} million parameters, trained from nothing on two CPU
cores by `mobile-videogpt train {recipe}` (seed {seed}, commit {commit}). It knows MovingShapes
clips, a synthetic world, and nothing else: it shows that the package works, and it is no guide to
the released models.

## Accuracy on unseen clips
`mobile-videogpt eval moving-shapes --seed {report_seed}`: {questions}
questions, {from_files} of them through mp4 files. Multiple choice is scored on the letter of the
likeliest option, open answers on exact match; blind is the same model on a black clip.

| family | multiple choice | open | chance | majority | blind | questions |
| --- | --- | --- | --- | --- | --- | --- |
{rows}
| **mean** | **{choice:.1%}** | **{open:.1%}** | | | | |

## Recipe
Stage 0 is ours (no public encoders or language models of this size exist); stages 1 to 3 are the
paper's. Training and test share no clip; {held_out} colour-shape pairs appear in the test only.

| stage | follows | steps | batch | rate | seconds | measured on unseen clips |
| --- | --- | --- | --- | --- | --- | --- |
{stages}

## What it cannot do
- Anything but these clips: no photographs, no free conversation; it knows {vocabulary} words.
- Write option letters: give the options and let the likeliest one be chosen (`ask --option`).
- More than four objects, more than three bounces, clips whose events fall between its frames.
- {weakest}
"""


def publish(recipe: Recipe, report: dict[str, Any], assets: Path = ASSETS) -> Path:
    """Copy the run's model over the package's built-in one, with its card; returns the folder."""
    source = recipe.output / "model"
    partial = assets.with_name(assets.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    shutil.copytree(source, partial)
    (partial / "README.md").write_text(model_card(recipe, report), encoding="utf-8")
    if assets.exists():
        shutil.rmtree(assets)
    partial.rename(assets)
    return assets


def model_card(recipe: Recipe, report: dict[str, Any]) -> str:
    """The card's text, every figure from the run's own files or the report."""
    from safetensors import safe_open

    from ...synthetic.vocabulary import WORDS
    from ...synthetic.world import HELD_OUT

    with safe_open(recipe.output / "model" / "model.safetensors", "pt") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    families = report["families"]
    worst = min(families, key=lambda name: families[name]["open"])
    return CARD.format(
        parameters=sum(_size(shape) for shape in shapes) / 1e6,
        recipe=recipe.path,
        seed=recipe.seed,
        commit=_start(recipe)["commit"],
        report_seed=report["seed"],
        questions=report["questions"],
        from_files=report["questions_from_files"],
        rows="\n".join(_family_row(name, row) for name, row in families.items()),
        choice=report["multiple_choice_accuracy"],
        open=report["open_accuracy"],
        held_out=len(HELD_OUT),
        stages="\n".join(_stage_row(recipe, name) for name in recipe.stages()),
        vocabulary=len(WORDS),
        weakest=f"Its weakest family is {worst.replace('_', ' ')}: "
        f"{families[worst]['open']:.0%} of the open answers are right.",
    )


def run_record(recipe: Recipe, points: int = 30) -> dict[str, Any]:
    """Seconds, measures and about `points` (step, loss) pairs of every stage of a finished run."""
    stages = {}
    for stage in recipe.stages():
        folder = recipe.output / stage.name
        history = json.loads((folder / "history.json").read_text())
        losses = [[entry["step"], round(entry["loss"], 4)] for entry in history if "loss" in entry]
        done = json.loads((folder / "done.json").read_text())
        stages[stage.name] = {**done, "loss": losses[:: max(len(losses) // points, 1)]}
    return {**_start(recipe), "stages": stages}


def _start(recipe: Recipe) -> dict[str, Any]:
    noted: dict[str, Any] = json.loads((recipe.output / "run.json").read_text())
    return noted


def _size(shape: list[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


def _family_row(name: str, row: dict[str, Any]) -> str:
    shares = ("multiple_choice", "open", "chance", "majority", "blind")
    cells = " | ".join(f"{row[key]:.1%}" for key in shares)
    return f"| {name.replace('_', ' ')} | {cells} | {row['n']} |"


def _stage_row(recipe: Recipe, stage: Any) -> str:
    done = json.loads((recipe.output / stage.name / "done.json").read_text())
    shown = (
        list(done["measures"].items())[:4]
        if stage.kind.startswith("dense")
        else [("accuracy", done["measures"]["accuracy"])]
    )
    measured = ", ".join(f"{name} {value:.3f}" for name, value in shown)
    return (
        f"| {stage.name} | {stage.source} | {stage.steps} | {stage.batch_size} | "
        f"{stage.learning_rate:g} | {done['seconds']:.0f} | {measured} |"
    )


def main(arguments: list[str]) -> int:
    """RECIPE REPORT [RECORD]; returns the exit code."""
    recipe = load_recipe(arguments[0])
    folder = publish(recipe, json.loads(Path(arguments[1]).read_text()))
    for path in arguments[2:]:
        write_json(Path(path), run_record(recipe), indent=1)
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
