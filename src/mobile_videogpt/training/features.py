"""What the frozen encoders make of every clip, computed once and read through mmap.

Stages 1 to 3 never touch the encoders' weights, so each clip goes through them once, not once an
epoch. Resumes where it was killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from ..config import MobileVideoGPTConfig
from ..models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from .clips import ClipCache, normalise

BLOCK, BATCH = 500, 25


class FeatureStore:
    """float16 image (clips, T, N, D), video (clips, K, N, D) features and int8 kept (clips, K)."""

    def __init__(self, folder: Path, cache: ClipCache) -> None:
        self.folder, self.cache = folder, cache
        self._arrays: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            self._arrays[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return self._arrays[name]

    def _shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        config, clips = self.cache.config, self.cache.num_clips
        image, video = config.image_config, config.video_config
        image_tokens = (image.image_size // image.patch_size) ** 2
        kept = config.num_kept_frames
        return {
            "image": ((clips, config.num_frames, image_tokens, image.hidden_size), "float16"),
            "video": ((clips, kept, video.grid_size**2, video.hidden_size), "float16"),
            "kept": ((clips, kept), "int8"),
        }

    def encode(self, model: MobileVideoGPTForConditionalGeneration, workers: int) -> Iterator[int]:
        """Encode what is missing with `model`; yields the number of clips done so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, (shape, dtype) in self._shapes().items():
            path = self.folder / f"{name}.npy"
            if not path.exists():
                np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        marker = self.folder / "done.json"
        done = set(json.loads(marker.read_text())) if marker.exists() else set()
        todo = [b for b in range(0, self.cache.num_clips, BLOCK) if b not in done]
        if not todo:
            return
        weights = self.folder / "encoders.pt"
        torch.save(model.state_dict(), weights)
        context = get_context("spawn")  # a forked torch with threads may hang
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            tasks = [pool.submit(_encode_block, self.folder, self.cache, weights, b) for b in todo]
            for begin, task in zip(todo, tasks, strict=True):
                task.result()
                done.add(begin)
                partial = self.folder / "done.json.partial"
                partial.write_text(json.dumps(sorted(done)))
                os.replace(partial, marker)
                yield min(len(done) * BLOCK, self.cache.num_clips)
        weights.unlink()


_MODELS: dict[Path, MobileVideoGPTForConditionalGeneration] = {}  # one a worker process


def _encode_block(folder: Path, cache: ClipCache, weights: Path, begin: int) -> None:
    torch.set_num_threads(1)
    config = cache.config
    if weights not in _MODELS:
        _MODELS[weights] = _load(config, weights)
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ("image", "video", "kept")
    }
    for start in range(begin, min(begin + BLOCK, cache.num_clips), BATCH):
        clips = slice(start, min(start + BATCH, begin + BLOCK, cache.num_clips))
        for name, value in encode_clips(_MODELS[weights], cache, clips).items():
            arrays[name][clips] = value


def _load(config: MobileVideoGPTConfig, weights: Path) -> MobileVideoGPTForConditionalGeneration:
    model = MobileVideoGPTForConditionalGeneration(config)
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model.eval()


@torch.inference_mode()
def encode_clips(
    model: MobileVideoGPTForConditionalGeneration, cache: ClipCache, clips: slice
) -> dict[str, np.ndarray]:
    """Both encoders on a slice of the cache, with the frames that selection keeps."""
    config = cache.config
    images = normalise(cache["image"][clips], config.image_mean, config.image_std)
    frames = normalise(cache["video"][clips], config.video_mean, config.video_std)
    encoding = model.encode_video(images, frames)
    features = {"image": encoding.image_features, "video": encoding.video_features}
    return {
        **{name: value.half().numpy() for name, value in features.items()},
        "kept": encoding.kept_frames.numpy(),
    }
