"""Numeric self-tests of `mobile-videogpt doctor`: does this machine compute what it should?

Each test returns what it found as a sentence and raises `SelfTestError` when something is wrong.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

# What `observe_model` returned when it was recorded, in float32 on a CPU.
RECORDED_KEPT_FRAMES = (2, 3, 4, 6, 8, 9, 10, 13)
RECORDED_LOGITS = (
    0.611984,
    0.297334,
    -0.155087,
    -2.963866,
    0.103267,
    0.502858,
    1.295604,
    -1.523129,
)
TOLERANCE = 1e-3
SCAN_TOLERANCE = 1e-5


class SelfTestError(Exception):
    """A self-test found a wrong result."""


def check_scan(device: str) -> str:
    """The scan that would be used here against the ten-line reference, in float32."""
    import torch

    from mobile_videogpt.models.selective_scan import selective_scan, selective_scan_reference

    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    channels, state, length = 24, 16, 150
    inputs = {
        "u": draw(2, channels, length),
        "delta": draw(2, channels, length),
        "A": -draw(channels, state).exp(),
        "B": draw(2, state, length),
        "C": draw(2, state, length),
        "D": draw(channels),
        "z": draw(2, channels, length),
        "delta_bias": draw(channels),
    }
    expected = selective_scan_reference(**inputs, delta_softplus=True)
    there = {name: tensor.to(device) for name, tensor in inputs.items()}
    found = selective_scan(**there, delta_softplus=True).cpu()
    error = float((found - expected).abs().max() / expected.abs().max())
    if not error <= SCAN_TOLERANCE:
        raise SelfTestError(f"the scan is off by {error:.1e} (allowed: {SCAN_TOLERANCE:.0e})")
    return f"agrees with the reference within {error:.1e}"


def check_model(device: str) -> str:
    """A tiny model with prescribed weights against numbers recorded when it was right."""
    kept, logits = observe_model(device)
    if kept != RECORDED_KEPT_FRAMES:
        raise SelfTestError(f"kept frames {kept} instead of {RECORDED_KEPT_FRAMES}")
    pairs = zip(logits, RECORDED_LOGITS, strict=True)
    error = max(abs(found - expected) for found, expected in pairs)
    if not error <= TOLERANCE:
        raise SelfTestError(f"logits are off by {error:.1e} (allowed: {TOLERANCE:.0e})")
    return f"agrees with the recorded fingerprint within {error:.1e}"


def observe_model(device: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Kept frames and eight logits of a tiny model whose weights and input are formulas.

    Formulas, because random number generators differ between devices and versions.
    """
    import torch

    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

    config = _tiny_config()
    model = MobileVideoGPTForConditionalGeneration(config).eval().float()
    with torch.inference_mode():
        for index, (name, weight) in enumerate(sorted(model.named_parameters())):
            steps = torch.arange(weight.numel(), dtype=torch.float64).reshape(weight.shape)
            is_scale = "norm" in name and name.endswith("weight")
            # A chirp: rows of plain sine waves would be linearly dependent.
            chirp = torch.sin(0.731 * steps**2 + steps + index)
            weight.copy_((1.0 if is_scale else 0.0) + 0.4 * chirp)
        model.to(device)
        encoding = model.encode_video(
            _wave(config.num_frames, config.image_config.image_size).to(device),
            _wave(config.num_frames, config.video_config.image_size).to(device),
        )
        ids = [1, 2, *[config.video_token_id] * config.num_visual_tokens, 3, 4]
        logits = model(
            input_ids=torch.tensor([ids], device=device), visual_embeds=encoding.visual_embeds
        ).logits[0, -1, :8]
    return tuple(encoding.kept_frames[0].tolist()), tuple(round(x, 6) for x in logits.tolist())


def _tiny_config() -> Any:
    from mobile_videogpt.config import MobileVideoGPTConfig

    return MobileVideoGPTConfig(
        image_config={
            "image_size": 32,
            "patch_size": 8,
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        },
        video_config={
            "image_size": 32,
            "patch_size": 8,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "state_size": 4,
        },
        text_config={
            "vocab_size": 32,
            "hidden_size": 24,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
            "eos_token_id": 2,
        },
        image_token_grid=2,
        video_pool_grid=2,
        video_token_grid=2,
        video_token_id=5,
        pad_token_id=0,
    )


def _wave(frames: int, size: int) -> Any:
    """(1, frames, 3, size, size): a pattern that differs from frame to frame."""
    import torch

    steps = torch.arange(frames * 3 * size * size, dtype=torch.float64)
    frame = torch.arange(frames, dtype=torch.float64).repeat_interleave(3 * size * size)
    wave = torch.sin(0.013 * steps) * (1.0 + 0.4 * torch.cos(2.3 * frame)) + 0.3 * torch.sin(frame)
    return wave.float().reshape(1, frames, 3, size, size)


def check_video(device: str) -> str:
    """Write a small mp4 with PyAV and read it back through the video road."""
    import av
    import numpy as np

    from mobile_videogpt.video.source import read_video

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "self-test.mp4")
        with av.open(path, "w") as container:
            stream = container.add_stream("mpeg4", rate=8)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for level in range(16):
                picture = np.full((48, 64, 3), 40 + 10 * level, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        clip = read_video(path, count=16)
    levels = [float(frame.mean()) for frame in clip.frames]
    expected = [40 + 10 * index for index in clip.frame_indices]
    error = max(abs(a - b) for a, b in zip(levels, expected, strict=True))
    if not (math.isfinite(error) and error <= 6):
        raise SelfTestError(f"frames came back with wrong brightness (off by {error:.1f} of 255)")
    return f"wrote and read back {len(levels)} frames"


def check_built_in_model(device: str) -> str:
    """Load the built-in checkpoint and let it say something about a synthetic clip."""
    from mobile_videogpt.chat import VideoChat
    from mobile_videogpt.synthetic import make_clip

    chat = VideoChat("moving-shapes", device=device)
    answer = chat.ask(make_clip(0).frames(), "Describe the video.", max_new_tokens=64)
    if not answer.text:
        raise SelfTestError("the built-in model said nothing about a synthetic clip")
    return f"says of a synthetic clip: {answer.text}"


CHECKS = {
    "selective scan": check_scan,
    "model": check_model,
    "video": check_video,
    "built-in model": check_built_in_model,
}
