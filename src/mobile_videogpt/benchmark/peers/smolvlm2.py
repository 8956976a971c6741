"""SmolVLM2-500M-Video: SigLIP-B/16 at 512 x 512, 16 frames of 64 tokens, SmolLM2-360M."""

from __future__ import annotations

from typing import Any

import torch

from mobile_videogpt.benchmark.peers.transformers_peer import TransformersPeer

# The sizes of HuggingFaceTB/SmolVLM2-500M-Video-Instruct.
VISION = {
    "model_type": "smolvlm_vision",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 512,
    "patch_size": 16,
}
TEXT = {
    "model_type": "llama",
    "vocab_size": 49280,
    "hidden_size": 960,
    "intermediate_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 15,
    "num_key_value_heads": 5,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
IMAGE_TOKEN_ID = 49190
_MARKER = 100  # any id of a word


class SmolVLM2(TransformersPeer):
    """1024 visual tokens: 32 x 32 patches of each frame, folded 4 x 4 into one token."""

    num_frames = 16
    image_size = 512
    tokens_per_frame = 64
    text_tokens = 20

    def build(self) -> Any:
        """The model at its released size."""
        from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

        config = SmolVLMConfig(
            vision_config=VISION,
            text_config=TEXT,
            scale_factor=4,
            image_token_id=IMAGE_TOKEN_ID,
            tie_word_embeddings=False,
            pad_token_id=2,
        )
        return SmolVLMForConditionalGeneration(config)

    def vision_modules(self) -> list[Any]:
        """The tower and the connector."""
        return [self.model.model.vision_model, self.model.model.connector]

    def prompt(self, frames: int) -> list[int]:
        """Each frame between two markers and a third, as its processor writes them."""
        frame = [_MARKER, _MARKER, *[IMAGE_TOKEN_ID] * self.tokens_per_frame, _MARKER]
        text = [_MARKER] * (self.text_tokens // 2)
        return [*text, *frame * frames, *text]

    def inputs(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """(1, T, 3, H, W)."""
        return {"pixel_values": pixels.unsqueeze(0)}
