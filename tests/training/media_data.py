"""Tiny real media, annotations of every modality, and recipes that train from them."""

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.dataset import write_clip

ANSWERS = ("a red circle", "it moves to the left", "yes", "two", "a small blue star", "no")


def write_media(folder: Path) -> None:
    """Two clips and two pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(2):
        write_clip(make_clip(number), folder / f"clip{number}.mp4")
        pixels = rng.integers(0, 256, (40, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"picture{number}.png")


def row(number: int, *media: dict, answer: str | None = None) -> dict:
    content = [*media, {"type": "text", "text": f"what is it {'again ' * (number % 3)}?"}]
    said = answer or ANSWERS[number % len(ANSWERS)]
    return {
        "messages": [
            {"role": "user", "content": content},
            {"role": "assistant", "content": said},
        ]
    }


def video(number: int = 0) -> dict:
    return {"type": "video", "video": f"clip{number}.mp4"}


def image(number: int = 0) -> dict:
    return {"type": "image", "image": f"picture{number}.png"}


def mixed_rows(count: int) -> list[dict]:
    """Text, a video, a still, both, text, text, ... in turn."""
    kinds = ([], [video(0)], [image(0)], [image(1), video(1)], [], [])
    return [row(number, *kinds[number % len(kinds)]) for number in range(count)]


def write_data(folder: Path, rows: list[dict], shuffle: bool = True) -> Path:
    """Media and annotations as a mixture of one source; returns its YAML."""
    write_media(folder)
    (folder / "rows.json").write_text(json.dumps(rows))
    source = {"name": "rows", "annotations": "rows.json", "layout": "messages"}
    mixture = {"seed": 0, "shuffle": shuffle, "sources": [source]}
    (folder / "mixture.yaml").write_text(yaml.safe_dump(mixture))
    return folder / "mixture.yaml"


def write_recipe(
    folder: Path, *stages: dict, model: object = None, output: Path | None = None
) -> Path:
    """A recipe on `folder/data`, every stage with small defaults; returns its YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    defaults = {
        "data": "data/mixture.yaml",
        "steps": 2,
        "batch_size": 2,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "lora_rank": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
    }
    names = []
    for number, stage in enumerate(stages):
        values = {"name": f"{number}-{stage['kind']}", **defaults, **stage}
        if "epochs" in stage:
            del values["steps"]
        names.append(f"stage{number}.yaml")
        (folder / names[-1]).write_text(yaml.safe_dump(values))
    recipe = {
        "output": str(output or folder / "out"),
        "model": model or {"preset": "moving-shapes", "random": True},
        "stages": names,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yaml"


def losses(folder: Path) -> list[float]:
    """The losses of a finished stage, step by step."""
    history = json.loads((folder / "history.json").read_text())
    return [entry["loss"] for entry in history if "loss" in entry]
