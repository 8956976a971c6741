"""Which videos belong to a batch, in the order of their placeholders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from mobile_videogpt.processor.messages import Message
from mobile_videogpt.video.source import VideoClip


def fill_in(conversations: list[list[Message]], given: list[Any]) -> list[Any]:
    """Videos in the order of their placeholders: those in the messages, the rest from ``given``."""
    waiting = iter(given)
    named = [video for item in conversations for message in item for video in message.videos]
    missing = object()
    filled = [next(waiting, missing) if video is None else video for video in named]
    return [video for video in filled if video is not missing] + list(waiting)


def flat_videos(videos: Any) -> list[Any]:
    """``videos`` as a flat list; a list of frames is one video, any other list is several."""
    if videos is None:
        return []
    if _is_one_video(videos):
        return [videos]
    return [video for item in videos for video in flat_videos(item)]


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
