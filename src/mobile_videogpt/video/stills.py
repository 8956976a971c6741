"""Videos that are pictures: folders of frames, arrays, lists of images, animations Pillow knows.

The first three have no clock of their own.  Without a frame rate from the caller their frames are
counted one per second for display, and sampling spreads over all of them.
"""

import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.rgb import rgb_from_array, rgb_from_image

_LOG = logging.getLogger(__name__)
IMAGE_SUFFIXES = {
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".ppm",
    ".gif",
    ".avif",
}
# What browsers use for frames that name no duration, in milliseconds.
_DEFAULT_DURATION_MS = 100


class StillSource:
    """Frames that are made one by one on request.

    Attributes:
        fps: frames per second, or None without a clock.
    """

    codec = "pictures"
    pixel_format = ""
    container_format = "pictures"
    has_audio = False

    def __init__(
        self, load: Sequence[Callable[[], np.ndarray]], name: str, fps: float | None = None
    ) -> None:
        if not load:
            raise VideoError(f"{name} has no frames: give at least one.")
        self._load = load
        self.name = name
        self.fps = fps

    @property
    def num_frames(self) -> int:
        return len(self._load)

    def times(self) -> np.ndarray:
        """Seconds since the first frame, one per frame, float64 (frames,)."""
        return np.arange(self.num_frames) / (self.fps or 1.0)

    def read(self, indices: list[int]) -> dict[int, np.ndarray]:
        """Frames at ``indices``; pictures that cannot be opened are left out."""
        frames = {}
        for index in indices:
            try:
                frames[index] = self._load[index]()
            except VideoError:
                raise
            except (OSError, ValueError, SyntaxError) as error:  # how Pillow reports damage
                _LOG.warning("%s: picture %d cannot be read (%s).", self.name, index, error)
        return frames


class AnimationSource:
    """An animated (or still) image that Pillow reads: WebP, PNG, AVIF, TIFF."""

    pixel_format = ""
    has_audio = False

    def __init__(self, file: Path | IO[bytes], name: str) -> None:
        self._file = file
        self.name = name
        with self._open() as image:
            self.codec = self.container_format = (image.format or "image").lower()
            self.num_frames = int(getattr(image, "n_frames", 1))
            durations = [self._duration_ms(image, index) for index in range(self.num_frames)]
        ends = np.cumsum(durations) / 1000
        self._times = np.concatenate([[0.0], ends[:-1]])
        self.fps = self.num_frames / float(ends[-1])

    def times(self) -> np.ndarray:
        """Seconds since the first frame, one per frame, float64 (frames,)."""
        return self._times

    def read(self, indices: list[int]) -> dict[int, np.ndarray]:
        """Frames at ascending ``indices``; those behind damage are left out."""
        frames = {}
        with self._open() as image:
            for index in indices:
                try:
                    image.seek(index)
                    frames[index] = rgb_from_image(image)
                except (OSError, EOFError, ValueError, SyntaxError) as error:
                    _LOG.warning("%s is damaged at frame %d (%s).", self.name, index, error)
                    break
        return frames

    def _duration_ms(self, image: Image.Image, index: int) -> float:
        try:
            image.seek(index)
            image.load()  # WebP knows a frame's duration once it is decoded
        except (OSError, EOFError, ValueError, SyntaxError):
            return _DEFAULT_DURATION_MS
        return float(image.info.get("duration") or _DEFAULT_DURATION_MS)

    def _open(self) -> Image.Image:
        if not isinstance(self._file, Path):
            self._file.seek(0)
        try:
            return Image.open(self._file)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise VideoError(
                f"{self.name} cannot be read as an image: check that the file is complete."
            ) from error


def folder_source(folder: Path, fps: float | None) -> StillSource:
    """The pictures of a folder in natural order: frame2 before frame10."""
    paths = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not paths:
        raise VideoError(
            f"{folder} is a folder without images: give a video, or a folder of frames "
            f"({', '.join(sorted(IMAGE_SUFFIXES))})."
        )
    paths.sort(key=lambda path: natural_key(path.name))
    return StillSource([partial(_load_picture, path) for path in paths], folder.name, fps)


def array_source(array: Any, name: str, fps: float | None) -> StillSource:
    """Frames of an array or tensor: (T, H, W, 3), RGBA or grey, (T, 3, H, W), or one frame."""
    frames = np.asarray(array)
    is_one_colour_frame = frames.ndim == 3 and frames.shape[-1] in (3, 4)
    if frames.ndim == 2 or is_one_colour_frame:
        frames = frames[None]
    if frames.ndim not in (3, 4):
        raise VideoError(
            f"an array of shape {frames.shape} is not a video: give (frames, height, width, 3)."
        )
    scale = _whole_array_scale(frames)
    return StillSource([partial(_load_array, frame, scale) for frame in frames], name, fps)


def list_source(items: Sequence[Any], fps: float | None) -> StillSource:
    """A list of Pillow images, arrays, or paths of pictures."""
    return StillSource([partial(_load_item, item) for item in items], f"{len(items)} frames", fps)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key in which numbers count as numbers.

    >>> sorted(["f10.png", "f2.png", "F1.png"], key=natural_key)
    ['F1.png', 'f2.png', 'f10.png']
    """
    pieces = re.split(r"(\d+)", name)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.lower()) for piece in pieces]


def _whole_array_scale(frames: np.ndarray) -> float | None:
    """Factor for float frames in 0..255; None leaves the judgement to each frame."""
    if frames.dtype.kind != "f" or not frames.size:
        return None
    return 1 / 255 if 1 < frames.max() <= 255 else None


def _load_array(frame: np.ndarray, scale: float | None) -> np.ndarray:
    return rgb_from_array(frame if scale is None else frame * scale)


def _load_picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return rgb_from_image(image)


def _load_item(item: Any) -> np.ndarray:
    if isinstance(item, Image.Image):
        return rgb_from_image(item)
    if isinstance(item, str | Path):
        return _load_picture(Path(item))
    return rgb_from_array(item)
