"""A whole prompt as embeddings, for a program that runs the exported language model.

llama.cpp, vLLM and MLX know nothing of videos, but each takes embeddings in place of token ids: the
text's own, with the visual tokens where the placeholders stand.
"""

from __future__ import annotations

import torch

from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration


@torch.inference_mode()
def embed_prompt(
    model: MobileVideoGPTForConditionalGeneration,
    token_ids: list[int],
    visual_embeds: torch.Tensor,
) -> torch.Tensor:
    """Embed token ids and put the visual tokens in place of their placeholders.

    Args:
        model: whose table embeds the text.
        token_ids: L ids, V of them the model's placeholder.
        visual_embeds: (1, V, E).

    Returns:
        (L, E) in float32 on the CPU.
    """
    row = torch.tensor(token_ids, device=model.device)
    embeds = model.get_input_embeddings()(row).float().cpu()  # (L, E)
    is_visual = (row == model.config.video_token_id).cpu()
    embeds[is_visual] = visual_embeds[0].float().cpu()
    return embeds
