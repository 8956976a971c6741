"""A whole prompt as embeddings, for a program that runs the exported language model.

llama.cpp, vLLM and MLX know nothing of videos, but each takes embeddings in place of token ids: the
text's own, with the visual tokens where the placeholders stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mobile_videogpt.chat.encoded_video import EncodedVideo

if TYPE_CHECKING:
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
    from mobile_videogpt.processor import MobileVideoGPTProcessor


@torch.inference_mode()
def embed_prompt(
    model: MobileVideoGPTForConditionalGeneration,
    processor: MobileVideoGPTProcessor,
    video: EncodedVideo,
    question_ids: list[int],
) -> tuple[torch.Tensor, int]:
    """Embed a prompt and put the visual tokens in place of their placeholders.

    Args:
        model: whose table embeds the text.
        processor: writes what stands before the question.
        video: has the visual tokens, (1, V, E).
        question_ids: the prompt from the end of the video on.

    Returns:
        (L, E) in float32 on the CPU, and how many of its rows stand before the question.

    Raises:
        ValueError: tokens of the video are merged.
    """
    if video.places is not None:
        raise ValueError(
            "merged tokens keep their positions, which embeddings alone do not carry; "
            "use a chat without merge_tokens"
        )
    prefix = processor.prefix_ids(num_visual_tokens=video.num_visual_tokens)
    row = torch.tensor([*prefix, *question_ids], device=model.device)
    embeds = model.get_input_embeddings()(row).float().cpu()  # (L, E)
    is_visual = (row == model.config.video_token_id).cpu()
    embeds[is_visual] = video.visual_embeds[0].float().cpu()
    return embeds, len(prefix)
