"""LLaVA-OneVision-0.5B: SigLIP-so400m at 384 x 384, 32 frames of 196 tokens, Qwen2-0.5B."""

from __future__ import annotations

from typing import Any

import torch

from mobile_videogpt.benchmark.peers.transformers_peer import TransformersPeer

# The sizes of llava-hf/llava-onevision-qwen2-0.5b-ov-hf.
VISION = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "vision_use_head": False,
}
TEXT = {
    "model_type": "qwen2",
    "vocab_size": 152000,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    "tie_word_embeddings": True,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
}
VIDEO_TOKEN_ID = 151647


class LlavaOneVision(TransformersPeer):
    """6272 visual tokens: 27 x 27 patches of each frame are pooled to 14 x 14."""

    num_frames = 32
    image_size = 384
    tokens_per_frame = 196
    text_tokens = 20

    def build(self) -> Any:
        """The model at its released size."""
        from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

        config = LlavaOnevisionConfig(
            vision_config=VISION,
            text_config=TEXT,
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
            tie_word_embeddings=True,
        )
        return LlavaOnevisionForConditionalGeneration(config)

    def vision_modules(self) -> list[Any]:
        """The tower and the projector."""
        return [self.model.model.vision_tower, self.model.model.multi_modal_projector]

    def prompt(self, frames: int) -> list[int]:
        """One placeholder per visual token and one for the new line after them."""
        text = [1000] * (self.text_tokens // 2)
        return [*text, *[VIDEO_TOKEN_ID] * (frames * self.tokens_per_frame + 1), *text]

    def inputs(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """(1, T, 3, H, W)."""
        return {"pixel_values_videos": pixels.unsqueeze(0)}
