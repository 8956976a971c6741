"""`eval` in processes of its own: killed without warning, and shared by a launcher."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_benchmark
from small_benchmark import READABLE, TASK

import mobile_videogpt

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does"),
]
TIMES = ("seconds", "ttft_s", "decode_s", "is_first")
SOURCE = Path(mobile_videogpt.__file__).parent.parent


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return small_benchmark.write_benchmark(tmp_path_factory.mktemp("data"), (*READABLE, 106, 107))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data_dir):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert start(data_dir, out).wait() == 0
    return told(out)


def start(data_dir, out, *launcher):
    command = [sys.executable, *launcher, "-m", "mobile_videogpt", "eval", TASK]
    command += ["--data-dir", str(data_dir), "--output", str(out)]
    paths = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=sys.stderr)


def told(out):
    lines = (out / TASK / "predictions.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def written(out):
    """Bytes of predictions so far."""
    return sum(path.stat().st_size for path in out.glob(f"{TASK}/predictions*.jsonl"))


@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_a_random_point_and_resumed_is_the_same(
    data_dir, uninterrupted, tmp_path, seed
):
    out = tmp_path / "run"
    size = sum(len(json.dumps(line)) for line in uninterrupted)
    for limit in sorted(random.Random(seed).sample(range(size), 2)):
        process = start(data_dir, out)
        while process.poll() is None and written(out) < limit:
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert start(data_dir, out).wait() == 0
    assert told(out) == uninterrupted


def test_processes_of_a_launcher_give_what_one_gives(data_dir, uninterrupted, tmp_path):
    out = tmp_path / "run"
    config = Path(__file__).parents[2] / "configs" / "accelerate" / "ddp.yaml"
    launcher = ["-m", "accelerate.commands.launch", "--num_processes=2", f"--config_file={config}"]
    assert start(data_dir, out, *launcher).wait() == 0
    assert told(out) == uninterrupted
    assert [path.name for path in (out / TASK).iterdir()] == ["predictions.jsonl"]
    assert (out / "report.json").exists()
