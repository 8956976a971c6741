"""uint8 RGB frames -> the normalised pixels of the two encoders (paper, figure 2, both inputs).

The released model was trained on pixels of two libraries, and its numbers follow them:

* image encoder: Pillow's bicubic with antialiasing, shorter side to ``size``, centre crop;
* video encoder: OpenCV's bilinear straight to a square: aspect ratio lost, no antialiasing.

The second is rewritten here in OpenCV's own fixed-point arithmetic: OpenCV is not needed, and every
pixel is equal, not close.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from mobile_videogpt.video.frame_threads import for_each_frame

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Frames = Sequence[np.ndarray] | np.ndarray | torch.Tensor

_PILLOW_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# A frame so many times as long as wide is no picture any more, and need not be scaled as one.
_LONGEST = 32
# OpenCV holds bilinear weights as integers out of 2048.
_WEIGHT_ONE = 2048


def image_pixels(
    frames: Frames,
    *,
    size: int = 224,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
    interpolation: str = "bicubic",
    resize: str = "crop",
) -> torch.Tensor:
    """Pixels of the image encoder, as the released CLIP preprocessing makes them.

    Args:
        frames: T frames, uint8 (H, W, 3) RGB; their sizes may differ.
        size: side of the square result.
        mean: per channel, subtracted after division by 255.
        std: per channel, divided by.
        interpolation: a Pillow filter: nearest, bilinear, bicubic or lanczos.
        resize: "crop" scales the shorter side and crops the centre, "stretch" gives up the
            aspect ratio.

    Returns:
        float32 (T, 3, size, size).

    Raises:
        ValueError: for frames that are not uint8 RGB, or an unknown option.
    """
    if interpolation not in _PILLOW_FILTERS:
        raise ValueError(
            f"image interpolation {interpolation!r} is unknown: "
            f"choose one of {', '.join(_PILLOW_FILTERS)}."
        )
    if resize not in ("crop", "stretch"):
        raise ValueError(f"image resize {resize!r} is unknown: choose crop or stretch.")
    filter_ = _PILLOW_FILTERS[interpolation]
    fit = _resize_and_crop if resize == "crop" else _stretch
    squares = for_each_frame(
        lambda frame: fit(Image.fromarray(frame), size, filter_), _checked(frames)
    )
    return _normalised(np.stack(squares), mean, std)


def video_pixels(
    frames: Frames,
    *,
    size: int = 224,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    interpolation: str = "bilinear",
) -> torch.Tensor:
    """Pixels of the video encoder, as the released VideoMamba preprocessing makes them.

    Args:
        frames: T frames, uint8 (H, W, 3) RGB; their sizes may differ.
        size: side of the square result.
        mean: per channel, subtracted after division by 255.
        std: per channel, divided by.
        interpolation: only "bilinear" (OpenCV's, without antialiasing).

    Returns:
        float32 (T, 3, size, size).

    Raises:
        ValueError: for frames that are not uint8 RGB, or an unknown option.
    """
    if interpolation != "bilinear":
        raise ValueError(f"video interpolation {interpolation!r} is unknown: use bilinear.")
    squares = for_each_frame(lambda frame: resize_bilinear(frame, size, size), _checked(frames))
    return _normalised(np.stack(squares), mean, std)


def resize_bilinear(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """``cv2.resize(frame, (width, height))`` for uint8 (H, W, C), bit for bit.

    OpenCV weighs columns with 11-bit integers, drops 4 bits, weighs rows, drops 16 bits of each
    product before adding, and rounds the last 2.  Halving exactly is a mean of 2 x 2 instead.
    """
    if frame.shape[:2] == (height, width):
        return frame.copy()
    if frame.shape[:2] == (2 * height, 2 * width):
        blocks = frame.reshape(height, 2, width, 2, -1).astype(np.uint16)
        return ((blocks.sum(axis=(1, 3), dtype=np.uint16) + 2) >> 2).astype(np.uint8)
    left, right, left_weight, right_weight = _columns(frame.shape[1], width)
    top, bottom, top_weight, bottom_weight = _rows(frame.shape[0], height)

    def blended(rows: np.ndarray) -> np.ndarray:
        if frame.shape[0] >= height:
            strip = frame[rows]  # (height, W, C): the only rows that count
            row = strip[:, left] * left_weight + strip[:, right] * right_weight
            return row >> 4
        # Fewer rows than are wanted: of a wide strip copies of them would fill the memory.
        row = frame[:, left] * left_weight + frame[:, right] * right_weight
        return (row >> 4)[rows]

    above = (blended(top) * top_weight) >> 16
    below = (blended(bottom) * bottom_weight) >> 16
    return ((above + below + 2) >> 2).astype(np.uint8)


@lru_cache(maxsize=32)
def _columns(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Left and right column of each target column and their weights, (target, 1) int32."""
    position, fraction = _positions(source, target)
    outside = (position < 0) | (position >= source - 1)
    fraction = np.where(outside, np.float32(0), fraction)
    left = position.clip(0, source - 1)
    right = (left + 1).clip(0, source - 1)
    near, far = _weights(fraction)
    return left, right, near[:, None], far[:, None]


@lru_cache(maxsize=32)
def _rows(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Upper and lower row of each target row and their weights, (target, 1, 1) int32.

    Unlike columns, rows keep their weights at the border, where both rows are the same one: it
    rounds differently.
    """
    position, fraction = _positions(source, target)
    top, bottom = position.clip(0, source - 1), (position + 1).clip(0, source - 1)
    near, far = _weights(fraction)
    return top, bottom, near[:, None, None], far[:, None, None]


def _positions(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres of the target in source pixels: whole part, and the fraction in float32."""
    scale = 1.0 / (target / source)  # as OpenCV computes it: not always source / target
    centre = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    whole = np.floor(centre)
    return whole.astype(np.int64), centre - whole


def _weights(fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one = np.float32(1)
    near, far = (np.rint(part * np.float32(_WEIGHT_ONE)) for part in (one - fraction, fraction))
    return near.astype(np.int32), far.astype(np.int32)


def _resize_and_crop(image: Image.Image, size: int, filter_: Image.Resampling) -> np.ndarray:
    shorter, longer = sorted(image.size)
    scaled = int(size * longer / shorter)
    if longer > _LONGEST * shorter:
        return _middle(image, size, filter_)
    width, height = (size, scaled) if image.width <= image.height else (scaled, size)
    resized = np.asarray(image.resize((width, height), filter_))
    top, left = (height - size) // 2, (width - size) // 2
    return resized[top : top + size, left : left + size]


def _middle(image: Image.Image, size: int, filter_: Image.Resampling) -> np.ndarray:
    """The square in the middle alone: all of a strip, scaled up, could fill the memory."""
    shorter = min(image.size)
    left, top = (image.width - shorter) / 2, (image.height - shorter) / 2
    box = (left, top, left + shorter, top + shorter)
    return np.asarray(image.resize((size, size), filter_, box=box))


def _stretch(image: Image.Image, size: int, filter_: Image.Resampling) -> np.ndarray:
    return np.asarray(image.resize((size, size), filter_))


def _normalised(squares: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    pixels = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255  # (T, 3, size, size)
    shift, scale = (torch.tensor(values).float().view(3, 1, 1) for values in (mean, std))
    return ((pixels - shift) / scale).contiguous()


def _checked(frames: Frames) -> list[np.ndarray]:
    arrays = [np.asarray(frame) for frame in frames]
    if not arrays:
        raise ValueError("there are no frames to make pixels of: give at least one.")
    for index, array in enumerate(arrays):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
            raise ValueError(
                f"frame {index} is {array.dtype} of shape {array.shape}: "
                "frames must be uint8 (height, width, 3) RGB."
            )
    return arrays
