"""Mobile-VideoGPT itself (paper section 3, Figure 2): two encoders, two projectors, one small
language model.

Both streams of the visual half (``visual_half.py``) stand as one run of visual tokens in the
language model's input, where placeholders keep their places.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    CLIPVisionModel,
    PreTrainedModel,
    Qwen2ForCausalLM,
)
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from ..config import MobileVideoGPTConfig, VideoMambaConfig
from .generation import VideoGenerationMixin
from .placeholders import place_tokens, touch
from .projector import build_projector
from .videomamba import VideoMambaModel
from .visual_half import VisualEncoding, VisualHalf

__all__ = ["MobileVideoGPTForConditionalGeneration", "VisualEncoding"]


class MobileVideoGPTForConditionalGeneration(VisualHalf, PreTrainedModel, VideoGenerationMixin):
    """The whole model; see ``forward`` for the inputs and ``encode_video`` for the visual half."""

    config_class = MobileVideoGPTConfig
    base_model_prefix = "model"
    input_modalities = ("video", "text")
    supports_gradient_checkpointing = True
    _no_split_modules = ["CLIPEncoderLayer", "VideoMambaBlock", "Qwen2DecoderLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: MobileVideoGPTConfig) -> None:
        super().__init__(config)
        width = config.text_config.hidden_size
        kind = config.projector_type
        self.image_encoder = CLIPVisionModel(config.image_config)
        self.video_encoder = VideoMambaModel(config.video_config)
        self.image_projector = build_projector(
            kind, config.image_config.hidden_size, width, config.image_token_grid
        )
        self.video_projector = build_projector(
            kind, config.video_config.hidden_size, width, config.video_token_grid
        )
        self.language_model = Qwen2ForCausalLM(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        image_pixel_values: Tensor | None = None,
        video_pixel_values: Tensor | None = None,
        image_features: Tensor | None = None,
        video_features: Tensor | None = None,
        visual_embeds: Tensor | None = None,
        still_pixel_values: Tensor | None = None,
        still_branch: str = "image",
        still_features: Tensor | None = None,
        still_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Run the language model over text and visual tokens.

        The videos come in one of three forms, in the order in which their placeholders stand in the
        batch: pixels, both encoders' features, or finished visual tokens; so do the stills, which
        have placeholders of their own. A row without placeholders is text only.

        Args:
            input_ids: (B, L), with ``config.num_visual_tokens`` times ``config.video_token_id`` per
                video.
            attention_mask: (B, L), or any 4-D mask the language model takes.
            position_ids: (B, L).
            past_key_values: keys and values of earlier tokens.
            inputs_embeds: (B, L, E) instead of ``input_ids``; visual tokens are then already in
                place.
            labels: (B, L), -100 where there is no target; predicted from the position before.
            image_pixel_values: (videos, T, 3, H, W).
            video_pixel_values: (videos, T, 3, h, w).
            image_features: (videos, T, N, D), from ``encode_images``.
            video_features: (videos, K, N, D), from ``encode_video_frames``.
            visual_embeds: (videos, V, E), from ``encode_video`` or ``project_features``.
            still_pixel_values: (stills, 3, H, W).
            still_branch: which branch they take, see ``encode_stills``.
            still_features: (stills, N, D) instead, from ``encode_still_features``.
            still_embeds: (stills, V, E) instead, from ``encode_stills``.
            use_cache: return ``past_key_values``.
            logits_to_keep: compute logits for the last so many positions only (0: all), or for
                these indices.
            **kwargs: passed on to the language model.

        Raises:
            ValueError: if placeholders and visual tokens differ in number, or only one pixel tensor
                is given.
        """
        projected = visual_embeds is None and still_embeds is None
        visual_embeds = self._visual_embeds(
            image_pixel_values, video_pixel_values, image_features, video_features, visual_embeds
        )
        still_embeds = self._still_embeds(
            still_pixel_values, still_features, still_branch, still_embeds
        )
        if inputs_embeds is None and input_ids is not None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
            # Past the prefill a placeholder is a token like any other: one that the model wrote.
            if visual_embeds is not None or not _is_continuing(input_ids, past_key_values):
                inputs_embeds = self._place_visual_tokens(input_ids, inputs_embeds, visual_embeds)
            if still_embeds is not None or not _is_continuing(input_ids, past_key_values):
                inputs_embeds = place_tokens(
                    inputs_embeds,
                    input_ids,
                    self.config.image_token_id,
                    still_embeds,
                    "still",
                    self.config.num_still_tokens(still_branch),
                )
            if self.training and projected and torch.is_grad_enabled():
                has_stills = "" if still_embeds is None else still_branch
                idle = self._idle_projectors(visual_embeds is not None, has_stills)
                inputs_embeds = touch(inputs_embeds, idle)
        elif visual_embeds is not None or still_embeds is not None:
            raise ValueError(
                "Visual inputs need input_ids to find their placeholders; give input_ids instead "
                "of inputs_embeds."
            )
        return self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )

    def _visual_embeds(
        self,
        image_pixel_values: Tensor | None,
        video_pixel_values: Tensor | None,
        image_features: Tensor | None,
        video_features: Tensor | None,
        visual_embeds: Tensor | None,
    ) -> Tensor | None:
        """Return the visual tokens (videos, V, E) from whichever form was given, or None."""
        if visual_embeds is not None:
            return visual_embeds
        if image_features is not None and video_features is not None:
            return self.project_features(image_features, video_features)
        if image_pixel_values is not None and video_pixel_values is not None:
            if image_pixel_values.shape[0] == 0:  # a batch of text-only rows
                return None
            return self.encode_video(image_pixel_values, video_pixel_values).visual_embeds
        given = (image_pixel_values, video_pixel_values, image_features, video_features)
        if any(x is not None for x in given):
            raise ValueError(
                "A video needs image_pixel_values and video_pixel_values, or image_features and "
                "video_features, together; only one of a pair was given."
            )
        return None

    def _place_visual_tokens(
        self, input_ids: Tensor, inputs_embeds: Tensor, visual_embeds: Tensor | None
    ) -> Tensor:
        """Scatter the videos' tokens to their placeholders, in order."""
        config = self.config
        each = config.num_visual_tokens
        return place_tokens(
            inputs_embeds, input_ids, config.video_token_id, visual_embeds, "video", each
        )

    def _still_embeds(
        self,
        pixel_values: Tensor | None,
        features: Tensor | None,
        branch: str,
        embeds: Tensor | None,
    ) -> Tensor | None:
        """Return the stills' tokens (stills, V, E) from whichever form was given, or None."""
        if embeds is None and features is not None and features.shape[0]:
            return self.project_still_features(features, branch)
        if embeds is not None or pixel_values is None or pixel_values.shape[0] == 0:
            return embeds
        return self.encode_stills(pixel_values, branch)

    def _idle_projectors(self, has_videos: bool, still_branch: str) -> list[nn.Module]:
        """Return the projectors that a batch leaves out."""
        projectors = {"image": self.image_projector, "video": self.video_projector}
        used = {still_branch}
        if has_videos:
            used |= {"image", "video"} if self.config.encoders == "both" else {self.config.encoders}
        return [module for branch, module in projectors.items() if branch not in used]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Projectors only; encoders and language model bring their own."""
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):  # the positional encoder starts as a small correction
            init.normal_(module.weight, std=self.config.initializer_range)
            init.zeros_(module.bias)


def _is_continuing(input_ids: Tensor, past_key_values: Cache | None) -> bool:
    if past_key_values is None:
        return False
    # One token is a decoding step; asking the cache too would stall a GPU at every step.
    return input_ids.shape[1] == 1 or bool(past_key_values.get_seq_length() > 0)


AutoModel.register(VideoMambaConfig, VideoMambaModel, exist_ok=True)
for _auto_class in (AutoModelForImageTextToText, AutoModelForMultimodalLM):
    _auto_class.register(
        MobileVideoGPTConfig, MobileVideoGPTForConditionalGeneration, exist_ok=True
    )
