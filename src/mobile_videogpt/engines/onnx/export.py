"""Writes a model's parts for the ONNX engine, and checks each of them against torch."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mobile_videogpt.engines.onnx.layers import NumberFormat
from mobile_videogpt.engines.onnx.manifest import EMBEDDINGS, Manifest, Part

if TYPE_CHECKING:
    from mobile_videogpt.config import MobileVideoGPTConfig
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
    from mobile_videogpt.processor import MobileVideoGPTProcessor

logger = logging.getLogger(__name__)

# Language models up to this width keep float32: they are fast anyway, and small numbers suffer most
# from rounding.
SMALL_WIDTH = 256


@dataclass(frozen=True)
class ExportFormats:
    """The number format of each part's matrices; everything else is float32.

    None is what pays for the model's size.
    """

    language_model: NumberFormat | None = None
    """int4 also writes an int8 copy, which reads prompts faster and more exactly."""
    encoders: NumberFormat | None = None
    """float32 or int8, of both encoders and the projectors."""

    def __post_init__(self) -> None:
        if self.language_model not in (None, "float32", "int8", "int4"):
            raise ValueError(
                f"the language model's format is {self.language_model!r}; choose float32, int8 or "
                "int4"
            )
        if self.encoders not in (None, "float32", "int8"):
            raise ValueError(f"the encoders' format is {self.encoders!r}; choose float32 or int8")

    def resolve(self, width: int) -> tuple[NumberFormat, NumberFormat]:
        """Language model's and encoders' format for a language model of this width."""
        is_small = width <= SMALL_WIDTH
        return (
            self.language_model or ("float32" if is_small else "int4"),
            self.encoders or ("float32" if is_small else "int8"),
        )


def export_model(
    model: MobileVideoGPTForConditionalGeneration,
    processor: MobileVideoGPTProcessor,
    folder: Path,
    name: str,
    *,
    formats: ExportFormats = ExportFormats(),
    on_part: Callable[[str], None] | None = None,
) -> Manifest:
    """Write all parts, configuration and tokenizer into an existing folder.

    Args:
        model: with float weights on the CPU.
        processor: its own.
        folder: where to; the caller makes it appear when everything is there.
        name: what the model is called in the manifest.
        formats: of the matrices.
        on_part: called with the name of each part before it is written.

    Raises:
        ValueError: the package onnx is missing, the model has something that cannot be exported,
            or a part differs from torch by more than its tolerance.
    """
    start = time.perf_counter()
    _require_onnx()
    _refuse_ablations(model.config)
    from mobile_videogpt.engines.onnx.check import check_parts

    chosen = formats.resolve(model.config.text_config.hidden_size)
    parts = {}
    for part, number_format, write in _writers(model, folder, *chosen):
        if on_part is not None:
            on_part(part)
        with torch.inference_mode():
            files = write()
        sizes = {file.name: file.stat().st_size for file in files}
        parts[part] = Part(number_format, sizes)
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    if on_part is not None:
        on_part("check")
    for part, check in check_parts(model, processor, folder, parts).items():
        parts[part] = replace(parts[part], error=check.error, tolerance=check.tolerance)
    packages = ("mobile-videogpt", "onnx", "onnxruntime", "torch", "transformers")
    manifest = Manifest(
        model=name,
        fingerprint=_fingerprint(model, chosen),
        parts=parts,
        versions={package: _version(package) for package in packages},
        seconds=round(time.perf_counter() - start, 2),
    )
    manifest.write(folder)
    return manifest


def _refuse_ablations(config: MobileVideoGPTConfig) -> None:
    allowed = {
        "encoders": ("both",),
        "video_passes": (1,),
        "frame_selection": ("per_chunk", "global", "uniform"),
    }
    for field, values in allowed.items():
        if (value := getattr(config, field)) not in values:
            raise ValueError(
                f"{field} {value!r} is made for ablations and cannot be exported to ONNX; use the "
                f"torch engine, or a model whose {field} is {' or '.join(map(repr, values))}."
            )


def _writers(
    model: MobileVideoGPTForConditionalGeneration,
    folder: Path,
    language_format: NumberFormat,
    encoders: NumberFormat,
) -> list[tuple[str, NumberFormat, Callable[[], list[Path]]]]:
    """Name, number format and writer of each part."""
    from mobile_videogpt.engines.onnx import fusion, image_encoder, language_model, video_encoder

    config, language = model.config, model.language_model

    def path(part: str) -> Path:
        return folder / f"{part}.onnx"

    def write_language_model() -> list[Path]:
        files = language_model.write_language_model(
            path("language_model"), language, language_format
        )
        dtype = np.dtype("float32" if language_format == "float32" else "float16")
        return files + language_model.write_embeddings(folder / EMBEDDINGS, language, dtype)

    writers: list[tuple[str, NumberFormat, Callable[[], list[Path]]]] = [
        (
            "image_encoder",
            encoders,
            lambda: image_encoder.write_image_encoder(
                path("image_encoder"), model.image_encoder, config.image_feature_layer, encoders
            ),
        ),
        ("selection", "float32", lambda: fusion.write_selection(path("selection"), config)),
        (
            "video_encoder",
            encoders,
            lambda: video_encoder.write_video_encoder(
                path("video_encoder"), model.video_encoder, config.num_kept_frames, encoders
            ),
        ),
        (
            "projectors",
            encoders,
            lambda: fusion.write_projectors(path("projectors"), model, encoders),
        ),
        ("language_model", language_format, write_language_model),
    ]
    if language_format == "int4":
        writers.append(
            (
                "prefill",
                "int8",
                lambda: language_model.write_language_model(
                    path("prefill"), language, "int8", has_logits=False
                ),
            )
        )
    return writers


def _fingerprint(model: MobileVideoGPTForConditionalGeneration, formats: tuple[str, str]) -> str:
    from mobile_videogpt.engines.torch_engine import TorchEngine

    weights = TorchEngine(model, ()).fingerprint
    return hashlib.sha256(f"{weights} {formats}".encode()).hexdigest()


def _require_onnx() -> None:
    from mobile_videogpt.engines.onnx.sessions import INSTALL

    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"the export needs the packages onnx and onnxruntime; {INSTALL}"
        ) from error


def _version(package: str) -> str:
    try:
        return version(package)
    except Exception:  # run from a checkout that is not installed
        return "unknown"
