"""One picture of any kind -> upright RGB: decoded frames, Pillow images, arrays.

Transparent pixels are laid over white, the page most animations with alpha are drawn for; a hidden
colour under full transparency means nothing.  Pixels keep the shape in which they are stored:
non-square pixels are not stretched, because the model's own preprocessing never did.
"""

import struct

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import Interpolation
from PIL import Image, ImageOps

from mobile_videogpt.video.errors import VideoError

BACKGROUND = 255
# 16 decoded frames are in memory at once; beyond this side they are reduced by a whole factor.
MAX_SIDE = 4096


def rgb_from_frame(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame of any pixel format as uint8 (H, W, 3), rotated the way it was filmed."""
    has_alpha = frame.format.name == "pal8" or any(
        part.is_alpha for part in frame.format.components
    )
    factor = -(-max(frame.width, frame.height) // MAX_SIDE)
    pixels = frame.to_ndarray(
        format="rgba" if has_alpha else "rgb24",
        width=max(1, frame.width // factor),
        height=max(1, frame.height // factor),
        interpolation=Interpolation.AREA if factor > 1 else None,
    )
    if has_alpha:
        pixels = _over_background(pixels)
    # Not `frame.side_data`: the frame would keep a container that keeps the frame, and both would
    # stay, with pixels and threads, until Python next looks for cycles.
    matrix = SideDataContainer(frame).get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-arg]
    return np.ascontiguousarray(_upright(pixels, bytes(matrix)) if matrix is not None else pixels)


def rgb_from_image(image: Image.Image) -> np.ndarray:
    """A Pillow image of any mode as uint8 (H, W, 3), EXIF orientation applied."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # Pillow would clip these at 255 instead of scaling
        return rgb_from_array(np.asarray(image))
    if image.has_transparency_data:
        return _over_background(np.asarray(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def rgb_from_array(array: np.ndarray) -> np.ndarray:
    """One frame as uint8 (H, W, 3).

    Takes (H, W), (H, W, 1), (H, W, 3), (H, W, 4) or channels first (3, H, W), as uint8, uint16, or
    floats between 0 and 1.

    Raises:
        VideoError: for any other shape, type or range.
    """
    array = np.asarray(array)
    if array.ndim == 3 and array.shape[0] == 3 and array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise VideoError(
            f"a frame has shape {array.shape}: give (height, width, 3) RGB, RGBA, or grey."
        )
    array = _as_uint8(array)
    if array.shape[2] == 4:
        return _over_background(array)
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _as_uint8(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind in "iu" and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8)
    if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        return np.rint(array * 255).astype(np.uint8)
    raise VideoError(
        f"a frame is {array.dtype} with values from {array.min():g} to {array.max():g}: "
        "give uint8, or floats between 0 and 1."
    )


def _over_background(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[:, :, 3:].astype(np.uint16)
    blended = rgba[:, :, :3] * alpha + BACKGROUND * (255 - alpha)
    return ((blended + 127) // 255).astype(np.uint8)


def _upright(pixels: np.ndarray, matrix: bytes) -> np.ndarray:
    """Apply the container's display matrix: quarter turns and mirror images, in any combination.

    A point (x, y) is shown at (a*x + c*y, b*x + d*y).
    """
    a, b, _, c, d, *_ = struct.unpack("9i", matrix)
    if abs(a) < abs(b):
        pixels = pixels.swapaxes(0, 1)
        mirror_x, mirror_y = c < 0, b < 0
    else:
        mirror_x, mirror_y = a < 0, d < 0
    return pixels[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
