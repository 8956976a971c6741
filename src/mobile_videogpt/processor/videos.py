"""Which videos and stills belong to a batch, in the order of their placeholders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mobile_videogpt.processor.messages import Message
from mobile_videogpt.video.source import VideoClip


def fill_in(
    conversations: list[list[Message]], given: list[Any], kind: str = "videos"
) -> list[Any]:
    """Media in the order of their placeholders: those in the messages, the rest from ``given``.

    ``kind`` is "videos" or "stills".
    """
    waiting = iter(given)
    named = [
        medium for item in conversations for message in item for medium in getattr(message, kind)
    ]
    missing = object()
    filled = [next(waiting, missing) if medium is None else medium for medium in named]
    return [medium for medium in filled if medium is not missing] + list(waiting)


def flat_videos(videos: Any) -> list[Any]:
    """``videos`` as a flat list; a list of frames is one video, any other list is several."""
    if videos is None:
        return []
    if _is_one_video(videos):
        return [videos]
    return [video for item in videos for video in flat_videos(item)]


def flat_stills(images: Any) -> list[Any]:
    """``images`` as a flat list of single pictures."""
    if images is None:
        return []
    is_array = isinstance(images, np.ndarray | torch.Tensor)
    if images.ndim <= 3 if is_array else not isinstance(images, list | tuple):
        return [images]
    return [still for item in images for still in flat_stills(item)]


def _is_one_video(item: Any) -> bool:
    if isinstance(item, str | Path | bytes | VideoClip | Image.Image) or hasattr(item, "read"):
        return True
    if isinstance(item, np.ndarray | torch.Tensor):
        return item.ndim <= 4
    if not isinstance(item, Sequence):
        return True  # read_video says what is wrong with it
    first = item[0] if item else None
    if isinstance(first, np.ndarray | torch.Tensor):
        return first.ndim <= 3
    return isinstance(first, Image.Image)
