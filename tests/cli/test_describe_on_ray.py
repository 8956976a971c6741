"""`describe --engine ray`: two workers say what one process says, whatever is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import psutil
import pytest

import mobile_videogpt
from mobile_videogpt.cli.describe_on_ray import TRIES, Describer, _share, describe_on_ray
from mobile_videogpt.cli.main import main
from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.dataset import write_clip

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mobile_videogpt.__file__).parent.parent)}
CLIPS = 6


def command(folder: Path, output: Path, *options: str) -> list[str]:
    describe = [sys.executable, "-m", "mobile_videogpt", "describe", str(folder)]
    return [*describe, "--output", str(output), "--max-new-tokens", "24", *options]


def descriptions(path: Path) -> dict[str, str]:
    """Video -> what was said about it; every video only once."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = {line["video"]: line.get("description", line.get("error")) for line in lines}
    assert len(found) == len(lines)
    return found


def wait_for_lines(path: Path, count: int, process: subprocess.Popen) -> int:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        lines = path.read_text().count("\n") if path.exists() else 0
        if lines >= count:
            return lines
        assert process.poll() is None, "the run ended before it was to be killed"
        time.sleep(0.02)
    raise AssertionError(f"no {count} lines in time")


@pytest.mark.slow
def test_a_killed_run_and_a_killed_worker_lose_nothing(tmp_path):
    pytest.importorskip("ray")
    folder, alone, shared = tmp_path / "clips", tmp_path / "alone.jsonl", tmp_path / "shared.jsonl"
    folder.mkdir()
    for index in range(CLIPS):
        write_clip(make_clip(index), folder / f"{index}.mp4")
    (folder / "broken.mp4").write_bytes(b"this is no video at all")
    single = subprocess.run(command(folder, alone), env=ENVIRONMENT, capture_output=True)
    assert single.returncode == 1

    on_ray = command(folder, shared, "--engine", "ray", "--workers", "2")
    killed = subprocess.Popen(on_ray, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_for_lines(shared, 3, killed)
    killed.kill()
    killed.wait()
    shared.write_text("".join(_lines_with_descriptions(shared)))
    before = shared.read_text()
    assert before

    again = subprocess.Popen(on_ray, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    wait_for_lines(shared, before.count("\n") + 1, again)
    workers = [p for p in psutil.Process(again.pid).children(recursive=True) if is_worker(p)]
    assert len(workers) == 2
    workers[0].kill()
    _, said = again.communicate(timeout=300)

    assert again.returncode == 1 and "already described" in said, said
    assert shared.read_text().startswith(before)
    assert descriptions(shared) == descriptions(alone)


def _lines_with_descriptions(path: Path) -> list[str]:
    """Whole lines of described videos: what the next run skips; an error is tried again."""
    lines = path.read_text().splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n") and '"description"' in line]


def is_worker(process: psutil.Process) -> bool:
    try:
        return any("MapWorker" in part for part in process.cmdline())
    except psutil.Error:
        return False


class DeadlyDescriber(Describer):
    """Needs no model; its process is killed by the video "deadly", and once by "unlucky"."""

    def __init__(self, args, question, folder, tries):
        super().__init__(args, question, "/nowhere", tries)
        assert self.failure  # the folder does not exist: no model was loaded
        self.failure = ""

    def describe(self, video):
        marker = Path(self.args.scratch) / video
        if video == "deadly" or (video == "unlucky" and not marker.exists()):
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"description": f"about {video}"}


@pytest.mark.slow
def test_a_video_that_kills_its_workers_is_reported_and_the_rest_is_described(tmp_path):
    ray = pytest.importorskip("ray")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    args = Namespace(model="none", device="cpu", debug=False, workers=2, scratch=str(tmp_path))
    videos = ["a", "deadly", "b", "unlucky", "c"]
    found = dict(describe_on_ray(args, "What?", videos, DeadlyDescriber))
    assert set(found) == set(videos)
    assert f"died {TRIES} times" in found.pop("deadly")["error"]
    assert found == {name: {"description": f"about {name}"} for name in ("a", "b", "unlucky", "c")}


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_one_line(tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "a.mp4").write_bytes(b"")
    options = ["--engine", "ray", "--workers", "1", "--model", str(tmp_path / "no-model")]
    done = subprocess.run(
        command(tmp_path, tmp_path / "out.jsonl", *options),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    ours = [line for line in done.stderr.splitlines() if line.startswith("mobile-videogpt: error")]
    assert done.returncode == 1 and done.stdout == ""
    assert len(ours) == 1 and "no-model" in ours[0]


def test_workers_share_cores_and_gpus():
    assert _share({"CPU": 2.0}, 2, True) == {"workers": 2, "cpus": 1, "gpus": 0}
    assert _share({"CPU": 16.0}, None, True) == {"workers": 4, "cpus": 4, "gpus": 0}
    assert _share({"CPU": 64.0, "GPU": 8.0}, None, True) == {"workers": 8, "cpus": 8, "gpus": 1.0}
    assert _share({"CPU": 64.0, "GPU": 8.0}, 16, True)["gpus"] == 0.5
    assert _share({"CPU": 64.0, "GPU": 8.0}, None, False)["gpus"] == 0


def test_without_ray_the_install_command_is_told(clip_file, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    assert main(["describe", str(clip_file), "--engine", "ray"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "mobile-videogpt[ray]" in captured.err


def test_workers_without_ray_are_refused(clip_file, capsys):
    assert main(["describe", str(clip_file), "--workers", "2"]) == 1
    assert "--engine ray" in capsys.readouterr().err
