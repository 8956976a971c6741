"""`configs/accelerate` as `accelerate launch` reads them, on two CPU processes.

accelerate starts FSDP and DeepSpeed on accelerators only; here it is told to join gloo instead.
Everything after that is what would run on two cards.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from media_data import losses, mixed_rows, write_data, write_recipe

import mobile_videogpt
from mobile_videogpt.training.runner import run

pytest.importorskip("peft")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs gloo"),
]
CONFIGS = Path(__file__).parents[3] / "configs" / "accelerate"
PROGRAM = """
import sys
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from mobile_videogpt.training import processes, trainer

make = trainer.TrainingArguments
trainer.TrainingArguments = lambda **values: make(**{**values, "use_cpu": False})
kind = DistributedType[sys.argv[2]]
PartialState._prepare_backend = lambda self, *arguments: ("gloo", kind)
PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
processes.process_state = PartialState
from mobile_videogpt.training import runner

if __name__ == "__main__":
    runner.run(sys.argv[1])
"""


@pytest.mark.parametrize(("config", "kind"), [("fsdp", "MULTI_GPU"), ("zero2", "DEEPSPEED")])
def test_two_processes_learn_what_one_learns(tmp_path, config, kind):
    if config == "zero2":
        pytest.importorskip("deepspeed")
    write_data(tmp_path / "data", mixed_rows(12))
    shared = {"batch_size": 1, "global_batch_size": 4}
    stages = [
        {"kind": "image_projector", "steps": 2, **shared},
        {"kind": "instruct", "steps": 3, "projector_learning_rate": 1e-4, **shared},
    ]
    run(write_recipe(tmp_path, *stages, output=tmp_path / "one"))
    recipe = write_recipe(tmp_path, *stages, output=tmp_path / "two")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes=2"]
    launcher += [f"--config_file={CONFIGS / config}.yaml", str(program), str(recipe), kind]
    source = str(Path(mobile_videogpt.__file__).parent.parent)
    paths = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        launcher, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    written = tmp_path / "two" / "1-instruct" / "checkpoints" / "checkpoint-3"
    # What only the sharded road leaves shows that it was taken.
    mark = {"fsdp": "pytorch_model_fsdp.bin", "zero2": "zero_to_fp32.py"}[config]
    assert (written / mark).is_file()
    for name in ("0-image_projector", "1-instruct"):
        one, two = losses(tmp_path / "one" / name), losses(tmp_path / "two" / name)
        assert two == pytest.approx(one, abs=1e-5)
    assert (tmp_path / "two" / "model" / "config.json").is_file()
