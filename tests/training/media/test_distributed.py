"""Two processes on the CPU (gloo) against one with the same global batch."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from media_data import image, losses, mixed_rows, row, video, write_data, write_recipe
from safetensors.torch import load_file

import mobile_videogpt
from mobile_videogpt.training.runner import run

pytest.importorskip("peft")
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32", reason="needs gloo"
)


def launch(recipe: Path, processes: int = 2, timeout: int = 240) -> str:
    """`mobile-videogpt train` under torchrun; returns what it wrote to standard output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = str(Path(mobile_videogpt.__file__).parent.parent)
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    command += [f"--master-port={port}", "-m", "mobile_videogpt", "train", str(recipe)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
    ) as launcher:
        try:
            out, errors = launcher.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:  # a rank that waits for another waits for ever
            launcher.terminate()  # it ends its processes
            launcher.communicate(timeout=60)
            pytest.fail(f"the processes still wait for each other after {timeout} s")
    assert launcher.returncode == 0, errors[-3000:]
    return out


def trained(folder: Path) -> dict[str, torch.Tensor]:
    adapter = folder / "adapter" / "adapter_model.safetensors"
    return load_file(adapter if adapter.is_file() else folder / "trained.safetensors")


def compare(folder: Path, *stages: dict) -> None:
    """Train alone and with two processes; losses and trained weights must agree."""
    run(write_recipe(folder, *stages, output=folder / "one"))
    said = launch(write_recipe(folder, *stages, output=folder / "two"))
    assert said.split() == [str(folder / "two" / "model")]  # once, not by every process
    for number, stage in enumerate(stages):
        name = f"{number}-{stage['kind']}"
        one, two = losses(folder / "one" / name), losses(folder / "two" / name)
        assert len(one) == stage["steps"]
        assert two == pytest.approx(one, abs=1e-5)
        alone = trained(folder / "one" / name)
        for key, value in trained(folder / "two" / name).items():
            torch.testing.assert_close(value, alone[key], atol=1e-5, rtol=1e-3)
    assert (folder / "two" / "model" / "config.json").is_file()


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_batches_of_every_make_up(tmp_path):
    """Rows of every modality in each step, an accumulated batch, checkpointing: same losses."""
    write_data(tmp_path / "data", mixed_rows(12))
    shared = {"steps": 3, "batch_size": 2, "global_batch_size": 8}
    compare(
        tmp_path,
        {"kind": "image_projector", **shared},
        {
            "kind": "instruct",
            **shared,
            "projector_learning_rate": 1e-4,
            "gradient_checkpointing": True,
            "save_steps": 2,
        },
    )


@pytest.mark.parametrize(
    "kind", [pytest.param("video_projector", marks=pytest.mark.slow), "instruct"]
)
def test_a_process_with_text_alone_does_not_stop_the_other(tmp_path, kind):
    """Rank 0 never sees a medium, rank 1 in every step: all weights that train get a gradient."""
    rows = [
        row(number) if number % 2 == 0 else row(number, video() if number % 4 == 1 else image())
        for number in range(6)
    ]
    write_data(tmp_path / "data", rows, shuffle=False)
    compare(
        tmp_path,
        {
            "kind": kind,
            "steps": 3,
            "batch_size": 1,
            "global_batch_size": 2,
            "group_by_length": False,
        },
    )


@pytest.mark.slow
def test_two_processes_share_the_visual_tokens_of_a_video_and_resume_with_equal_losses(tmp_path):
    """Samples grouped by media; then the second half again from the checkpoint of the first."""
    rows = [row(n, video(n % 2)) if n % 3 else row(n, image(n % 2)) for n in range(12)]
    write_data(tmp_path / "data", rows)
    stage = {
        "kind": "instruct",
        "steps": 4,
        "batch_size": 3,
        "global_batch_size": 6,
        "group_by_media": True,
        "save_steps": 2,
    }
    compare(tmp_path, stage)
    whole = tmp_path / "two" / "0-instruct"
    half = tmp_path / "again" / "0-instruct" / "checkpoints" / "checkpoint-2"
    shutil.copytree(whole / "checkpoints" / "checkpoint-2", half)
    launch(write_recipe(tmp_path, stage, output=tmp_path / "again"))
    assert losses(half.parents[1]) == pytest.approx(losses(whole), abs=1e-6)
    for key, value in trained(half.parents[1]).items():
        torch.testing.assert_close(value, trained(whole)[key], atol=1e-6, rtol=1e-5)
