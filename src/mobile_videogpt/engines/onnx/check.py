"""Checks exported parts against torch, on a MovingShapes clip and fixed token ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mobile_videogpt.engines.onnx.manifest import Part
from mobile_videogpt.engines.onnx.sessions import open_session
from mobile_videogpt.engines.videomamba import open_runner

if TYPE_CHECKING:
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
    from mobile_videogpt.processor import MobileVideoGPTProcessor

# Largest error by number format: the root of the mean squared difference from torch in float32, as
# a share of the root of the mean square of what torch says.
TOLERANCES = {"float32": 1e-3, "int8": 0.2, "int4": 0.8}
CHECKED_TOKENS = 48


@dataclass(frozen=True)
class Check:
    """How far a part is from torch, and how far it may be."""

    error: float
    tolerance: float


def check_parts(
    model: MobileVideoGPTForConditionalGeneration,
    processor: MobileVideoGPTProcessor,
    folder: Path,
    parts: dict[str, Part],
) -> dict[str, Check]:
    """Compare every part with torch; each gets torch's own inputs, so that errors do not add up.

    Raises:
        ValueError: a part is further from torch than its tolerance.
    """
    found = dict(_visual_errors(model, processor, folder))
    found |= _language_errors(model, folder)
    checks = {}
    for name, error in found.items():
        tolerance = TOLERANCES[parts[name].number_format]
        if not error <= tolerance:
            raise ValueError(
                f"the exported part {name} differs from torch by {error:.3g} of its output, but "
                f"{tolerance} is allowed for {parts[name].number_format}; export it as float32"
            )
        checks[name] = Check(float(f"{error:.4g}"), tolerance)
    return checks


@torch.inference_mode()
def _visual_errors(
    model: MobileVideoGPTForConditionalGeneration,
    processor: MobileVideoGPTProcessor,
    folder: Path,
) -> dict[str, float]:
    from mobile_videogpt.synthetic import make_clip

    frames = list(make_clip(0).frames())
    count = model.config.num_frames
    frames = [frames[i * len(frames) // count] for i in range(count)]
    image_pixels, video_pixels = processor.pixels(frames)
    image_features = model.encode_images(image_pixels)
    frame_scores, kept_frames = model.select(image_features)
    kept = kept_frames[0]
    video_features = model.encode_video_frames(video_pixels[:, kept])
    visual_embeds = model.project_features(image_features, video_features)
    images, videos = image_features[0], video_features[0]

    def run(part: str, output: str, **inputs: torch.Tensor) -> np.ndarray:
        session = open_session(folder / f"{part}.onnx")
        return session.run([output], {name: value.numpy() for name, value in inputs.items()})[0]

    scores = run("selection", "scores", features=images)
    chosen = run("selection", "kept", features=images)
    if chosen.tolist() != kept.tolist():
        raise ValueError(
            f"the exported selection keeps frames {chosen.tolist()}, but torch keeps "
            f"{kept.tolist()}; please report this model"
        )
    features = run("image_encoder", "features", pixel_values=image_pixels[0])
    clip = run("video_encoder", "features", pixel_values=video_pixels[0, kept])
    embeds = run("projectors", "visual_embeds", image_features=images, video_features=videos)
    clip_error = relative_error(clip, videos)
    path = folder / "video_encoder.safetensors"
    runner = open_runner(path, model.config.video_config, len(kept))
    if runner is not None:  # the other form of the same part
        rows = runner(video_pixels[:, kept])[0, 1:].numpy()
        clip_error = max(clip_error, relative_error(rows.reshape(clip.shape), videos))
    return {
        "image_encoder": relative_error(features, images),
        "selection": relative_error(scores, frame_scores[0]),
        "video_encoder": clip_error,
        "projectors": relative_error(embeds, visual_embeds[0]),
    }


@torch.inference_mode()
def _language_errors(
    model: MobileVideoGPTForConditionalGeneration, folder: Path
) -> dict[str, float]:
    """Errors of the logits, and of the keys and values that the prefill graph leaves."""
    from mobile_videogpt.engines.onnx.language_session import LanguageSession

    language = model.language_model
    generator = torch.Generator().manual_seed(0)
    size = model.config.text_config.vocab_size
    ids = torch.randint(size, (1, CHECKED_TOKENS), generator=generator)
    output = language(input_ids=ids, use_cache=True)
    session = LanguageSession(folder, as_loops=False)  # the files are what is checked
    positions = np.arange(CHECKED_TOKENS)
    cache = session.new_cache(CHECKED_TOKENS)
    embeds = session.embed(ids[0].tolist())
    logits = session.logits(cache, embeds, positions, wanted=CHECKED_TOKENS)
    errors = {"language_model": relative_error(logits, output.logits[0])}
    if session.has_prefill:
        cache.length = 0
        session.fill(cache, embeds, positions)
        expected = [
            t for layer in output.past_key_values.layers for t in (layer.keys, layer.values)
        ]
        filled = cache.values[:, :, :, :CHECKED_TOKENS]
        errors["prefill"] = relative_error(filled, torch.stack(expected))
    return errors


def relative_error(found: np.ndarray, expected: torch.Tensor) -> float:
    """Root of the mean squared difference, as a share of the expected values' own."""
    wanted = expected.float().numpy()
    difference = np.sqrt(np.mean(np.square(found - wanted)))
    scale = np.sqrt(np.mean(np.square(wanted)))
    return float(difference / scale) if scale else float(difference)
