"""Training from stored features beside training from videos: seconds per epoch, losses.

    python benchmarks/record.py benchmarks/results/training-features.json -- \
        python benchmarks/training_features.py

The built-in model takes stage 3 over MovingShapes clips (`--clips`, one question each), from the mp4
files and from what `data encode` stored of them in float16 and in float32. Seconds are those of the
steps alone, without loading the model; encoding is reported beside them.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from mobile_videogpt.checkpoints import load_model
from mobile_videogpt.synthetic.dataset import write_dataset
from mobile_videogpt.training.data import load_mixture
from mobile_videogpt.training.encode import EncodeOptions, encode_media, unique_media
from mobile_videogpt.training.media_recipe import MediaRecipe, MediaStage
from mobile_videogpt.training.runner import run_media

BATCH = 8


def write_data(folder: Path, clips: int) -> Path:
    """One question for each clip."""
    write_dataset(folder, clips)
    entries = json.loads((folder / "annotations.json").read_text())
    first = {entry["video"]: entry for entry in reversed(entries)}
    (folder / "first.json").write_text(json.dumps(list(first.values())))
    return folder / "first.json"


def train(stage: MediaStage, output: Path) -> tuple[float, list[float]]:
    """Seconds per epoch, and the loss of every step."""
    run_media(MediaRecipe(output, output, "moving-shapes", (stage,)))
    history = json.loads((output / stage.name / "history.json").read_text())
    seconds = history[-1]["train_runtime"] / stage.epochs
    return seconds, [entry["loss"] for entry in history if "loss" in entry]


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    result: dict = {"clips": options.clips, "epochs": options.epochs, "batch_size": BATCH}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_data(folder / "data", options.clips)
        stage = MediaStage(
            name="instruct",
            kind="instruct",
            data=data,
            learning_rate=2e-4,
            batch_size=BATCH,
            epochs=options.epochs,
            lora_rank=16,
            lora_alpha=32,
            lora_dropout=0.0,
            logging_steps=1,
        )
        result["videos"], expected = train(stage, folder / "videos")
        result["features"] = {}
        for dtype in ("float16", "float32"):
            features = folder / f"features-{dtype}"
            begun = time.perf_counter()
            media = unique_media(load_mixture(data))
            encode_media(media, *load_model("moving-shapes"), features, EncodeOptions(dtype))
            encoding = time.perf_counter() - begun
            seconds, losses = train(replace(stage, features=features), folder / dtype)
            pairs = zip(losses, expected, strict=True)
            result["features"][dtype] = {
                "seconds_per_epoch": seconds,
                "times_faster": result["videos"] / seconds,
                "encoding_seconds": encoding,
                "bytes": sum(f.stat().st_size for f in features.iterdir()),
                "largest_loss_difference": max(abs(a - b) for a, b in pairs),
            }
    result["videos"] = {"seconds_per_epoch": result["videos"]}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
