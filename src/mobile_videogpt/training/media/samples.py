"""Records -> model inputs: decoded media and labelled token ids, a row for each.

A row may hold videos, stills, both or neither.  Media that cannot be read cost
a warning and a replacement, which depends on the position alone; a run does not end because of one
file in a million.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from ...processor import MobileVideoGPTProcessor
from ...processor.messages import Message
from ...processor.prompt import IGNORED, LabelStyle
from ...video.source import read_video
from ..data.records import DataError, Media, Record
from .collate import Row

logger = logging.getLogger(__name__)

MOST_REPLACEMENTS = 10  # unreadable samples in a row that a run survives
MediaReader = Callable[[Sequence[Media]], dict[str, torch.Tensor]]


class RecordStream(Protocol):
    """An endless stream of records; `data.Mixture` is one."""

    samples_per_epoch: int

    def record(self, position: int) -> Record: ...


class PixelReader:
    """Media -> pixel tensors of both encoders, one row's media at a time."""

    def __init__(self, processor: MobileVideoGPTProcessor, still_branch: str = "image") -> None:
        self.processor = processor
        self.still_branch = still_branch

    def __call__(self, media: Sequence[Media]) -> dict[str, torch.Tensor]:
        """Inputs of the model's `forward`; raises `VideoError` for what cannot be read."""
        tensors: dict[str, torch.Tensor] = {}
        videos = [self._video(item) for item in media if item.kind == "video"]
        stills = [item.path for item in media if item.kind == "image"]
        if videos:
            image, video = zip(*videos, strict=True)
            tensors["image_pixel_values"] = torch.cat(image)  # (videos, T, 3, H, W)
            tensors["video_pixel_values"] = torch.cat(video)  # (videos, T, 3, h, w)
        if stills:
            pixels = self.processor.still_pixels(stills, self.still_branch)
            tensors["still_pixel_values"] = pixels  # (stills, 3, H, W)
        return tensors

    def _video(self, item: Media) -> tuple[torch.Tensor, torch.Tensor]:
        count = self.processor.num_frames
        clip = read_video(item.path, start=item.start, end=item.end, count=count)
        return self.processor.pixels(clip.frames)


class SampleDataset(Dataset[Row]):
    """Row p is the stream's record at position p, ready for `collate.SampleCollator`.

    Args:
        stream: of records.
        processor: of the model.
        num_samples: how many positions there are; an epoch does not end the stream.
        still_branch: which encoder stills are for.
        label_style: what is learned, see the processor.
        max_length: tokens of a row; longer text is cut.
        reader: media to tensors, by default their pixels.
    """

    def __init__(
        self,
        stream: RecordStream,
        processor: MobileVideoGPTProcessor,
        num_samples: int,
        *,
        still_branch: str = "image",
        label_style: LabelStyle = "answers",
        max_length: int | None = None,
        reader: MediaReader | None = None,
    ) -> None:
        self.stream, self.processor, self.num_samples = stream, processor, num_samples
        self.prompt = processor.prompt_encoder(still_branch)
        self.still_branch = still_branch
        self.label_style: LabelStyle = label_style
        self.max_length = max_length
        self.reader: MediaReader = reader or PixelReader(processor, still_branch)

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, position: int) -> Row:
        for attempt in range(MOST_REPLACEMENTS + 1):
            record = self.stream.record(self._replacement(position, attempt))
            try:
                return {**self.row(record), "replaced": attempt}
            except (ValueError, OSError) as error:  # VideoError and unusable text among them
                logger.warning("%s is left out: %s", record.origin, error)
        raise DataError(
            f"{MOST_REPLACEMENTS + 1} samples in a row cannot be used, the last is {record.origin}:"
            " look at the data with `mobile-videogpt data check`."
        )

    def _replacement(self, position: int, attempt: int) -> int:
        """Another position for an unusable sample: drawn anew, but always the same."""
        if not attempt:
            return position
        return int(
            np.random.default_rng([position, attempt]).integers(self.stream.samples_per_epoch)
        )

    def row(self, record: Record) -> Row:
        """Token ids and labels (L,) of a record, and its media as tensors.

        `prefix_length` tokens reach to the last visual one; rows of one `media_key` show the same.

        Raises:
            ValueError: if there is nothing to learn, or no room for a medium.
            VideoError: for an unreadable medium.
        """
        ids, labels = self.prompt.encode_with_labels(self.messages(record), self.label_style)
        is_visual = self._is_visual(ids, record)
        if self.max_length is not None:
            if is_visual[self.max_length :].any():
                raise ValueError(f"its media do not fit into max_length {self.max_length}")
            ids, labels = ids[: self.max_length], labels[: self.max_length]
        if all(label == IGNORED for label in labels[1:]):
            raise ValueError("it holds no answer to learn")
        return {
            "input_ids": torch.tensor(ids),
            "labels": torch.tensor(labels),
            "visual_tokens": int(is_visual.sum()),
            "prefix_length": int(np.flatnonzero(is_visual)[-1]) + 1 if is_visual.any() else 0,
            "media_key": record.media,
            "media": self.reader(record.media),
        }

    def _is_visual(self, ids: list[int], record: Record) -> np.ndarray:
        """Where placeholders stand, bool (L,); the text itself may hold none."""
        processor, kinds = self.processor, [media.kind for media in record.media]
        still_id = -1 if processor.still_token_id is None else processor.still_token_id
        is_visual = np.isin(ids, [processor.video_token_id, still_id])
        stills = processor.num_still_tokens[self.still_branch] * kinds.count("image")
        if is_visual.sum() != processor.num_visual_tokens * kinds.count("video") + stills:
            raise ValueError("its text holds placeholders of media")
        return is_visual

    def messages(self, record: Record) -> list[Message]:
        """Turns as messages; media are None here, they travel as tensors."""
        messages = [
            Message(
                turn.role,
                turn.text,
                tuple(None for media in turn.media if media.kind == "video"),
                tuple(None for media in turn.media if media.kind == "image"),
            )
            for turn in record.turns
        ]
        if messages[0].role != "system":
            messages.insert(0, Message("system", self.processor.system_prompt))
        return messages
