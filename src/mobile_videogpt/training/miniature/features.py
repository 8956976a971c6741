"""What the frozen encoders make of every clip, computed once and read through mmap.

Stages 1 to 3 never touch the encoders' weights, so each clip goes through them once, not once an
epoch. Resumes where it was killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from ...config import MobileVideoGPTConfig
from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ..files import read_done_blocks, write_json
from .clips import ClipCache, normalise

BLOCK, BATCH = 500, 25


class FeatureStore:
    """float16 image (clips, T, N, D), video (clips, K, N, D) features and int8 kept (clips, K).

    `images` is the folder of another store of the same clips, whose image features are used: what
    is kept, and what the video encoder makes of it, may still differ.
    """

    def __init__(self, folder: Path, cache: ClipCache, images: Path | None = None) -> None:
        self.folder, self.cache, self.images = folder, cache, images
        self._arrays: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            folder = self.images if name == "image" and self.images else self.folder
            self._arrays[name] = np.load(folder / f"{name}.npy", mmap_mode="r")
        return self._arrays[name]

    def _shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        config, clips = self.cache.config, self.cache.num_clips
        image, video = config.image_config, config.video_config
        image_tokens = (image.image_size // image.patch_size) ** 2
        kept = config.num_kept_frames
        own = (clips, config.num_frames, image_tokens, image.hidden_size)
        return {
            **({} if self.images else {"image": (own, "float16")}),
            "video": ((clips, kept, video.grid_size**2, video.hidden_size), "float16"),
            "kept": ((clips, kept), "int8"),
        }

    def encode(self, model: MobileVideoGPTForConditionalGeneration, workers: int) -> Iterator[str]:
        """Encode what is missing with `model`, images first; yields what has been done so far.

        The images decide which frames are kept, so the videos follow in a second pass.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, (shape, dtype) in self._shapes().items():
            path = self.folder / f"{name}.npy"
            if not path.exists():
                np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        for branch in PASSES:
            yield from self.encode_branch(branch, model, workers)

    def encode_branch(
        self, branch: str, model: MobileVideoGPTForConditionalGeneration, workers: int
    ) -> Iterator[str]:
        """One pass ("image" or "video") over the blocks that it has not done."""
        marker = self.folder / f"done-{branch}.json"
        done = read_done_blocks(marker)
        todo = [b for b in range(0, self.cache.num_clips, BLOCK) if b not in done]
        if not todo:
            return
        weights = self.folder / f"{branch}-encoder.pt"
        torch.save(model.state_dict(), weights)
        context = get_context("spawn")  # a forked torch with threads may hang
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            tasks = [pool.submit(_encode_block, self, branch, weights, b) for b in todo]
            for begin, task in zip(todo, tasks, strict=True):
                task.result()
                done.add(begin)
                write_json(marker, sorted(done))
                yield f"{branch}: {min(len(done) * BLOCK, self.cache.num_clips)} clips"
        weights.unlink()


_MODELS: dict[Path, MobileVideoGPTForConditionalGeneration] = {}  # one a worker process


def _encode_block(store: FeatureStore, branch: str, weights: Path, begin: int) -> None:
    torch.set_num_threads(1)
    cache = store.cache
    if weights not in _MODELS:
        _MODELS[weights] = _load(cache.config, weights)
    torch.manual_seed(begin)  # random selection draws the same frames again
    arrays: dict[str, np.ndarray] = {}
    for start in range(begin, min(begin + BLOCK, cache.num_clips), BATCH):
        clips = slice(start, min(start + BATCH, begin + BLOCK, cache.num_clips))
        for name, value in PASSES[branch](_MODELS[weights], store, clips).items():
            if name not in arrays:
                arrays[name] = np.load(store.folder / f"{name}.npy", mmap_mode="r+")
            arrays[name][clips] = value


def _load(config: MobileVideoGPTConfig, weights: Path) -> MobileVideoGPTForConditionalGeneration:
    model = MobileVideoGPTForConditionalGeneration(config)
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model.eval()


@torch.inference_mode()
def encode_images(
    model: MobileVideoGPTForConditionalGeneration, store: FeatureStore, clips: slice
) -> dict[str, np.ndarray]:
    """The image encoder on a slice of the clips, and the frames that selection keeps."""
    config = store.cache.config
    if store.images:
        features = torch.from_numpy(store["image"][clips].astype(np.float32))
        return {"kept": model.select(features)[1].numpy()}
    images = normalise(store.cache["image"][clips], config.image_mean, config.image_std)
    features = model.encode_images(images)
    _, kept = model.select(features)
    return {"image": features.half().numpy(), "kept": kept.numpy()}


@torch.inference_mode()
def encode_videos(
    model: MobileVideoGPTForConditionalGeneration, store: FeatureStore, clips: slice
) -> dict[str, np.ndarray]:
    """The video encoder on the kept frames of a slice of the clips."""
    config = store.cache.config
    kept = np.array(store["kept"][clips], dtype=int)
    frames = store.cache["video"][clips][np.arange(len(kept))[:, None], kept]
    pixels = normalise(frames, config.video_mean, config.video_std)
    return {"video": model.encode_video_frames(pixels).half().numpy()}


PASSES = {"image": encode_images, "video": encode_videos}
