"""`mobile-videogpt ablate`: the paper's Table 3 in miniature."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.arguments import positive_int, quiet_libraries
from mobile_videogpt.cli.failures import needing
from mobile_videogpt.cli.output import answer, answer_json
from mobile_videogpt.files import write_atomically, write_json
from mobile_videogpt.provenance import package_commit

if TYPE_CHECKING:
    from mobile_videogpt.training.ablation.plan import Ablation

TIMED_ROUNDS = 25
PROBED_CLIPS = 1000

logger = logging.getLogger(__name__)


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `ablate`."""
    parser = subparsers.add_parser(
        "ablate",
        parents=parents,
        help="train and compare variants of the miniature, as in the paper's Table 3",
        description="Train every variant of an ablation from the same first stage, with every "
        "seed; score and time them; ask which frames selection keeps. Leaves results.json, "
        "table.md, ablations.png and selection.png in the ablation's output folder and prints the "
        "table. Started again, an ablation that was stopped goes on where it was.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="configs/ablations.yaml")
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=2,
        metavar="N",
        help="runs at a time, one thread each (default: %(default)s)",
    )
    parser.add_argument(
        "--report", action="store_true", help="train nothing: report the runs that are there"
    )
    parser.add_argument(
        "--measure-again", action="store_true", help="repeat the timing and the probe of selection"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, score, time, probe; then write and print what came out."""
    if not args.config.is_file():
        raise ValueError(f"no such ablation: {args.config}; see configs/ablations.yaml")
    logging.getLogger("mobile_videogpt").setLevel(logging.INFO)  # hours pass: say what goes on
    with needing("train,eval", "an ablation", debug=args.debug):
        quiet_libraries(args.debug)
        results = _results(args)
    if args.json:
        answer_json(results)
    else:
        from mobile_videogpt.evaluation.ablation.table import render_table

        answer(render_table(results), end="")
    return 0


def _results(args: argparse.Namespace) -> dict[str, Any]:
    from mobile_videogpt.evaluation.ablation.summary import summarise
    from mobile_videogpt.training.ablation.plan import load_ablation
    from mobile_videogpt.training.ablation.run import train_all

    ablation = load_ablation(args.config)
    if not args.report:
        train_all(ablation, args.workers)
    runs = _answers(ablation)
    if not any(runs.values()):
        raise ValueError(f"no run of {args.config} is done yet; leave --report out")
    results = {
        "variants": summarise(runs),
        "visual_tokens": {name: _visual_tokens(ablation, name) for name in runs},
        "settings": {name: dict(fields) for name, fields in ablation.variants.items()},
        "training": _training(ablation),
        "speed": _once(ablation.output / "speed.json", args, lambda: _time(ablation)),
        "selection": _once(ablation.output / "selection.json", args, lambda: _probe(ablation)),
        **_origin(ablation),
    }
    _write(ablation.output, results)
    return results


def _answers(ablation: Ablation) -> dict[str, dict[int, list[dict[str, Any]]]]:
    """Variant -> seed -> the answers of that run, where it is done."""
    runs: dict[str, dict[int, list[dict[str, Any]]]] = {name: {} for name in ablation.variants}
    for variant, seeds in runs.items():
        for seed in ablation.seeds:
            path = ablation.folder(variant, seed) / "answers.json"
            if path.exists():
                seeds[seed] = json.loads(path.read_text(encoding="utf-8"))
    return runs


def _visual_tokens(ablation: Ablation, variant: str) -> int:
    return ablation.recipe(variant, ablation.seeds[0]).config().num_visual_tokens


def _training(ablation: Ablation) -> dict[str, Any]:
    """What all runs have in common, and the seconds of each, stage by stage."""
    seconds: dict[str, list[dict[str, float]]] = {}
    for variant in ablation.variants:
        for seed in ablation.seeds:
            folders = sorted(ablation.folder(variant, seed).glob("*/done.json"))
            stages = {p.parent.name: json.loads(p.read_text())["seconds"] for p in folders}
            seconds.setdefault(variant, []).append({k: round(v, 1) for k, v in stages.items()})
    stages = {
        stage.name: {"steps": stage.steps, "batch_size": stage.batch_size}
        for stage in ablation.stages
    }
    return {
        "train_clips": ablation.train_clips,
        "test_clips": ablation.test_clips,
        "stages": stages,
        "seconds": seconds,
    }


def _once(path: Path, args: argparse.Namespace, measure: Any) -> Any:
    """What `measure` returned when it was first asked; asked anew with --measure-again."""
    if args.measure_again or not path.exists():
        write_json(path, measure(), indent=1)
    return json.loads(path.read_text(encoding="utf-8"))


def _time(ablation: Ablation) -> dict[str, dict[str, float]]:
    """Speed does not depend on the seed: the first one's model of every variant, on one thread."""
    import torch

    from mobile_videogpt.benchmark.variants import time_variants

    folders = {
        name: ablation.folder(name, ablation.seeds[0]) / "model" for name in ablation.variants
    }
    torch.set_num_threads(1)
    there = {name: folder for name, folder in folders.items() if folder.exists()}
    return time_variants(
        there, TIMED_ROUNDS, lambda number: logger.info("timed: %d of %d", number, TIMED_ROUNDS)
    )


def _probe(ablation: Ablation) -> dict[str, Any]:
    """All variants have the same image encoder: any of them scores the frames."""
    from mobile_videogpt.chat import VideoChat
    from mobile_videogpt.evaluation.ablation.selection import probe_selection

    folder = ablation.folder("dual", ablation.seeds[0]) / "model"
    if not folder.exists():
        raise ValueError(f"the probe of selection needs the variant 'dual' in {ablation.path}")
    return probe_selection(VideoChat(str(folder), device="cpu", engine="torch"), PROBED_CLIPS)


def _origin(ablation: Ablation) -> dict[str, Any]:
    """What the runs were started with, from `run.json`, and the commit that reports them."""
    noted: dict[str, Any] = json.loads((ablation.output / "run.json").read_text(encoding="utf-8"))
    return {**noted, "reported_by": package_commit()}


def _write(output: Path, results: dict[str, Any]) -> None:
    from mobile_videogpt.evaluation.ablation.figure import draw_ablation
    from mobile_videogpt.evaluation.ablation.selection import render_recall
    from mobile_videogpt.evaluation.ablation.selection_figure import draw_selection
    from mobile_videogpt.evaluation.ablation.table import render_differences, render_table

    write_json(output / "results.json", results, indent=1)
    tables = (
        render_table(results),
        render_differences(results),
        render_recall(results["selection"]),
    )
    write_atomically(output / "table.md", "\n".join(tables).encode())
    write_atomically(output / "ablations.png", draw_ablation(results))
    write_atomically(output / "selection.png", draw_selection(results["selection"]))
