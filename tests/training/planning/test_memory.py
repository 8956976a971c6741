"""The memory formula against one training step of the miniature, as the allocator saw it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import mobile_videogpt
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.parameter_counts import count_parameters
from mobile_videogpt.training.planning.memory import estimate_memory
from mobile_videogpt.training.planning.planned_run import (
    PlannedRun,
    sequence_length,
    trained_parameters,
)

pytest.importorskip("peft")

TOLERANCE = 0.2
RUNS = [
    {"stage": "image_projector", "batch_size": 4},
    {"stage": "image_projector", "batch_size": 2, "media": "video"},
    {"stage": "video_projector", "batch_size": 4},
    {"stage": "instruct", "lora_rank": 64},
    {"stage": "instruct", "lora_rank": 8, "has_all_logits": True},
    {"stage": "instruct", "lora_rank": 16, "batch_size": 3, "lora_dropout": 0.05},
    {"stage": "instruct", "lora_rank": 64, "batch_size": 4, "is_padded": False},
    {"stage": "instruct", "lora_rank": 64, "batch_size": 4, "gradient_checkpointing": True},
    {"stage": "instruct", "lora_rank": 64, "batch_size": 2, "dtype": "bfloat16"},
]


def measure(*wanted: dict) -> list[dict]:
    """What the probe finds in a process of its own."""
    command = [sys.executable, "-m", "mobile_videogpt.training.planning.memory_probe"]
    done = subprocess.run(
        [*command, *(json.dumps(each) for each in wanted)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(mobile_videogpt.__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["steps"]


@pytest.fixture(scope="module")
def steps():
    runs = [{"dtype": "float32", **run} for run in RUNS]
    return measure(*({"preset": "moving-shapes", "run": run} for run in runs))


@pytest.mark.parametrize("index", range(len(RUNS)), ids=[" ".join(map(str, r)) for r in RUNS])
def test_the_estimate_is_near_what_a_step_allocates(steps, index):
    ratio = steps[index]["ratio"]["allocator"]
    assert 1 - TOLERANCE < ratio < 1 + TOLERANCE, steps[index]["estimate"]


def test_the_estimate_counts_the_parameters_that_train(steps):
    config = MobileVideoGPTConfig.preset("moving-shapes")
    for step in steps:
        trained = trained_parameters(config, PlannedRun(**step["run"]), count_parameters(config))
        assert sum(trained.values()) == step["trained_parameters"]


@pytest.mark.slow
@pytest.mark.skipif(
    psutil.virtual_memory().available < 8e9, reason="needs 8 GB of free memory for stage 3"
)
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read from getrusage")
@pytest.mark.parametrize("stage", ["image_projector", "instruct"])
def test_the_estimate_is_near_what_the_full_size_process_takes(stage):
    run = {"stage": stage, "media": "still", "dtype": "float32"}
    (step,) = measure({"preset": "0.5b", "run": run, "has_profile": False})
    ratio = step["ratio"]["process"]
    assert 1 - TOLERANCE < ratio < 1 + TOLERANCE, step["measured_bytes"]


# What the formula says where nothing can be measured here


@pytest.fixture(scope="module")
def full_size():
    config = MobileVideoGPTConfig.preset("0.5b")
    return config, count_parameters(config)


def test_the_papers_sequence_is_the_released_token_counts(full_size):
    config, _ = full_size
    assert sequence_length(config, PlannedRun("instruct", text_tokens=100)) == 2402 + 100
    assert sequence_length(config, PlannedRun("image_projector", text_tokens=100)) == 144 + 100
    assert sequence_length(config, PlannedRun("video_projector", text_tokens=100)) == 49 + 100


def test_sharding_divides_what_it_says(full_size):
    run = PlannedRun("instruct", num_devices=8)
    one, ddp, zero2, fsdp = (
        estimate_memory(full_size[0], each, full_size[1])
        for each in (
            replace(run, num_devices=1),
            run,
            replace(run, strategy="zero2"),
            replace(run, strategy="fsdp"),
        )
    )
    assert one.communication == 0 and ddp.communication == ddp.gradients
    assert fsdp.communication < sum(ddp.weights.values())
    assert ddp.optimizer == one.optimizer
    # DeepSpeed's third copy: the precise weights of what trains.
    assert zero2.optimizer == pytest.approx(ddp.optimizer * 12 / 8 / 8)
    assert sum(fsdp.weights.values()) == pytest.approx(sum(ddp.weights.values()) / 8, abs=8)
    assert one.activations == ddp.activations == zero2.activations == fsdp.activations


def test_what_costs_memory_costs_it(full_size):
    def peak(**changes):
        return estimate_memory(full_size[0], replace(base, **changes), full_size[1]).peak

    base = PlannedRun("instruct", batch_size=4)
    assert peak(gradient_checkpointing=True) < peak()
    assert peak(has_all_logits=True) > peak()
    assert peak(batch_size=8) > 1.9 * peak() - 4e9
    assert peak(is_padded=False) < peak() < peak(lora_dropout=0.05) < peak(dtype="float32")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stage": "four"}, "'four'"),
        ({"strategy": "zero9"}, "ddp, zero2, fsdp"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_a_run_that_cannot_be_is_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        PlannedRun(**{"stage": "instruct", **changes})
