"""One optimiser step of stage 1 and of stage 3 at full size, through `mobile-videogpt train`.

    python benchmarks/record.py benchmarks/results/full-size-step.json -- \
        python benchmarks/full_size_step.py TOKENIZER [PRESET]

The model has random weights, so TOKENIZER (a folder or hub id of Qwen2.5's) is all it takes. Stage
1 learns from two stills, stage 3 from two videos, one at a time, added up to one step. Each stage
is a process of its own: its peak memory is nobody else's. Takes about ten minutes on two cores and,
for 0.5b, 9 GB of disk that is freed again.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.dataset import write_clip

# Started with a recipe it makes the model; with a stage as well, it trains that stage.
STEP = """
import sys
from mobile_videogpt.training.media.base_model import base_checkpoint
from mobile_videogpt.training.media.recipe import load_media_recipe
from mobile_videogpt.training.runner import run

recipe, *stage = sys.argv[1:]
run(recipe, *stage) if stage else base_checkpoint(load_media_recipe(recipe))
"""
STAGES = {"stage1": ("image_projector", "image"), "stage3": ("instruct", "video")}


def write_samples(folder: Path) -> None:
    """Two stills and two videos, each set with an annotation file of chat messages."""
    for number in range(2):
        write_clip(make_clip(number), folder / f"{number}.mp4")
        pixels = np.random.default_rng(number).integers(0, 256, (240, 320, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    for kind, suffix in (("image", "png"), ("video", "mp4")):
        rows = []
        for number in range(2):
            asked = [{"type": kind, kind: f"{number}.{suffix}"}]
            asked.append({"type": "text", "text": "What is there to be seen?"})
            said = "A red circle moves to the left and touches a small blue star."
            turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
            rows.append({"messages": turns})
        (folder / f"{kind}.json").write_text(json.dumps(rows), encoding="utf-8")


def write_recipe(folder: Path, tokenizer: str, preset: str) -> Path:
    """The paper's values of both stages, but for the batch of two."""
    shared = {"steps": 1, "batch_size": 1, "global_batch_size": 2, "gradient_checkpointing": True}
    shared |= {"lora_rank": 128, "lora_alpha": 256, "lora_dropout": 0.05}
    for name, (kind, data) in STAGES.items():
        stage = {"name": name, "kind": kind, "data": f"{data}.json", "learning_rate": 1e-3}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**stage, **shared}))
    recipe = {
        "output": str(folder / "out"),
        "model": {"preset": preset, "random": True, "tokenizer": tokenizer},
        "stages": [f"{name}.yaml" for name in STAGES],
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


def result(folder: Path) -> dict:
    """What a stage's files say of its only step."""
    history = json.loads((folder / "history.json").read_text())
    step = next(row for row in history if "loss" in row)
    seconds = 2 / step["samples_per_second"]
    trained = json.loads((folder / "trainable.json").read_text())["parameters"]
    return {
        "samples": 2,
        "visual_tokens": round(step["visual_tokens_per_second"] * seconds),
        "peak_memory_bytes": step["peak_memory_bytes"],
        "step_seconds": round(seconds, 1),
        "loss": step["loss"],
        "grad_norm": step["grad_norm"],
        "trained_parameters": {part: count["trained"] for part, count in trained.items()},
    }


def main(tokenizer: str, preset: str = "0.5b") -> int:
    """Run both stages and print JSON."""
    report: dict = {"preset": preset, "dtype": "float32"}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_samples(folder)
        recipe = str(write_recipe(folder, tokenizer, preset))
        for stage in ((), *((name,) for name in STAGES)):
            subprocess.run([sys.executable, "-c", STEP, recipe, *stage], check=True, stdout=2)
            report |= {name: result(folder / "out" / name) for name in stage}
    report["threads"] = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
