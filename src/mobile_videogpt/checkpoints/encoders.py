"""Encoders that a released folder lacks: found at a local path in its config.json, or on the hub.

The released files hold VideoMamba but, unless CLIP had been loaded before saving, not CLIP.
"""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import CLIPVisionConfig

from mobile_videogpt.checkpoints.errors import CheckpointError
from mobile_videogpt.checkpoints.files import LazyTensor, open_tensors
from mobile_videogpt.checkpoints.hub import fetch_file, fetch_folder
from mobile_videogpt.checkpoints.names import from_released
from mobile_videogpt.checkpoints.released import CLIP_ID, VIDEOMAMBA_ID

logger = logging.getLogger(__name__)

_CLIP_FILES = ["config.json", "model.safetensors"]
_HUB_LOCATION = re.compile(r"([\w.-]+/[\w.-]+)(?:/(.+))?")


def complete_encoders(
    tensors: dict[str, LazyTensor], raw: Mapping[str, Any], folder: Path, offline: bool = False
) -> tuple[dict[str, LazyTensor], CLIPVisionConfig | None]:
    """Add the encoders that are missing from a released checkpoint.

    Args:
        tensors: what the folder holds, under our names.
        raw: its ``config.json``; ``mm_vision_tower`` and ``image_mm_vision_tower`` may be paths
            (relative ones start from the folder) or hub locations.
        folder: where it lies.
        offline: look only at what has been downloaded before.

    Returns:
        All tensors, and CLIP's configuration where it came with one.

    Raises:
        CheckpointError: if an encoder is neither here nor to be fetched.
    """
    image_config = None
    if not any(name.startswith("image_encoder.") for name in tensors):
        location = str(raw.get("image_mm_vision_tower") or CLIP_ID)
        logger.info("the checkpoint holds no image encoder; taking %s", location)
        found = _locate_clip(location, folder, offline)
        image_config = read_clip_config(found)
        tensors = {**tensors, **open_clip(found)}
    if "video_encoder.embeddings.class_token" not in tensors:
        location = str(raw.get("mm_vision_tower") or VIDEOMAMBA_ID)
        logger.info("the checkpoint holds no video encoder; taking %s", location)
        tensors = {**tensors, **open_videomamba(_locate_videomamba(location, folder, offline))}
    return tensors, image_config


def open_clip(path: Path) -> dict[str, LazyTensor]:
    """Open CLIP's vision tower, from a whole CLIP model or alone, under our names.

    Raises:
        CheckpointError: if the file holds none.
    """
    found = {}
    for name, tensor in open_tensors(path).items():
        # Only the vision tower, in a whole CLIP or alone; position_ids is a buffer of old files.
        inner = name.removeprefix("vision_model.")
        is_vision = name.startswith(
            ("vision_model.", "embeddings.", "pre_layrnorm.", "encoder.", "post_layernorm.")
        )
        if is_vision and not inner.endswith("position_ids"):
            found[f"image_encoder.{inner}"] = tensor
    if not found:
        raise CheckpointError(f"{path} holds no CLIP vision tower; give a CLIP model's folder.")
    return found


def read_clip_config(path: Path) -> CLIPVisionConfig | None:
    """Read the vision part of the ``config.json`` beside CLIP's weights, if there is one."""
    file = (path if path.is_dir() else path.parent) / "config.json"
    if not file.is_file():
        return None
    raw = json.loads(file.read_text(encoding="utf-8"))
    if raw.get("model_type") not in ("clip", "clip_vision_model"):
        return None
    return CLIPVisionConfig(**raw.get("vision_config", raw))


def open_videomamba(path: Path) -> dict[str, LazyTensor]:
    """Open VideoMamba's own checkpoint (keys with ``vision_encoder.`` in front, or bare).

    The file of its pretraining also holds a text encoder and heads; they are left alone.

    Raises:
        CheckpointError: if the file holds no VideoMamba.
    """
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix in (".pth", ".pt", ".safetensors"))
        path = files[0] if len(files) == 1 else path
    tensors = open_tensors(path)
    prefix = next(
        (name.removesuffix("cls_token") for name in tensors if name.endswith("cls_token")), None
    )
    if prefix is None:
        raise CheckpointError(
            f"{path} holds no VideoMamba (no tensor 'vision_encoder.cls_token'); give its .pth "
            "file."
        )
    return from_released(
        {
            f"vision_encoder.{name[len(prefix) :]}": tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix) and _is_videomamba(name[len(prefix) :])
        }
    )


def _is_videomamba(name: str) -> bool:
    parts = ("cls_token", "pos_embed", "temporal_pos_embedding", "patch_embed.", "layers.", "norm.")
    return name.startswith(parts)


def _local(location: str, folder: Path) -> Path | None:
    path = Path(location).expanduser()
    for candidate in (folder / path, path):
        if candidate.exists():
            return candidate
    return None


def _locate_clip(location: str, folder: Path, offline: bool) -> Path:
    if local := _local(location, folder):
        return local
    match = _HUB_LOCATION.fullmatch(location)
    if match is None or match[2]:
        raise _missing("image encoder", "image_mm_vision_tower", location)
    try:
        return fetch_folder(location, _CLIP_FILES, offline=offline)
    except CheckpointError as error:
        raise _missing("image encoder", "image_mm_vision_tower", location) from error


def _locate_videomamba(location: str, folder: Path, offline: bool) -> Path:
    if local := _local(location, folder):
        return local
    match = _HUB_LOCATION.fullmatch(location)
    if match is None or not match[2]:
        raise _missing("video encoder", "mm_vision_tower", location)
    try:
        return fetch_file(match[1], match[2], offline=offline)
    except CheckpointError as error:
        raise _missing("video encoder", "mm_vision_tower", location) from error


def _missing(what: str, field: str, location: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint holds no {what}, and {location!r} (config.json, {field}) is neither on "
        "this machine nor to be fetched from the Hugging Face hub; download it where there is a "
        f"network and put its path into {field}."
    )
