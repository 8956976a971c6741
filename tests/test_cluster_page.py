"""The tables of docs/cluster.md are what `info --training` says about the paper's recipes.

When the calculator or a recipe changes, the failing test prints the table to paste.
"""

import json
from argparse import Namespace
from functools import cache
from pathlib import Path

import pytest
import yaml

from mobile_videogpt.cli.training_estimate import estimate_training, size
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.training.planning.planned_run import PlannedRun

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("training-memory*.json"))
STAGES = {1: "stage1-image-projector", 2: "stage2-video-projector", 3: "stage3-instruct"}
# Text tokens of a sample (ours: a caption; a question with its answer), and the samples of stage 3
# that section 4.1 speaks of.
TEXT_TOKENS = {1: 64, 2: 64, 3: 192}
INSTRUCT_SAMPLES = 1_000_000
GPUS = ("a100-40gb", "h100-80gb")


@cache
def recipe(stage: int) -> dict:
    path = ROOT / "configs" / "paper" / f"{STAGES[stage]}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@cache
def estimate(model: str, stage: int, gpu: str, **changes: object) -> dict:
    """The calculator's report about a stage of the paper's recipe on 8 GPUs."""
    values = recipe(stage)
    arguments = {
        "stage": str(stage),
        "batch": values["batch_size"],
        "length": TEXT_TOKENS[stage],
        "media": None,
        "gpus": 8,
        "gpu": gpu,
        "strategy": "ddp",
        "dtype": "bfloat16",
        "gradient_checkpointing": values["gradient_checkpointing"],
        "lora_rank": values.get("lora_rank", 128),
        "lora_dropout": values.get("lora_dropout", 0.0),
        "samples": INSTRUCT_SAMPLES if stage == 3 else None,
        "epochs": values["epochs"],
        "tflops": None,
        "utilisation": 0.3,
        "loader_rate": None,
        **changes,
    }
    return estimate_training(model, MobileVideoGPTConfig.preset(model), Namespace(**arguments))


def gigabytes(report: dict) -> str:
    return f"{report['memory']['peak'] / 1e9:.1f} GB"


def duration(hours: float) -> str:
    return f"{60 * hours:.0f} min" if hours < 1 else f"{hours:.1f} h"


def stages_table() -> str:
    lines = [
        "| Model | Stage | Batch x tokens | Memory per GPU | 8 x A100 40 GB | 8 x H100 80 GB | "
        "Samples/s each GPU must get |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model in ("0.5b", "1.5b"):
        for stage in STAGES:
            reports = [estimate(model, stage, gpu) for gpu in GPUS]
            assert all(report["gpu"]["fits"] for report in reports)
            first = reports[0]
            rates = [f"{report['time']['samples_per_second'] / 8:.0f}" for report in reports]
            hours = [duration(report["time"]["hours"]) for report in reports]
            batch = f"{first['run']['batch_size']} x {first['sequence_length']}"
            lines.append(
                f"| {model} | {stage} | {batch} | {gigabytes(first)} | {' | '.join(hours)} | "
                f"{' / '.join(rates)} |"
            )
    return "\n".join(lines)


def strategies_table() -> str:
    lines = [
        "| Stage 3 of | Gradient checkpointing | ddp | zero2 | fsdp |",
        "| --- | --- | --- | --- | --- |",
    ]
    for model in ("0.5b", "1.5b"):
        for is_on in (True, False):
            reports = [
                estimate(model, 3, GPUS[1], strategy=strategy, gradient_checkpointing=is_on)
                for strategy in ("ddp", "zero2", "fsdp")
            ]
            sizes = " | ".join(gigabytes(report) for report in reports)
            lines.append(f"| {model} | {'yes' if is_on else 'no'} | {sizes} |")
    return "\n".join(lines)


def measured_table() -> str:
    """The recorded steps: what each took and how far off its estimate was."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS]
    lines = [
        "| Preset | Step | Estimate | Measured | Estimate / measured |",
        "| --- | --- | --- | --- | --- |",
    ]
    for step in (step for result in results for step in result["steps"]):
        ((how, measured),) = step["measured_bytes"].items()
        name, estimate = step_name(step["run"]), size(step["estimated_bytes"])
        lines.append(
            f"| {step['preset']} | {name} | {estimate} | {size(measured)} ({how}) | "
            f"{step['ratio'][how]:.2f} |"
        )
    return "\n".join(lines)


def step_name(run: dict) -> str:
    planned = PlannedRun(**run)
    words = [planned.stage.replace("_", " "), "of videos" if planned.shows_video else "of stills"]
    words += [f"batch {planned.batch_size}", planned.dtype]
    words += ["gradient checkpointing"] * planned.gradient_checkpointing
    words += [f"dropout {planned.lora_dropout}"] * bool(planned.lora_dropout)
    words += ["all logits"] * planned.has_all_logits
    return f"{words[0]} {', '.join(words[1:])}"


@pytest.mark.parametrize("name", ["stages", "strategies", "measured"])
def test_the_table_is_the_calculators(name):
    tables = {"stages": stages_table, "strategies": strategies_table, "measured": measured_table}
    table = tables[name]()
    shown = PAGE.split(f"<!-- begin {name} -->\n")[1].split(f"\n<!-- end {name} -->")[0]
    assert shown == table, f"paste between the markers of docs/cluster.md:\n\n{table}"


def test_the_batch_sizes_for_more_gpus_divide_the_recipes_steps():
    """The rows of the page's table: GPUs, then the largest batch size of each stage."""
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if line.startswith("| **")]
    assert rows
    for gpus, *batches in rows:
        count = int(gpus.strip(" *"))
        for stage, batch in zip(STAGES, batches, strict=True):
            values = recipe(stage)
            most = min(values["batch_size"], values["global_batch_size"] // count)
            assert int(batch) == most and values["global_batch_size"] % (most * count) == 0
