"""The SLURM script, run for real on two "nodes" of this machine; only SLURM itself is a stub."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from media_data import mixed_rows, write_data, write_recipe

import mobile_videogpt

pytest.importorskip("peft")
ROOT = Path(__file__).parents[2]
# Runs the command once for each node, as srun does with one task a node.
SRUN = """#!/bin/bash
shift
pids=()
for node in $(seq 0 $((SLURM_NNODES - 1))); do SLURM_NODEID=$node "$@" & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid" || exit 1; done
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32", reason="needs gloo and bash"
)
def test_the_slurm_script_trains_on_two_nodes(tmp_path):
    stubs = tmp_path / "bin"
    stubs.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", "#!/bin/bash\necho 127.0.0.1\necho other\n")):
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    write_data(tmp_path / "data", mixed_rows(6))
    recipe = write_recipe(tmp_path, {"kind": "image_projector", "steps": 1, "batch_size": 1})
    path = os.pathsep.join([str(stubs), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "examples/cluster/train.sbatch", str(recipe)],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": path,
            "PYTHONPATH": str(Path(mobile_videogpt.__file__).parent.parent),
            "OMP_NUM_THREADS": "1",
            "SLURM_NNODES": "2",
            "SLURM_GPUS_ON_NODE": "1",
            "SLURM_JOB_NODELIST": "nodes[1-2]",
            "SLURM_JOB_ID": str(os.getpid()),
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [str(tmp_path / "out" / "model")]
    assert (tmp_path / "out" / "model" / "config.json").is_file()
