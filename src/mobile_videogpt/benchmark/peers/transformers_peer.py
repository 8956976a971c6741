"""What peers from transformers share: the model as transformers runs it, timed from the file on.

Built from their released configurations with random weights, because speed does not depend on them.
Frames come from our reader, and are resized by the filter that their processors use, so that the
video road costs them what it costs us. Greedy decoding is a bare loop with transformers' own cache:
`generate` would only add to it.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from mobile_videogpt.benchmark.settings import Settings
from mobile_videogpt.engines.devices import synchronize

WARM_UP_TOKENS = 2


class TransformersPeer:
    """A video-language model from transformers; a subclass says which.

    Class attributes:
        num_frames: sampled frames.
        image_size: side of their square.
        tokens_per_frame: visual tokens.
        text_tokens: of the prompt, around the frames.
    """

    num_frames: int
    image_size: int
    tokens_per_frame: int
    text_tokens: int

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.model: Any = None
        self._vision_s = 0.0

    def build(self) -> Any:
        """The model, in float32 on the CPU."""
        raise NotImplementedError

    def vision_modules(self) -> list[Any]:
        """The modules whose time is `vision_s`; none of them inside another."""
        raise NotImplementedError

    def prompt(self, frames: int) -> list[int]:
        """Token ids with one placeholder per visual token."""
        raise NotImplementedError

    def inputs(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Keywords of the model's forward for pixels (T, 3, H, W)."""
        raise NotImplementedError

    def load(self) -> dict[str, Any]:
        """Build the model with random weights."""
        from mobile_videogpt.engines.devices import pick_device

        torch.manual_seed(0)
        dtype = getattr(torch, self.settings.peer_dtype)
        device = pick_device(self.settings.device)
        self.model = self.build().eval().to(device=device, dtype=dtype)
        for module in self.vision_modules():
            module.register_forward_pre_hook(self._vision_begins)
            module.register_forward_hook(self._vision_ends)
        return {
            "dtype": self.settings.peer_dtype,
            "device": str(device),
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
            "num_frames": self.num_frames,
            "visual_tokens": self.num_frames * self.tokens_per_frame,
            "prompt_tokens": len(self.prompt(self.num_frames)),
        }

    def warm_up(self) -> None:
        """One frame and two tokens: every kernel runs once, and every weight is in memory."""
        self._answer(1, WARM_UP_TOKENS)

    def run(self) -> dict[str, float]:
        """The whole clip."""
        return self._answer(self.num_frames, self.settings.new_tokens)

    def extras(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    @torch.inference_mode()
    def _answer(self, frames: int, new_tokens: int) -> dict[str, float]:
        start = time.perf_counter()
        self._vision_s = 0.0
        pixels = self._pixels(frames)
        token_ids = torch.tensor([self.prompt(frames)], device=self.model.device)
        output = self.model(
            input_ids=token_ids,
            attention_mask=torch.ones_like(token_ids),
            use_cache=True,
            logits_to_keep=1,
            **self.inputs(pixels),
        )
        token = output.logits[:, -1:].argmax(-1)  # (1, 1)
        self._wait()
        first = time.perf_counter()
        cache = output.past_key_values
        for _ in range(new_tokens - 1):
            output = self.model(input_ids=token, past_key_values=cache, use_cache=True)
            token = output.logits[:, -1:].argmax(-1)
        self._wait()
        decode_s = time.perf_counter() - first
        return {
            "ttft_s": first - start,
            "vision_s": self._vision_s,
            "decode_tok_s": (new_tokens - 1) / decode_s,
            "end_to_end_s": first - start + decode_s,
            "end_to_end_tok_s": new_tokens / (first - start + decode_s),
        }

    def _pixels(self, frames: int) -> torch.Tensor:
        from mobile_videogpt.video.source import read_video
        from mobile_videogpt.video.transforms import image_pixels

        clip = read_video(self.settings.clip, count=frames)
        half = (0.5, 0.5, 0.5)  # SigLIP's
        pixels = image_pixels(
            clip.frames, size=self.image_size, mean=half, std=half, resize="stretch"
        )
        return pixels.to(device=self.model.device, dtype=self.model.dtype)

    def _wait(self) -> None:
        synchronize(self.model.device)

    def _vision_begins(self, *_: Any) -> None:
        self._wait()
        self._vision_start = time.perf_counter()

    def _vision_ends(self, *_: Any) -> None:
        self._wait()
        self._vision_s += time.perf_counter() - self._vision_start
