"""`info --training`: the estimate as text and as JSON, and a step measured beside it."""

import json

import pytest


@pytest.fixture
def info(run):
    return lambda *arguments: run("info", *arguments)


def test_the_report_states_its_parts_and_its_formula(info):
    options = "0.5b --training --stage 3 --batch 8 --gpus 8 --strategy zero2 --samples 100000"
    code, out, _ = info(*options.split(), "--json")
    report = json.loads(out)
    memory = report["memory"]
    assert code == 0 and report["run"]["stage"] == "instruct"
    assert report["sequence_length"] == 2402 + 128
    assert set(memory["weights"]) == {*report["parameters"], "lora"}
    kept = sum(memory[name] for name in ("gradients", "optimizer", "communication", "pixels"))
    total = sum(memory["weights"].values()) + kept
    assert memory["peak"] == total + memory["phases"][memory["peak_phase"]]
    assert any(line.startswith("peak =") for line in report["formula"]["memory"])
    assert any("utilisation" in line for line in report["formula"]["time"])
    assert report["time"]["hours"] > 0


def test_a_gpu_that_is_too_small_is_told(info):
    options = "1.5b --training --batch 16".split()
    assert "does not fit" in info(*options)[1]
    assert "does not fit" not in info("0.5b", "--training", "--gradient-checkpointing")[1]


def test_warm_up_time_needs_no_sample_count_and_tuning_does(info):
    assert "595,375 samples" in info("0.5b", "--training", "--stage", "1")[1]
    assert "give --samples" in info("0.5b", "--training", "--stage", "instruct")[1]


def test_a_step_can_be_measured_beside_the_estimate(info):
    pytest.importorskip("peft")
    options = "moving-shapes --training --dtype float32 --lora-rank 8 --measure --json"
    code, out, _ = info(*options.split())
    measured = json.loads(out)["measured"]
    assert code == 0 and measured["measured_bytes"] and measured["seconds_per_step"] > 0


def test_what_cannot_be_measured_is_told(info):
    code, _, err = info("moving-shapes", "--training", "--measure", "--gpus", "2")
    assert code == 1 and "leave --gpus out" in err
