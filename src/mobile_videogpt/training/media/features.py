"""What the frozen encoders make of every video and picture, stored once and trained from.

A folder of features holds

    features.json            which encoders, and in which precision the values are kept
    features-*.safetensors   shards: tensors KEY.image_features, KEY.video_features,
                             KEY.still_features
    media.jsonl              which file (by path, size and time of change) has which KEY

KEY hashes the sampled pixels, the encoders' weights and the settings between the two, never a path:
files of one content share their features, and a moved data set only needs `media.jsonl` anew.
`encode` writes such a folder, `FeatureReader` reads it in the place of `samples.PixelReader`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ...processor import MobileVideoGPTProcessor
from ...video.errors import VideoError
from ..data.records import DataError, Media

FORMAT = 1
DTYPES = {"float16": torch.float16, "float32": torch.float32}
SETTINGS, MEDIA = "features.json", "media.jsonl"
# What selection depends on besides the image features; the rest of the settings is the processor's.
_CONFIG = (
    "image_feature_layer",
    "frame_selection",
    "frames_per_chunk",
    "frames_kept_per_chunk",
    "select_largest",
    "encoders",
    "video_passes",
)
MediaId = tuple[str, str, float | None, float | None, str]


def encoder_fingerprint(
    model: MobileVideoGPTForConditionalGeneration, processor: MobileVideoGPTProcessor
) -> str:
    """Hash of all that stands between pixels and features: weights, sizes, means, selection."""
    settings: dict[str, Any] = {name: getattr(model.config, name) for name in _CONFIG}
    settings |= {
        "num_frames": processor.num_frames,
        "image_options": processor.image_options,
        "video_options": processor.video_options,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for part in (model.image_encoder, model.video_encoder):
        for name, weight in sorted(part.state_dict().items()):
            digest.update(f"{name}{tuple(weight.shape)}".encode())
            digest.update(weight.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()


def content_key(encoders: str, branch: str, pixels: Mapping[str, Tensor]) -> str:
    """The name of one medium's features.

    Args:
        encoders: their fingerprint.
        branch: of a still; empty for a video.
        pixels: what the encoders would be given.
    """
    digest = hashlib.sha256(f"{encoders}{branch}".encode())
    for name, tensor in sorted(pixels.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:40]


def media_id(media: Media, still_branch: str) -> MediaId:
    """What makes a medium another one in `media.jsonl`."""
    branch = still_branch if media.kind == "image" else ""
    return (media.kind, os.path.abspath(media.path), media.start, media.end, branch)


def file_state(path: Path) -> tuple[int, int]:
    """Size and time of change; zeros for what is not there."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_size, found.st_mtime_ns


class FeatureStore:
    """A folder of features, opened for reading; tensors stay on disk until they are asked for.

    Attributes:
        folder: where it lies.
        encoders: fingerprint of the encoders that made it.
        dtype: of the stored values.

    Raises:
        DataError: if the folder holds no features, or those of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        settings = read_settings(self.folder)
        if settings is None:
            raise DataError(
                f"{folder} holds no features: make them with `mobile-videogpt data encode`."
            )
        self.encoders: str = settings["encoders"]
        self.dtype: str = settings["dtype"]
        self.media = _read_media(self.folder / MEDIA)
        self._shards = _tensor_names(self.folder)
        self._files: dict[Path, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without open files, which cannot be sent to another process."""
        return {**self.__dict__, "_files": {}}

    def __contains__(self, key: str) -> bool:
        return key in self._shards

    def recall(self, media: Media, still_branch: str) -> dict[str, Any] | None:
        """What is known of a medium: its `key` or its `error`; None if it is new or changed."""
        row = self.media.get(media_id(media, still_branch))
        if row is None or (row["size"], row["mtime_ns"]) != file_state(media.path):
            return None
        return row if "error" in row or row["key"] in self else None

    def features(self, key: str) -> dict[str, Tensor]:
        """The features of one medium in float32, without a batch dimension."""
        path, names = self._shards[key]
        if path not in self._files:
            self._files[path] = safe_open(path, "pt")
        return {name: self._files[path].get_tensor(f"{key}.{name}").float() for name in names}

    def require(
        self, media: Iterable[Media], encoders: str, still_branch: str, advice: str
    ) -> None:
        """Check before a run that there are features of everything, made by these encoders.

        Raises:
            DataError: naming the first medium without features; `advice` says what to run.
        """
        if encoders != self.encoders:
            raise DataError(
                f"The features in {self.folder} are those of other encoders (or other frames) than "
                f"the model has; run: {advice}"
            )
        missing = [item.path for item in media if self.recall(item, still_branch) is None]
        if missing:
            raise DataError(
                f"{len(missing)} of the media have no features in {self.folder} or were changed "
                f"since, the first is {missing[0]}; run: {advice}"
            )


class FeatureReader:
    """Media -> stored features, one row's media at a time; see `samples.PixelReader`."""

    def __init__(self, store: FeatureStore, still_branch: str = "image") -> None:
        self.store, self.still_branch = store, still_branch

    def __call__(self, media: Sequence[Media]) -> dict[str, Tensor]:
        """Inputs of the model's `forward`: (videos, T, N, D), (videos, K, N, D), (stills, N, D).

        Raises:
            VideoError: for what could not be read when the features were made, as reading the
                pixels would.
        """
        found: dict[str, list[Tensor]] = {}
        for item in media:
            row = self.store.recall(item, self.still_branch)
            if row is None:
                raise DataError(f"{item.path} has no features in {self.store.folder}.")
            if "error" in row:
                raise VideoError(row["error"])
            for name, tensor in self.store.features(row["key"]).items():
                found.setdefault(name, []).append(tensor)
        return {name: torch.stack(tensors) for name, tensors in found.items()}


def read_settings(folder: Path) -> dict[str, Any] | None:
    """`features.json`; None where there is none.

    Raises:
        DataError: for one of another version.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return None
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if settings.get("format") != FORMAT:
        raise DataError(
            f"{path} has format {settings.get('format')}, this version reads {FORMAT}: encode anew."
        )
    return settings


def _read_media(path: Path) -> dict[MediaId, dict[str, Any]]:
    """The last line about each medium; a line that a killed run left half written is skipped."""
    media: dict[MediaId, dict[str, Any]] = {}
    if not path.is_file():
        return media
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
            media[row["kind"], row["path"], row["start"], row["end"], row["branch"]] = row
        except (ValueError, KeyError, TypeError):
            continue
    return media


def _tensor_names(folder: Path) -> dict[str, tuple[Path, tuple[str, ...]]]:
    """Key -> its shard and the names of its tensors."""
    shards: dict[str, tuple[Path, tuple[str, ...]]] = {}
    for path in sorted(folder.glob("features-*.safetensors")):
        with safe_open(path, "pt") as file:
            for full in file.keys():  # noqa: SIM118 - no mapping
                key, _, name = full.partition(".")
                names = shards[key][1] if key in shards and shards[key][0] == path else ()
                shards[key] = (path, (*names, name))
    return shards
