"""The visual half of Mobile-VideoGPT (paper section 3, Figure 2): from pixels to visual tokens.

Sampled frames go through CLIP; attention among their features picks the key frames; VideoMamba sees
only those; both streams are projected (equations 1 and 2). Every step is a method, so that a caller
can time it, cache its result or replace it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel
from transformers.utils import ModelOutput

from ..config import MobileVideoGPTConfig
from .frame_selection import score_frames, select_frames, uniform_frames
from .placeholders import trains
from .projector import pool_grid
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


class VisualHalf:
    """The steps, for the model that has these parts."""

    config: MobileVideoGPTConfig
    image_encoder: CLIPVisionModel
    video_encoder: VideoMambaModel
    image_projector: nn.Module
    video_projector: nn.Module

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


def _no_features(pixel_values: Tensor, width: int) -> Tensor:
    """(B, T, 3, H, W) -> (B, T, 0, D): what an encoder that is left out says of each frame."""
    return pixel_values.new_zeros(*pixel_values.shape[:2], 0, width)
