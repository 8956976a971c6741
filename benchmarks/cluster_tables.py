"""Put what `info --training` says of the paper's recipes into docs/cluster.md, between the markers.

    python benchmarks/cluster_tables.py [--check]

Estimates come from the calculator and configs/paper, what was measured from
benchmarks/results/training-memory*.json. With --check nothing is written: the exit code says
whether the page shows both.
"""

import sys
from argparse import Namespace
from functools import cache

import yaml
from page_tables import RESULTS, ROOT, main, recorded

from mobile_videogpt.cli.training_estimate import estimate_training, size
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.training.planning.planned_run import PlannedRun

MEASURED = sorted(path.name for path in RESULTS.glob("training-memory*.json"))
STAGES = {1: "stage1-image-projector", 2: "stage2-video-projector", 3: "stage3-instruct"}
# Text tokens of a sample (ours: a caption; a question with its answer), and the samples of stage 3
# that section 4.1 speaks of.
TEXT_TOKENS = {1: 64, 2: 64, 3: 192}
INSTRUCT_SAMPLES = 1_000_000
GPUS = ("a100-40gb", "h100-80gb")


@cache
def recipe(stage: int) -> dict:
    """A stage of the paper's recipe, as its file has it."""
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
    """The peak of one GPU's memory."""
    return f"{report['memory']['peak'] / 1e9:.1f} GB"


def duration(hours: float) -> str:
    """In minutes below an hour."""
    return f"{60 * hours:.0f} min" if hours < 1 else f"{hours:.1f} h"


def stages_table() -> str:
    """Memory and time of each stage, which fits either card: the page says so."""
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
    return "\n".join(lines) + "\n"


def strategies_table() -> str:
    """Memory of stage 3 by how the GPUs share it out."""
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
    return "\n".join(lines) + "\n"


def measured_table() -> str:
    """The recorded steps: what each took and how far off its estimate was."""
    results = [recorded(name) for name in MEASURED]
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
    return "\n".join(lines) + "\n"


def step_name(run: dict) -> str:
    """What was run in one recorded step, in words."""
    planned = PlannedRun(**run)
    words = [planned.stage.replace("_", " "), "of videos" if planned.shows_video else "of stills"]
    words += [f"batch {planned.batch_size}", planned.dtype]
    words += ["gradient checkpointing"] * planned.gradient_checkpointing
    words += [f"dropout {planned.lora_dropout}"] * bool(planned.lora_dropout)
    words += ["all logits"] * planned.has_all_logits
    return f"{words[0]} {', '.join(words[1:])}"


PAGES = {
    "docs/cluster.md": {
        "stages": stages_table,
        "strategies": strategies_table,
        "measured": measured_table,
    }
}


if __name__ == "__main__":
    sys.exit(main(PAGES, __doc__))
