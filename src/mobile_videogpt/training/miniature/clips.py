"""MovingShapes clips rendered once: both encoders' pixels and the dense labels, as memory maps.

The pixels go through the package's only road from frames to pixels (`video.transforms`), so that
training sees what inference will see. Rendering resumes where it was killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from ...config import MobileVideoGPTConfig
from ...synthetic import labels
from ...synthetic.world import make_clip
from ...video.transforms import image_pixels, video_pixels
from ..files import read_done_blocks, write_json

BLOCK = 250  # clips rendered by one task
RAW_MEAN, RAW_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)  # pixels are stored before normalising
CLIP_FRAMES, CLIP_SIDE = 32, 128  # what `write_dataset` puts into its mp4 files


class ClipCache:
    """Rendered clips `0..num_clips-1` of one split in `folder`; arrays are read through mmap.

    image, video: uint8 (clips, T, H, W, 3); owners: int8 (clips, T, grid, grid); frame_values:
    int8 (clips, T, objects, 3); clip_values: int8 (clips, objects, 9); velocity: float16 (clips,
    objects, T, 2); offset: float16 (clips, T, grid, grid, 2).
    """

    def __init__(
        self, folder: Path, config: MobileVideoGPTConfig, num_clips: int, split: str
    ) -> None:
        self.folder, self.config = folder, config
        self.num_clips, self.split = num_clips, split
        self._arrays: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            self._arrays[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return self._arrays[name]

    def shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Array name -> (shape, dtype)."""
        frames = self.config.num_frames
        grid = self.config.image_config.image_size // self.config.image_config.patch_size
        clips, objects = self.num_clips, labels.MAX_SHAPES

        def pixels(size: int) -> tuple[tuple[int, ...], str]:
            return (clips, frames, size, size, 3), "uint8"

        return {
            "image": pixels(self.config.image_config.image_size),
            "video": pixels(self.config.video_config.image_size),
            "owners": ((clips, frames, grid, grid), "int8"),
            "frame_values": ((clips, frames, objects, 3), "int8"),
            "clip_values": ((clips, objects, len(labels.CLIP_ATTRIBUTES)), "int8"),
            "velocity": ((clips, objects, frames, 2), "float16"),
            "offset": ((clips, frames, grid, grid, 2), "float16"),
        }

    def render(self, workers: int) -> Iterator[int]:
        """Render what is missing; yields the number of clips done so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        marker = self.folder / "done.json"
        done = read_done_blocks(marker)
        for name, (shape, dtype) in self.shapes().items():
            path = self.folder / f"{name}.npy"
            if not path.exists():
                np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        todo = [b for b in range(0, self.num_clips, BLOCK) if b not in done]
        with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            tasks = [pool.submit(_render_block, self, begin) for begin in todo]
            for begin, task in zip(todo, tasks, strict=True):
                task.result()
                done.add(begin)
                write_json(marker, sorted(done))
                yield min(len(done) * BLOCK, self.num_clips)


def _render_block(cache: ClipCache, begin: int) -> None:
    arrays = {
        name: np.load(cache.folder / f"{name}.npy", mmap_mode="r+") for name in cache.shapes()
    }
    for index in range(begin, min(begin + BLOCK, cache.num_clips)):
        for name, value in _render_clip(cache, index).items():
            arrays[name][index] = value
    # No flush: the page cache survives a killed process, and msync of gigabytes stalls everything.


def _render_clip(cache: ClipCache, index: int) -> dict[str, np.ndarray]:
    config = cache.config
    clip = make_clip(index, cache.split)
    times = np.arange(config.num_frames) / config.num_frames
    frames = clip.frames(CLIP_FRAMES, CLIP_SIDE)[:: CLIP_FRAMES // config.num_frames]
    image_size, video_size = config.image_config.image_size, config.video_config.image_size
    grid = image_size // config.image_config.patch_size
    padding = (0, labels.MAX_SHAPES - len(clip.shapes))
    frame_values = np.pad(labels.frame_attributes(clip, times), (padding, (0, 0), (0, 0)))
    velocity = np.pad(labels.velocities(clip, times), (padding, (0, 0), (0, 0)))
    return {
        "image": _bytes(image_pixels(frames, size=image_size, mean=RAW_MEAN, std=RAW_STD)),
        "video": _bytes(video_pixels(frames, size=video_size, mean=RAW_MEAN, std=RAW_STD)),
        "owners": labels.patch_owners(clip, times, grid),
        "frame_values": frame_values.transpose(1, 0, 2),
        "clip_values": np.pad(labels.clip_attributes(clip), (padding, (0, 0))),
        "velocity": velocity,
        "offset": labels.offsets(clip, times, grid),
    }


def _bytes(pixels: torch.Tensor) -> np.ndarray:
    return (pixels.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()


def normalise(
    pixels: np.ndarray, mean: Sequence[float], std: Sequence[float], noise: float = 0.0
) -> torch.Tensor:
    """uint8 (..., H, W, 3) -> float32 (..., 3, H, W); Gaussian `noise` stands in for a codec."""
    values = torch.from_numpy(np.array(pixels)).float().div_(255)
    values = (values - torch.tensor(mean)) / torch.tensor(std)
    if noise:
        values += (
            noise * torch.rand(len(values), *[1] * (values.ndim - 1)) * torch.randn_like(values)
        )
    return values.movedim(-1, -3)
