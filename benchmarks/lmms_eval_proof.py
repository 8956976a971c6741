"""The same questions through lmms-eval and through `mobile-videogpt eval`: are the scores the same?

    python benchmarks/record.py benchmarks/results/lmms-eval.json -- \\
        python benchmarks/lmms_eval_proof.py OUT

Makes an environment for lmms-eval in OUT (it asks for an older PyAV than this project is tested
with), writes the MovingShapes test set, runs the harness's own command line with the built-in
model (its chat slot, its simple slot, and likelihoods), asks the same with this package in the
environment at hand, and compares every answer. Ten minutes on two cores, most of it installing.
What an earlier start has finished is not done again.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODEL = "moving-shapes"
TASK = "moving-shapes-test"
# What decides a score: their versions in the harness's environment go into the record.
PACKAGES = ("lmms_eval", "torch", "transformers", "av", "pillow", "numpy", "datasets")


@dataclass(frozen=True)
class Case:
    """One way of asking: what the harness is told, and what `mobile-videogpt eval` is told."""

    name: str
    task: str
    answer_by: str
    options: tuple[str, ...] = ()


CASES = (
    Case("chat", "moving_shapes_test", "generation"),
    Case("simple", "moving_shapes_test", "generation", ("--force_simple",)),
    # The harness asks likelihoods of the simple slot only.
    Case("likelihood", "moving_shapes_test_likelihood", "likelihood", ("--force_simple",)),
)


def main() -> int:
    """Print the comparison as JSON; 1 when any answer differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--python", type=Path, help="an environment that has lmms-eval already")
    parser.add_argument("--limit", type=int, help="the first so many questions only")
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    python = args.python or make_environment(out / "venv")
    call(
        [
            sys.executable,
            "-m",
            "mobile_videogpt",
            "data",
            "moving-shapes",
            out / "set",
            "--test-set",
        ]
    )
    runs = {case.name: compare(case, out, python, args.limit) for case in CASES}
    print(json.dumps({"model": MODEL, **environment(python), "runs": runs}, indent=2))
    return 0 if all(run["same_answers"] == run["questions"] for run in runs.values()) else 1


def make_environment(folder: Path) -> Path:
    """An environment with lmms-eval and this package, at this project's versions but for PyAV's."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        pins = folder / "constraints.txt"
        pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        pins.write_text("\n".join(p for p in pinned if not p.startswith("av==")), encoding="utf-8")
        install = [python, "-m", "pip", "install", "--quiet", "-c", pins]
        # First, so that the CPU build at hand is kept where there is one.
        call([*install, "torch"])
        call([*install, "-e", f"{ROOT}[lmms-eval]"])
        if is_broken(python, "torchvision"):
            # Its wheels for CUDA do not load beside a CPU build of torch; nothing here needs it.
            call([python, "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"])
        (folder / "complete").touch()
    return python


def is_broken(python: Path, module: str) -> bool:
    """Whether a module cannot be imported."""
    done = subprocess.run([python, "-c", f"import {module}"], capture_output=True)
    return done.returncode != 0


def compare(case: Case, out: Path, python: Path, limit: int | None) -> dict:
    """Both harnesses' answers to the same questions, one by one."""
    theirs, their_value = run_lmms_eval(case, out, python, limit)
    ours, our_value = run_own(case, out, limit)
    assert theirs.keys() == ours.keys(), "not the same questions"
    differing = [name for name in ours if ours[name] != theirs[name]]
    return {
        "lmms_eval_task": case.task,
        "answer_by": case.answer_by,
        "questions": len(ours),
        "lmms_eval_accuracy": their_value,
        "mobile_videogpt_accuracy": our_value,
        "same_answers": len(ours) - len(differing),
        "differing": differing[:20],
    }


def run_lmms_eval(
    case: Case, out: Path, python: Path, limit: int | None
) -> tuple[dict[str, str | None], float]:
    """Predicted letters by question, and the accuracy, from the harness's own files."""
    folder = out / f"lmms-eval-{case.name}"
    if not list(folder.rglob("*_results.json")):
        command = [python, "-m", "lmms_eval", "eval", "--model", "mobile_videogpt"]
        command += ["--model_args", f"pretrained={MODEL},device=cpu", "--tasks", case.task]
        command += ["--include_path", out / "set" / "lmms_eval", "--output_path", folder]
        command += ["--log_samples", *case.options]
        command += ["--limit", str(limit)] if limit else []
        call(command, HF_HOME=str(out / "hf"), HF_HUB_OFFLINE="1")
    (results,) = folder.rglob("*_results.json")
    value = json.loads(results.read_text(encoding="utf-8"))["results"][case.task]["accuracy,none"]
    (samples,) = folder.rglob(f"*_samples_{case.task}.jsonl")
    records = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    return {r["accuracy"]["id"]: r["accuracy"]["prediction"] for r in records}, value


def run_own(case: Case, out: Path, limit: int | None) -> tuple[dict[str, str | None], float]:
    """The same from `mobile-videogpt eval`."""
    folder = out / f"own-{case.answer_by}"
    command = [sys.executable, "-m", "mobile_videogpt", "eval", TASK, "--model", MODEL]
    command += ["--device", "cpu", "--answer-by", case.answer_by, "--no-blind", "--json"]
    command += ["--output", folder]
    command += ["--limit", str(limit)] if limit else []
    report = json.loads(call(command))
    path = folder / TASK / "predictions.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {r["id"]: r["prediction"] for r in records}, value_of(report)


def value_of(report: dict) -> float:
    """The task's accuracy in a report."""
    (benchmark,) = report["benchmarks"]
    return benchmark["harness"]["value"]


def environment(python: Path) -> dict:
    """Versions in the harness's environment, and the versions that it insists on."""
    code = (
        "import json; from importlib.metadata import version, requires\n"
        f"print(json.dumps([{{p: version(p) for p in {PACKAGES!r}}}, requires('lmms_eval')]))"
    )
    versions, requirements = json.loads(call([python, "-c", code]))
    asked = {re.split(r"[<>=!~ ;\[]", r)[0].lower(): r for r in requirements if "extra ==" not in r}
    return {
        "lmms_eval_environment": versions,
        "its_pins": [r for r in asked.values() if re.search("==|<", r)],
        "own_av": metadata.version("av"),
    }


def call(command: list, **variables: str) -> str:
    """Run a command; its standard output. What it says besides goes to standard error."""
    words = [str(word) for word in command]
    print("$", *words, file=sys.stderr, flush=True)
    done = subprocess.run(
        words, env={**os.environ, **variables}, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
