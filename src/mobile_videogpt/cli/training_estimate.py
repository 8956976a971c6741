"""`mobile-videogpt info --training`: what a training run would take, before it is started."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.arguments import positive_float, positive_int, probability

if TYPE_CHECKING:
    from mobile_videogpt.config import MobileVideoGPTConfig
    from mobile_videogpt.training.planning.memory import MemoryEstimate
    from mobile_videogpt.training.planning.planned_run import PlannedRun

STAGES = {"1": "image_projector", "2": "video_projector", "3": "instruct"}
GPU_NAMES = ("a100-40gb", "a100-80gb", "h100-80gb")


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """--training, and what describes the run."""
    group = parser.add_argument_group("training", "with --training: memory and time of a run")
    add = group.add_argument
    add("--training", action="store_true", help="estimate a training run instead")
    add(
        "--stage",
        choices=(*STAGES, *STAGES.values()),
        default="instruct",
        help="1 image_projector, 2 video_projector or 3 instruct (default)",
    )
    add("--batch", type=positive_int, default=1, metavar="N", help="samples per GPU (default: 1)")
    add(
        "--length",
        type=positive_int,
        default=128,
        metavar="N",
        help="text tokens of a sample, prompt and answer (default: %(default)s)",
    )
    add(
        "--media",
        choices=("still", "video"),
        help="what a sample shows (default: stills in stages 1 and 2, videos in stage 3)",
    )
    add("--gpus", type=positive_int, default=1, metavar="N", help="how many (default: 1)")
    add("--gpu", choices=GPU_NAMES, default=GPU_NAMES[0], help="which (default: %(default)s)")
    add("--strategy", choices=("ddp", "zero2", "fsdp"), default="ddp", help="default: ddp")
    add("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="default: bfloat16")
    add("--gradient-checkpointing", action="store_true", help="less memory, more arithmetic")
    add("--lora-rank", type=positive_int, default=128, metavar="R", help="stage 3 (default: 128)")
    add(
        "--lora-dropout",
        type=share,
        default=0.05,
        metavar="P",
        help="stage 3 (default: 0.05)",
    )
    add(
        "--samples",
        type=positive_int,
        metavar="N",
        help="in an epoch (default: CC-595K in stages 1 and 2, unknown in stage 3)",
    )
    add("--epochs", type=positive_float, default=2.0, metavar="N", help="default: 2")
    add("--tflops", type=positive_float, metavar="X", help="the GPU's peak, if it is another one")
    add(
        "--utilisation",
        type=probability,
        default=0.3,
        metavar="U",
        help="share of the peak that is reached (default: %(default)s)",
    )
    add(
        "--loader-rate",
        type=positive_float,
        metavar="R",
        help="samples per second that one GPU's data loader delivers (default: enough)",
    )
    add(
        "--measure",
        action="store_true",
        help="also run one such step here with random weights (presets only) and measure it",
    )


def share(text: str) -> float:
    """A number from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return value


def planned_run(args: argparse.Namespace) -> PlannedRun:
    """The run that the arguments describe."""
    from mobile_videogpt.training.planning.planned_run import PlannedRun

    return PlannedRun(
        stage=STAGES.get(args.stage, args.stage),
        batch_size=args.batch,
        text_tokens=args.length,
        media=args.media or "",
        num_devices=args.gpus,
        strategy=args.strategy,
        dtype=args.dtype,
        gradient_checkpointing=args.gradient_checkpointing,
        lora_rank=args.lora_rank,
        lora_dropout=args.lora_dropout,
    )


def estimate_training(
    name: str, config: MobileVideoGPTConfig, args: argparse.Namespace
) -> dict[str, Any]:
    """Memory and time of the run, and how they are computed."""
    from mobile_videogpt.models.parameter_counts import count_parameters
    from mobile_videogpt.training.planning import memory, throughput
    from mobile_videogpt.training.planning.planned_run import sequence_length, trained_parameters

    run, parameters = planned_run(args), count_parameters(config)
    flops = throughput.count_flops(config, run, parameters)
    gpu = throughput.GPUS[args.gpu]
    peak_flops = args.tflops * 1e12 if args.tflops else gpu.peak_flops[run.dtype]
    warm_up = None if run.stage == "instruct" else throughput.CC595K
    samples = args.samples or warm_up
    time = throughput.estimate_time(
        run, flops, peak_flops, args.utilisation, samples, args.epochs, args.loader_rate
    )
    estimate = memory.estimate_memory(config, run, parameters)
    return {
        "model": name,
        "run": asdict(run),
        "sequence_length": sequence_length(config, run),
        "parameters": parameters,
        "trained": trained_parameters(config, run, parameters),
        "memory": _memory(estimate),
        "gpu": {
            "name": args.gpu,
            "usable_bytes": gpu.usable_bytes,
            "fits": estimate.peak <= gpu.usable_bytes,
            "peak_flops": peak_flops,
            "utilisation": args.utilisation,
        },
        "flops": flops,
        "time": {**asdict(time), "samples": samples, "epochs": args.epochs},
        "formula": {"memory": memory.FORMULA, "time": throughput.FORMULA},
    }


def _memory(estimate: MemoryEstimate) -> dict[str, Any]:
    return {**asdict(estimate), "peak_phase": estimate.phase, "peak": estimate.peak}


def measure_training(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One step of the run in a process of its own, measured.

    Raises:
        ValueError: the model is no preset, the run is for several GPUs, or the step failed.
    """
    from mobile_videogpt.config import PRESETS

    if name not in PRESETS:
        raise ValueError(f"--measure makes random weights of a preset, and {name!r} is none")
    if args.gpus > 1:
        raise ValueError(f"--measure runs on one device, not on {args.gpus}; leave --gpus out")
    wanted = json.dumps({"preset": name, "run": asdict(planned_run(args)), "has_profile": False})
    source = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "mobile_videogpt.training.planning.memory_probe", wanted],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(source), *sys.path])},
    )
    if done.returncode != 0:
        raise ValueError(
            f"the measured step ended with exit code {done.returncode} (its message is above; "
            "-9 is out of memory)"
        )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["steps"][0]
    return {name: measured[name] for name in ("device", "measured_bytes", "seconds_per_step")}


def training_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The report as a table."""
    run, memory, gpu = report["run"], report["memory"], report["gpu"]
    checkpointing = ", gradient checkpointing" if run["gradient_checkpointing"] else ""
    fits = "fits" if gpu["fits"] else "does not fit"
    rows = [
        ("model", report["model"]),
        (
            "run",
            f"{run['stage']}, {run['num_devices']} x {gpu['name']}, {run['strategy']}, "
            f"{run['dtype']}, batch {run['batch_size']} x {report['sequence_length']} tokens"
            + checkpointing,
        ),
        *(
            (f"trains {name.replace('_', ' ')}", f"{count:,} parameters")
            for name, count in report["trained"].items()
        ),
        ("weights", size(sum(memory["weights"].values()))),
        *((name, size(memory[name])) for name in ("gradients", "optimizer", "communication")),
        ("pixels", size(memory["pixels"])),
        ("activations", size(sum(memory["activations"].values()))),
        *((f"phase {name}", size(value)) for name, value in memory["phases"].items()),
        (
            "peak memory",
            f"{size(memory['peak'])} per GPU, in phase {memory['peak_phase']}; {fits} into "
            f"{size(gpu['usable_bytes'])} usable",
        ),
    ]
    return [*rows, *_time_rows(report), *_measured_rows(report), *_formula_rows(report)]


def _time_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    time, gpu = report["time"], report["gpu"]
    total = sum(sum(ways.values()) for ways in report["flops"].values())
    hours = "unknown: give --samples"
    if time["hours"] is not None:
        hours = f"{time['hours']:.1f} h for {time['samples']:,} samples x {time['epochs']:g} epochs"
    return [
        ("arithmetic", f"{total / 1e12:.2f} TFLOP a sample"),
        (
            "rate",
            f"{time['seconds_per_step']:.3f} s a step, {time['samples_per_second']:.0f} samples/s "
            f"in all, bound by {time['bound']} ({gpu['peak_flops'] / 1e12:g} TFLOPS at "
            f"{gpu['utilisation']:.0%})",
        ),
        ("time", hours),
    ]


def _measured_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    if "measured" not in report:
        return []
    measured = report["measured"]
    return [
        (f"measured {name}", f"{size(value)} on {measured['device']}")
        for name, value in measured["measured_bytes"].items()
    ]


def _formula_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"formula {kind}", line) for kind, lines in report["formula"].items() for line in lines
    ]


def size(count: int) -> str:
    """Bytes in readable decimal units."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
