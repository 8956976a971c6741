"""Mobile-VideoGPT itself (paper section 3, Figure 2): two encoders, two projectors, one small
language model.

Sampled frames go through CLIP; attention among their features picks the key frames; VideoMamba sees
only those; both streams are projected and stand as one run of visual tokens in the language model's
input. Every step is a method, so that a caller can time it, cache its result or replace it.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
from transformers.utils import ModelOutput

from ..config import MobileVideoGPTConfig, VideoMambaConfig
from .frame_selection import score_frames, select_frames, uniform_frames
from .generation import VideoGenerationMixin
from .placeholders import place_tokens, touch, trains
from .projector import build_projector, pool_grid
from .videomamba import VideoMambaModel


@dataclass
class VisualEncoding(ModelOutput):
    """What ``encode_video`` finds out about B videos.

    Attributes:
        visual_embeds: (B, V, E), the visual tokens as the language model takes them.
        frame_scores: (B, T) in float32, the attention each sampled frame received.
        kept_frames: (B, K), ascending indices of the key frames.
        image_features: (B, T, N, D).
        video_features: (B, K, N, D).
    """

    visual_embeds: Tensor | None = None
    frame_scores: Tensor | None = None
    kept_frames: Tensor | None = None
    image_features: Tensor | None = None
    video_features: Tensor | None = None


class MobileVideoGPTForConditionalGeneration(PreTrainedModel, VideoGenerationMixin):
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

    # The visual half, step by step.

    def encode_images(self, image_pixel_values: Tensor) -> Tensor:
        """Return CLIP's patch features of every sampled frame.

        Args:
            image_pixel_values: (B, T, 3, H, W), normalised for the image encoder.

        Returns:
            (B, T, N, D), hidden state ``config.image_feature_layer`` without the class token; N is
            0 where the configuration leaves this encoder out.
        """
        if self.config.encoders == "video":
            return _no_features(image_pixel_values, self.config.image_config.hidden_size)
        encoder = self.image_encoder
        pixels = image_pixel_values.flatten(0, 1)  # (B * T, 3, H, W)
        pixels = pixels.to(encoder.embeddings.patch_embedding.weight.dtype)
        with torch.set_grad_enabled(trains(encoder)):
            hidden = encoder.pre_layrnorm(encoder.embeddings(pixels))  # (B * T, 1 + N, D)
            # Layers after the chosen one are not run; hidden state 0 is the first layer's input.
            depth = range(len(encoder.encoder.layers) + 1)[self.config.image_feature_layer]
            for layer in encoder.encoder.layers[:depth]:
                hidden = layer(hidden, None)
        return hidden[:, 1:].unflatten(0, image_pixel_values.shape[:2])  # (B, T, N, D)

    @torch.no_grad()
    def select(self, image_features: Tensor) -> tuple[Tensor, Tensor]:
        """Score the frames and choose the key frames.

        Args:
            image_features: (B, T, N, D).

        Returns:
            Scores (B, T) in float32 and ascending frame indices (B, K). ``"uniform"`` selection
            scores nothing: its scores are zero. Those of ``"random"`` are drawn from torch's
            generator, anew for every video.
        """
        config = self.config
        batch, frames = image_features.shape[:2]
        kept_per_chunk, largest = config.frames_kept_per_chunk, config.select_largest
        num_chunks = frames // config.frames_per_chunk
        num_kept = num_chunks * kept_per_chunk
        if config.frame_selection == "uniform":
            kept = torch.tensor(uniform_frames(frames, num_kept), device=image_features.device)
            return image_features.new_zeros(batch, frames, dtype=torch.float32), kept.expand(
                batch, -1
            )
        if config.frame_selection == "global":
            scores = score_frames(image_features)
            return scores, select_frames(scores, num_kept, largest)
        if config.frame_selection == "random":
            scores = torch.rand(batch, num_chunks, config.frames_per_chunk).to(
                image_features.device
            )
        else:
            chunks = image_features.unflatten(1, (num_chunks, config.frames_per_chunk))
            scores = score_frames(chunks)  # (B, S, F)
        kept = select_frames(scores, kept_per_chunk, largest)  # (B, S, K), within the chunk
        first_frames = torch.arange(num_chunks, device=kept.device) * config.frames_per_chunk
        return scores.flatten(1), (kept + first_frames[:, None]).flatten(1)

    def encode_video_frames(
        self, video_pixel_values: Tensor, run: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return VideoMamba's patch features of the key frames.

        Args:
            video_pixel_values: (B, K, 3, H, W), normalised for the video encoder.
            run: maps clips (B, T, 3, H, W) to tokens (B, 1 + T * N, D) in the video encoder's
                place: an engine may have a faster form of it.

        Returns:
            (B, K, N, D) without the class token; N is 0 where the configuration leaves this
            encoder out.
        """
        if self.config.encoders == "image":
            return _no_features(video_pixel_values, self.config.video_config.hidden_size)
        # A still is a clip of one frame: there is nothing to share out among passes.
        passes = min(self.config.video_passes, video_pixel_values.shape[1])
        pixels = video_pixel_values.unflatten(1, (-1, passes)).transpose(1, 2).flatten(0, 1)
        if run is not None:
            hidden = run(pixels)
        else:
            with torch.set_grad_enabled(trains(self.video_encoder)):
                hidden = self.video_encoder(pixels).last_hidden_state  # (B * P, 1 + K / P * N, D)
        features = hidden[:, 1:].unflatten(1, (pixels.shape[1], -1))
        return features.unflatten(0, (-1, passes)).transpose(1, 2).flatten(1, 2)  # (B, K, N, D)

    def project_features(self, image_features: Tensor, video_features: Tensor) -> Tensor:
        """Turn both encoders' features into one sequence of visual tokens (equations 1, 2 and 5).

        Args:
            image_features: (B, T, N, D_image), class tokens already dropped.
            video_features: (B, K, N, D_video), class tokens already dropped.

        Returns:
            (B, V, E): the image tokens frame by frame, then the video tokens, in
            ``config.video_token_layout``; those of one encoder only where ``config.encoders`` names
            one.
        """
        if self.config.encoders == "video":
            return self._project_video(video_features)
        images = self._project(self.image_projector, image_features)  # (B, T * n, E)
        if self.config.encoders == "image":
            return images
        return torch.cat((images, self._project_video(video_features)), dim=1)

    def _project_video(self, video_features: Tensor) -> Tensor:
        """(B, K, N, D_video) -> (B, video tokens, E)."""
        if self.config.video_token_layout == "released":
            # Pooled per frame, then all tokens of a chunk are viewed as one square grid and pooled
            # again.
            pooled = pool_grid(video_features, self.config.video_pool_grid)  # (B, K, n, D)
            kept = self.config.frames_kept_per_chunk
            video_features = pooled.unflatten(1, (-1, kept)).flatten(2, 3)  # (B, S, K * n, D)
        return self._project(self.video_projector, video_features)

    @staticmethod
    def _project(projector: nn.Module, features: Tensor) -> Tensor:
        """(B, groups, N, D) -> (B, groups * n, E)."""
        weight = next(p for p in projector.parameters() if p.is_floating_point())
        tokens = projector(features.flatten(0, 1).to(weight.dtype))
        return tokens.unflatten(0, features.shape[:2]).flatten(1, 2)

    def encode_video(
        self, image_pixel_values: Tensor, video_pixel_values: Tensor
    ) -> VisualEncoding:
        """Run the whole visual half.

        Args:
            image_pixel_values: (B, T, 3, H, W), all sampled frames for the image encoder.
            video_pixel_values: (B, T, 3, h, w), the same frames for the video encoder.
        """
        self._check_frames(image_pixel_values, video_pixel_values)
        image_features = self.encode_images(image_pixel_values)
        frame_scores, kept_frames = self.select(image_features)
        rows = torch.arange(kept_frames.shape[0], device=video_pixel_values.device)[:, None]
        key_frames = video_pixel_values[rows, kept_frames.to(rows.device)]  # (B, K, 3, h, w)
        video_features = self.encode_video_frames(key_frames)
        return VisualEncoding(
            visual_embeds=self.project_features(image_features, video_features),
            frame_scores=frame_scores,
            kept_frames=kept_frames,
            image_features=image_features,
            video_features=video_features,
        )

    def encode_stills(self, still_pixel_values: Tensor, branch: str = "image") -> Tensor:
        """Turn single pictures into visual tokens.

        Args:
            still_pixel_values: (M, 3, H, W), normalised for the branch's encoder.
            branch: ``"image"`` goes through the image encoder and its projector, ``"video"``
                through the video encoder, as a clip of one frame, and the video projector. The
                warm-up stages of both projectors are made of stills.

        Returns:
            (M, V, E) with ``config.num_still_tokens(branch)`` tokens each. The video tokens are
            pooled once, in space: there is no chunk to view as a grid.
        """
        features = self.encode_still_features(still_pixel_values, branch)
        return self.project_still_features(features, branch)

    def encode_still_features(self, still_pixel_values: Tensor, branch: str = "image") -> Tensor:
        """Return one encoder's patch features of single pictures, (M, N, D)."""
        self.config.num_still_tokens(branch)  # names an unknown branch
        pixels = still_pixel_values.unsqueeze(1)  # (M, 1, 3, H, W)
        encode = self.encode_images if branch == "image" else self.encode_video_frames
        return encode(pixels).squeeze(1)

    def project_still_features(self, still_features: Tensor, branch: str = "image") -> Tensor:
        """Turn features (M, N, D) of single pictures into visual tokens (M, V, E)."""
        self.config.num_still_tokens(branch)
        projector = self.image_projector if branch == "image" else self.video_projector
        return self._project(projector, still_features.unsqueeze(1))

    def _check_frames(self, image_pixel_values: Tensor, video_pixel_values: Tensor) -> None:
        wanted = self.config.num_frames
        for name, pixels in (
            ("image_pixel_values", image_pixel_values),
            ("video_pixel_values", video_pixel_values),
        ):
            if pixels.dim() != 5 or pixels.shape[1] != wanted:
                raise ValueError(
                    f"{name} must have shape (batch, {wanted}, 3, height, width), but has "
                    f"{tuple(pixels.shape)}; give exactly {wanted} sampled frames per video."
                )

    # The language half.

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


def _no_features(pixel_values: Tensor, width: int) -> Tensor:
    """(B, T, 3, H, W) -> (B, T, 0, D): what an encoder that is left out says of each frame."""
    return pixel_values.new_zeros(*pixel_values.shape[:2], 0, width)


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
