"""Exports for the ONNX engine: made from any checkpoint, kept, found again, opened.

An export is a folder that needs no checkpoint beside it. One that is asked for by the checkpoint's
name (`engine="onnx"`) is made once and kept in the user's cache, under a hash of the checkpoint's
files as they lie on disk.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mobile_videogpt.engines.devices import pick_device
from mobile_videogpt.engines.onnx.manifest import FORMAT_VERSION, Manifest, is_export
from mobile_videogpt.files import user_cache

if TYPE_CHECKING:
    from mobile_videogpt.engines.onnx_engine import OnnxEngine
    from mobile_videogpt.processor import MobileVideoGPTProcessor

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "MOBILE_VIDEOGPT_ONNX"
DTYPES = ("auto", "float32", "int8")


def find_export(source: str, engine: str, dtype: str, device: str) -> Path | None:
    """The export that a chat with these arguments runs, or None where torch does.

    Args:
        source: an exported folder, or what `load_model` takes.
        engine: "onnx" exports what was not exported yet; "auto" takes what is there; "torch".
        dtype: "auto" is what pays for the model's size.
        device: "auto", or a torch device's name.

    Raises:
        ValueError: the engine cannot run this model, device or number format.
    """
    if is_export(source) or engine == "onnx":
        _check_cpu(device)
    if is_export(source):
        _check_opens(Path(source), engine, dtype)
        return Path(source)
    if engine != "onnx":
        is_chosen = engine == "auto" and dtype == "auto" and pick_device(device).type == "cpu"
        has_runtime = importlib.util.find_spec("onnxruntime") is not None
        return _kept_export(source) if is_chosen and has_runtime else None
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}, but the onnx engine takes {', '.join(DTYPES)}")
    return keep_export(source, dtype)


def keep_export(source: str, dtype: str = "auto") -> Path:
    """The kept export of a checkpoint; made now if it is not there yet."""
    folder = kept_folder(source, dtype)
    if not is_export(folder):
        logger.warning("exporting %s for the onnx engine, this once, to %s", source, folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_export(source, folder, _formats(dtype))
        except OSError:
            if not is_export(folder):  # otherwise another process was faster
                raise
    return folder


def write_export(
    source: str,
    destination: Path,
    formats: Mapping[str, str] | None = None,
    on_part: Callable[[str], None] | None = None,
) -> Manifest:
    """Export a checkpoint; the folder appears when everything is in it and was checked.

    Args:
        source: as in `load_model`.
        destination: a new or empty folder.
        formats: fields of `engines.onnx.export.ExportFormats`; what pays for the model's size when
            left out.
        on_part: called with the name of each part before it is written.

    Raises:
        CheckpointError: the source cannot be read, or the destination is not empty.
        ValueError: something cannot be exported, or a part differs from torch too much.
    """
    from mobile_videogpt.checkpoints import load_model
    from mobile_videogpt.checkpoints.convert import new_folder
    from mobile_videogpt.engines.onnx.export import ExportFormats, export_model

    chosen = ExportFormats(**cast(Any, formats or {}))
    with new_folder(destination) as folder:
        model, processor = load_model(source)
        return export_model(model, processor, folder, source, formats=chosen, on_part=on_part)


def open_export(folder: Path) -> tuple[MobileVideoGPTProcessor, OnnxEngine]:
    """Processor and engine of an exported folder."""
    from transformers import GenerationConfig

    from mobile_videogpt.checkpoints import load_tokenizer
    from mobile_videogpt.config import MobileVideoGPTConfig
    from mobile_videogpt.engines.onnx_engine import OnnxEngine
    from mobile_videogpt.processor import MobileVideoGPTProcessor
    from mobile_videogpt.processor.prompt import end_token_ids

    config = MobileVideoGPTConfig.from_pretrained(folder)
    processor = MobileVideoGPTProcessor.from_config(config, load_tokenizer(folder))
    defaults = GenerationConfig.from_pretrained(folder)
    end_ids = end_token_ids(processor.tokenizer, defaults)
    return processor, OnnxEngine(folder, config, end_ids, defaults)


def _kept_export(source: str) -> Path | None:
    """The export that was made of a checkpoint before; nothing is downloaded to find out."""
    from mobile_videogpt.checkpoints import CheckpointError

    if not exports_folder().is_dir():
        return None
    try:
        folder = kept_folder(source, offline=True)
    except CheckpointError:  # loading it will say what is wrong
        return None
    return folder if is_export(folder) else None


def kept_folder(source: str, dtype: str = "auto", offline: bool = False) -> Path:
    """Where the export of a checkpoint is kept, whether it is there or not.

    Raises:
        CheckpointError: there is no such checkpoint.
    """
    from mobile_videogpt.checkpoints.hub import find_checkpoint

    checkpoint = find_checkpoint(source, offline=offline)
    digest = hashlib.sha256(f"{FORMAT_VERSION} {dtype}".encode())
    for file in sorted(path for path in checkpoint.iterdir() if path.is_file()):
        facts = file.stat()
        digest.update(f"{file.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return exports_folder() / f"{checkpoint.name}-{digest.hexdigest()[:16]}"


def exports_folder() -> Path:
    """Where kept exports lie: `MOBILE_VIDEOGPT_ONNX`, or a folder in the user's cache."""
    return user_cache("onnx", FOLDER_VARIABLE)


def _formats(dtype: str) -> dict[str, str]:
    return {} if dtype == "auto" else {"language_model": dtype, "encoders": dtype}


def _check_cpu(device: str) -> None:
    if device not in ("auto", "cpu"):
        raise ValueError(
            f"device is {device!r}, but the onnx engine runs on the CPU; use device='cpu', or "
            "engine='torch'"
        )


def _check_opens(folder: Path, engine: str, dtype: str) -> None:
    manifest = Manifest.read(folder)
    if engine == "torch":
        raise ValueError(
            f"{folder} is an export for the onnx engine; use engine='auto', or name the checkpoint "
            f"that it was made of ({manifest.model})"
        )
    stored = manifest.parts["language_model"].number_format
    if dtype not in ("auto", stored):
        raise ValueError(
            f"dtype is {dtype!r}, but {folder} was exported with its language model in {stored}; "
            "use dtype='auto' or export it again"
        )
