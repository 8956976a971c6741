"""Training from stored features beside training from videos: seconds per epoch, losses.

    python benchmarks/record.py benchmarks/results/training-features.json -- \
        python benchmarks/training_features.py

The built-in model takes stages 1 and 3 over MovingShapes clips and their questions,
from the mp4 files and from what `data encode` stored of them; both in the stream's own order and
with `group_by_media`. Clips come in two sizes: as the package writes them (128 x 128, 32
frames), which hardly take any decoding, and as a phone would (640 x 640, 30 frames a second).
Seconds are of CPU time, on one thread, so that other work on the machine does not count; those of
an epoch are of the steps alone, without loading the model. Encoding is reported beside them.
"""

import json
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import torch

from mobile_videogpt.checkpoints import load_model
from mobile_videogpt.synthetic import Clip, make_clip
from mobile_videogpt.synthetic.dataset import clip_number, write_dataset
from mobile_videogpt.training.data import load_mixture
from mobile_videogpt.training.media import run as media_run
from mobile_videogpt.training.media.encode import EncodeOptions, encode_media, unique_media
from mobile_videogpt.training.media.recipe import MediaRecipe, MediaStage
from mobile_videogpt.training.runner import run_media

BATCH, EPOCHS = 16, 2


def write_video(clip: Clip, path: Path, side: int, frames: int, fps: int) -> None:
    """One clip as mp4, in any size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for frame in clip.frames(frames, side):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_data(folder: Path, clips: int, side: int, frames: int, fps: int) -> Path:
    """What `mobile-videogpt data moving-shapes` writes, its videos in another size."""
    write_dataset(folder, clips)
    for number, path in enumerate(sorted((folder / "videos").iterdir())):
        write_video(make_clip(clip_number(0, number)), path, side, frames, fps)
    return folder / "annotations.json"


def train(stage: MediaStage, output: Path) -> tuple[float, list[float]]:
    """Seconds per epoch, and the loss of every step."""
    taken = []
    run_trainer = media_run.run_trainer

    def timed(*arguments: Any) -> Any:
        begun = time.process_time()
        history = run_trainer(*arguments)
        taken.append(time.process_time() - begun)
        return history

    media_run.run_trainer = timed
    try:
        run_media(MediaRecipe(output, output, "moving-shapes", (stage,)))
    finally:
        media_run.run_trainer = run_trainer
    history = json.loads((output / stage.name / "history.json").read_text())
    return taken[0] / EPOCHS, [entry["loss"] for entry in history if "loss" in entry]


def compare(folder: Path, name: str, **size: int) -> dict:
    """Every way to train on clips of one size."""
    data, features = write_data(folder / name, **size), folder / f"{name}-features"
    mixture = load_mixture(data)
    begun = time.process_time()
    encode_media(unique_media(mixture), *load_model("moving-shapes"), features, EncodeOptions())
    result: dict = {
        **size,
        "samples": mixture.samples_per_epoch,
        "encoding_seconds": time.process_time() - begun,
        "bytes": sum(file.stat().st_size for file in features.iterdir()),
    }
    for kind in ("image_projector", "instruct"):
        for order in ("stream", "group_by_media"):
            stage = MediaStage(
                name=f"{kind}-{order}",
                kind=kind,
                data=data,
                learning_rate=2e-4,
                batch_size=BATCH,
                epochs=EPOCHS,
                lora_rank=16,
                lora_alpha=32,
                lora_dropout=0.0,
                logging_steps=1,
                group_by_length=False,
                group_by_media=order == "group_by_media",
            )
            videos, expected = train(stage, folder / f"{name}-videos")
            seconds, losses = train(replace(stage, features=features), folder / f"{name}-stored")
            pairs = zip(losses, expected, strict=True)
            result.setdefault(kind, {})[order] = {
                "seconds_per_epoch_from_videos": videos,
                "seconds_per_epoch_from_features": seconds,
                "times_faster": videos / seconds,
                "largest_loss_difference": max(abs(a - b) for a, b in pairs),
            }
    return result


def main() -> int:
    """Measure and print JSON."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {
            "as written": compare(folder, "written", clips=16, side=128, frames=32, fps=8),
            "as from a phone": compare(folder, "phone", clips=8, side=640, frames=120, fps=30),
        }
    print(json.dumps({"model": "moving-shapes", "batch_size": BATCH, "epochs": EPOCHS, **results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
