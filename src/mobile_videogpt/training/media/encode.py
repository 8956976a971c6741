"""Run the frozen encoders once over everything a data set shows; see `features` for what is left.

Worker processes decode, this one encodes. A shard appears when it is whole, and what it holds is
noted after that: a run that is killed loses at most a minute, and a second run encodes only what is
new or changed.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ...processor import MobileVideoGPTProcessor
from ..data.mixture import Mixture
from ..data.records import DataError, Media
from ..files import write_json
from .features import (
    DTYPES,
    FORMAT,
    MEDIA,
    SETTINGS,
    FeatureStore,
    content_key,
    encoder_fingerprint,
    file_state,
    media_id,
    read_settings,
)
from .samples import PixelReader

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EncodeOptions:
    """How the features are made.

    Attributes:
        dtype: of the stored values, "float16" or "float32". Half the size costs less than 1e-4 of
            the loss.
        still_branch: which encoder pictures are for, "image" (stages 1 and 3) or "video" (stage 2).
        batch_size: media that are encoded at a time.
        workers: processes that decode; 0 for this one.
        shard_bytes, shard_seconds: a shard is written when either is reached.
    """

    dtype: str = "float16"
    still_branch: str = "image"
    batch_size: int = 8
    workers: int = 0
    shard_bytes: int = 256 * 2**20
    shard_seconds: float = 60.0


@dataclass
class EncodeSummary:
    """What a run did: media, how many of them were encoded now, and which cannot be read."""

    media: int = 0
    encoded: int = 0
    shared: int = 0
    """Same content as another one: nothing to encode."""
    unreadable: int = 0


def unique_media(mixture: Mixture) -> list[Media]:
    """Everything that a mixture shows, once each, in the order of its annotations."""
    named = {
        media: None
        for source in mixture.sources
        for record in source.records
        for media in record.media
    }
    return list(named)


def encode_media(
    media: Iterable[Media],
    model: MobileVideoGPTForConditionalGeneration,
    processor: MobileVideoGPTProcessor,
    folder: Path,
    options: EncodeOptions | None = None,
    on_progress: Progress | None = None,
) -> EncodeSummary:
    """Bring the features in `folder` up to date with `media`.

    Args:
        media: what is to be trained from.
        model: on its device; only its encoders are used.
        processor: of the model.
        folder: made if it does not exist.
        options: how.
        on_progress: called with media done and media to do.

    Raises:
        DataError: if the folder holds features of other encoders or in another precision.
    """
    options = options or EncodeOptions()
    encoders = _prepare(folder, encoder_fingerprint(model, processor), options)
    store = FeatureStore(folder)
    wanted = list(dict.fromkeys(media))
    todo = [item for item in wanted if store.recall(item, options.still_branch) is None]
    summary = EncodeSummary(media=len(wanted))
    report = on_progress or (lambda done, total: None)
    done = len(wanted) - len(todo)
    report(done, len(wanted))
    with _ShardWriter(folder, store, options) as writer:
        for batch in _decoded(todo, processor, encoders, options):
            new = {}
            for item in batch:
                if "error" in item.row:
                    summary.unreadable += 1
                    logger.warning("%s cannot be encoded: %s", item.path, item.row["error"])
                elif item.row["key"] in writer or item.row["key"] in new:
                    summary.shared += 1
                else:
                    new[item.row["key"]] = item
            writer.add(_encode(model, list(new.values()), options), [i.row for i in batch])
            summary.encoded += len(new)
            done += len(batch)
            report(done, len(wanted))
    return summary


def _prepare(folder: Path, encoders: str, options: EncodeOptions) -> str:
    """Make or check the folder; returns the fingerprint."""
    if options.dtype not in DTYPES:
        raise DataError(f"dtype {options.dtype!r} is unknown: use {' or '.join(DTYPES)}.")
    folder.mkdir(parents=True, exist_ok=True)
    found = read_settings(folder)
    wanted = {"format": FORMAT, "encoders": encoders, "dtype": options.dtype}
    if found is None:
        write_json(folder / SETTINGS, wanted, indent=1)
    elif found != wanted:
        what = "of other encoders" if found["encoders"] != encoders else f"in {found['dtype']}"
        raise DataError(f"{folder} holds features {what}: give another folder, or remove it.")
    return encoders


@dataclass
class _Decoded:
    """One medium: its line in `media.jsonl`, and its pixels if it could be read."""

    path: Path
    row: dict[str, Any]
    pixels: dict[str, Tensor]


class _Decoder(Dataset[_Decoded]):
    """Media i, decoded; runs in worker processes."""

    def __init__(
        self, media: Sequence[Media], reader: PixelReader, encoders: str, still_branch: str
    ) -> None:
        self.media, self.reader = media, reader
        self.encoders, self.still_branch = encoders, still_branch

    def __len__(self) -> int:
        return len(self.media)

    def __getitem__(self, index: int) -> _Decoded:
        media = self.media[index]
        kind, path, start, end, branch = media_id(media, self.still_branch)
        size, changed = file_state(media.path)
        row = {"kind": kind, "path": path, "start": start, "end": end, "branch": branch}
        row |= {"size": size, "mtime_ns": changed}
        try:
            pixels = self.reader([media])
        except (ValueError, OSError) as error:  # VideoError among them
            return _Decoded(media.path, {**row, "error": str(error)}, {})
        key = content_key(self.encoders, branch, pixels)
        return _Decoded(media.path, {**row, "key": key}, pixels)


def _decoded(
    media: Sequence[Media],
    processor: MobileVideoGPTProcessor,
    encoders: str,
    options: EncodeOptions,
) -> Iterator[list[_Decoded]]:
    """Batches of decoded media, in order."""
    if not media:
        return
    reader = PixelReader(processor, options.still_branch)
    yield from DataLoader(
        _Decoder(media, reader, encoders, options.still_branch),
        batch_size=options.batch_size,
        num_workers=min(options.workers, len(media)),
        collate_fn=list,
    )


@torch.inference_mode()
def _encode(
    model: MobileVideoGPTForConditionalGeneration, items: list[_Decoded], options: EncodeOptions
) -> dict[str, Tensor]:
    """Tensors by their names in a shard."""
    tensors: dict[str, Tensor] = {}
    dtype = DTYPES[options.dtype]
    videos = [item for item in items if "video_pixel_values" in item.pixels]
    stills = [item for item in items if "still_pixel_values" in item.pixels]

    def stacked(chosen: list[_Decoded], name: str) -> Tensor:
        return torch.cat([item.pixels[name] for item in chosen]).to(model.device)

    def keep(chosen: list[_Decoded], name: str, features: Tensor | None) -> None:
        assert features is not None
        for item, value in zip(chosen, features.to(dtype).cpu(), strict=True):
            tensors[f"{item.row['key']}.{name}"] = value.clone()

    if videos:
        encoded = model.encode_video(
            stacked(videos, "image_pixel_values"), stacked(videos, "video_pixel_values")
        )
        keep(videos, "image_features", encoded.image_features)
        keep(videos, "video_features", encoded.video_features)
    if stills:
        pixels = stacked(stills, "still_pixel_values")
        features = model.encode_still_features(pixels, options.still_branch)
        keep(stills, "still_features", features)
    return tensors


class _ShardWriter:
    """Collects tensors and lines, and writes both: first a whole shard, then what it holds."""

    def __init__(self, folder: Path, store: FeatureStore, options: EncodeOptions) -> None:
        self.folder, self.store, self.options = folder, store, options
        self._tensors: dict[str, Tensor] = {}
        self._keys: set[str] = set()
        self._rows: list[dict[str, Any]] = []
        self._since = time.monotonic()

    def __enter__(self) -> _ShardWriter:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        """Keep what was made, also when something went wrong or somebody interrupted."""
        self.flush()

    def __contains__(self, key: str) -> bool:
        return key in self._keys or key in self.store

    def add(self, tensors: dict[str, Tensor], rows: list[dict[str, Any]]) -> None:
        """Take a batch; writes a shard when it is time to."""
        self._tensors |= tensors
        self._keys |= {name.partition(".")[0] for name in tensors}
        self._rows += rows
        size = sum(t.numel() * t.element_size() for t in self._tensors.values())
        is_late = time.monotonic() - self._since >= self.options.shard_seconds
        if size >= self.options.shard_bytes or is_late:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        if self._tensors:
            first = min(self._tensors)[:16]
            path = self.folder / f"features-{first}.safetensors"
            partial = path.with_suffix(".partial")
            save_file(self._tensors, partial, metadata={"format": "pt"})
            os.replace(partial, path)
        if self._rows:
            with (self.folder / MEDIA).open("a", encoding="utf-8") as file:
                # A killed run may have left half a line: it must not spoil the first of these.
                file.write("\n" + "".join(f"{json.dumps(row)}\n" for row in self._rows))
        self._tensors, self._rows = {}, []
        self._since = time.monotonic()
