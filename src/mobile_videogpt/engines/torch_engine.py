"""The torch engine: the model as it is, on a CPU, a CUDA card or Apple's MPS.

The key-value cache of a video's prefix is shared by all questions about it. Every question gets a
copy with room for its answer, so the shared one stays as it was, also when an answer is interrupted
halfway.

On a CPU a plain Qwen2 is run by `qwen2.Qwen2Runner` and the video encoder, where numba is
installed, by `videomamba.VideoMambaRunner`; everything else by the model's own forward.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache

from mobile_videogpt.engines.base import (
    GenerationOptions,
    Pause,
    Prefix,
    Stopwatch,
    VisualTokens,
    go_on,
    in_pieces,
)
from mobile_videogpt.engines.decoding import TokenChooser, generate_ids
from mobile_videogpt.engines.devices import synchronize
from mobile_videogpt.engines.int8 import Int8Linear
from mobile_videogpt.engines.kv_cache import cache_bytes, fork_cache, new_cache
from mobile_videogpt.engines.qwen2 import Qwen2Runner
from mobile_videogpt.engines.videomamba import VideoMambaRunner
from mobile_videogpt.engines.videomamba_weights import fits_encoder, runner_tensors
from mobile_videogpt.models.placeholders import place_tokens

if TYPE_CHECKING:
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

# Between two pauses, where somebody wants them: at full size a few tenths of a second on one core.
TOKENS_AT_ONCE = 128
# Keys and values that the options of one pass may take: each has a copy of the prompt's.
_OPTIONS_BYTES = 512_000_000


class TorchEngine:
    """Runs a loaded `MobileVideoGPTForConditionalGeneration`, one video at a time.

    Args:
        model: on its device, in its number format; put into evaluation mode here.
        end_token_ids: generation stops at any of these.
    """

    name = "torch"

    def __init__(
        self, model: MobileVideoGPTForConditionalGeneration, end_token_ids: Sequence[int]
    ) -> None:
        self.model = model.eval()
        self.end_token_ids = frozenset(end_token_ids)
        self.pause: Pause = None
        language_model = model.language_model
        fits = Qwen2Runner.fits(language_model)
        self._runner = Qwen2Runner(language_model) if fits else None
        self._video_runner: VideoMambaRunner | None = None  # made when the first video comes

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def generation_config(self) -> Any:
        """The checkpoint's own defaults."""
        return self.model.generation_config

    @cached_property
    def fingerprint(self) -> str:
        """Hash of names, shapes and a few evenly spaced values of every tensor.

        Reading all of a gigabyte of weights would take longer than encoding a video; two
        checkpoints that agree in these values are the same in practice.
        """
        digest = hashlib.sha256()
        samples = []
        for name, tensor in self.model.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
            flat = tensor.detach().flatten()
            samples.append(flat[:: max(1, flat.numel() // 16)][:16].float())
        digest.update(torch.cat(samples).cpu().numpy().tobytes())
        return digest.hexdigest()

    def number_formats(self) -> dict[str, str]:
        """The format in which each part's matrices are kept."""
        parts = ("image_encoder", "video_encoder", "image_projector", "language_model")
        names = (*parts[:2], "projectors", parts[3])
        return {
            name: _number_format(getattr(self.model, part))
            for name, part in zip(names, parts, strict=True)
        }

    def stopwatch(self) -> Stopwatch:
        """A stopwatch that waits for this engine's device."""
        return Stopwatch(lambda: synchronize(self.device))

    def encode(
        self, image_pixels: torch.Tensor, video_pixels: torch.Tensor, watch: Stopwatch
    ) -> VisualTokens:
        """Figure 2 of the paper, left to right, each box timed.

        Args:
            image_pixels: (1, T, 3, H, W) for the image encoder.
            video_pixels: (1, T, 3, H, W) for the video encoder.
            watch: receives the seconds of each part.
        """
        image_features = self.encode_frames(image_pixels, watch)
        return self.encode_from_features(image_features, video_pixels, watch)

    @torch.inference_mode()
    def encode_frames(self, image_pixels: torch.Tensor, watch: Stopwatch) -> torch.Tensor:
        """The image encoder's features of any number of frames: (1, F, 3, H, W) -> (1, F, N, D)."""
        # Number formats are the encoders' own matter: they may be finer than the language model's.
        image_pixels = image_pixels.to(self.device)
        tokens = self.model.config.image_config
        frames = max(1, TOKENS_AT_ONCE // (tokens.image_size // tokens.patch_size) ** 2)
        pieces = in_pieces(image_pixels.shape[1], frames, self.pause)
        with watch.measure("image_encoder"):
            found = [self.model.encode_images(image_pixels[:, some]) for some in pieces]
            return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    @torch.inference_mode()
    def encode_from_features(
        self, image_features: torch.Tensor, video_pixels: torch.Tensor, watch: Stopwatch
    ) -> VisualTokens:
        """Selection, video encoder and projectors.

        Args:
            image_features: (1, T, N, D), from `encode_frames`.
            video_pixels: (1, T, 3, h, w) for the video encoder.
            watch: receives the seconds of each part.
        """
        model = self.model
        image_features = image_features.to(self.device)
        with watch.measure("selection"):
            scores, kept = model.select(image_features)  # (1, T), (1, kept)
        key_pixels = video_pixels[:, kept[0].to(video_pixels.device)].to(self.device)
        with watch.measure("video_encoder"):
            video_features = self._encode_video(key_pixels)
        with watch.measure("projectors"):
            visual_embeds = model.project_features(image_features, video_features)  # (1, V, E)
        return VisualTokens(
            visual_embeds=visual_embeds,
            frame_scores=tuple(scores[0].float().tolist()),
            kept_frames=tuple(kept[0].tolist()),
        )

    def _encode_video(self, key_pixels: torch.Tensor) -> torch.Tensor:
        """(1, K, 3, h, w) -> (1, K, N, D); with compiled loops where they apply."""
        model = self.model
        if self.device.type != "cpu" or not fits_encoder(model.video_encoder, key_pixels.shape[1]):
            return model.encode_video_frames(key_pixels)
        if self._video_runner is None:
            tensors = runner_tensors(model.video_encoder, is_half=False)
            self._video_runner = VideoMambaRunner(tensors, model.config.video_config)
        runner = self._video_runner
        return model.encode_video_frames(key_pixels, lambda clips: runner(clips, self.pause))

    @torch.inference_mode()
    def prefill(
        self,
        token_ids: Sequence[int],
        visual_embeds: torch.Tensor,
        positions: Sequence[int] | None = None,
    ) -> Prefix:
        """Let the language model read the prefix once.

        Args:
            token_ids: the prompt up to the question, one placeholder per visual token.
            visual_embeds: (1, V, E), what the placeholders stand for.
            positions: one per token, where tokens were merged; None: 0, 1, 2 and so on.
        """
        cache = new_cache(len(self.model.language_model.model.layers), len(token_ids))
        ids = self._row(token_ids)
        embeds = self.model.get_input_embeddings()(ids)
        embeds = self._place(embeds, ids, visual_embeds)
        row = None if positions is None else self._row(positions)
        for some in in_pieces(len(token_ids), TOKENS_AT_ONCE, self.pause):
            self._read(embeds[:, some], cache, None if row is None else row[:, some], "none")
        gap = 0 if positions is None else positions[-1] + 1 - len(token_ids)
        return Prefix(token_ids=tuple(token_ids), state=cache, gap=gap)

    def save_prefix(self, prefix: Prefix) -> dict[str, torch.Tensor]:
        """Keys and values of all layers, (layers, heads, prefix, head width) each."""
        layers = prefix.state.layers
        return {
            "keys": torch.cat([layer.keys for layer in layers]),
            "values": torch.cat([layer.values for layer in layers]),
        }

    def load_prefix(
        self, token_ids: Sequence[int], tensors: dict[str, torch.Tensor], gap: int = 0
    ) -> Prefix:
        """The prefix that `save_prefix` made tensors of."""
        keys, values = (tensors[name].to(self.device) for name in ("keys", "values"))
        cache = new_cache(len(keys), keys.shape[-2])
        for layer in range(len(keys)):
            cache.update(keys[layer, None], values[layer, None], layer)
        return Prefix(token_ids=tuple(token_ids), state=cache, gap=gap)

    def generate(
        self, prefix: Prefix, token_ids: Sequence[int], options: GenerationOptions, watch: Stopwatch
    ) -> Generator[int, None, None]:
        """Yield the ids that continue prefix + `token_ids`, up to and without the end token.

        Only the model's own time is measured, not what the consumer does between two tokens.
        """
        choose = TokenChooser(options, self.generation_config, self.device)
        with watch.measure("prefill"):
            cache = fork_cache(prefix.state, len(token_ids) + options.max_new_tokens)
        yield from generate_ids(
            lambda ids: choose(self._step(ids, cache, prefix.gap)),
            token_ids,
            options.max_new_tokens,
            self.end_token_ids,
            watch,
        )

    @property
    def runs_by_hand(self) -> bool:
        """Whether the language model is run by `qwen2.Qwen2Runner`."""
        return self._runner is not None

    def read_question(self, prefix: Prefix, token_ids: Sequence[int]) -> tuple[Cache, torch.Tensor]:
        """A cache of its own after prefix + `token_ids`, and the logits of what follows, (1, V)."""
        cache = fork_cache(prefix.state, len(token_ids))
        return cache, self._step(token_ids, cache, prefix.gap)

    @torch.inference_mode()
    def score(
        self, prefix: Prefix, token_ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """Log-probability of each token of each continuation of prefix + `token_ids`.

        The prompt is read once, then continuations as one batch, padded on the right where causal
        attention hides the padding from every token that counts; many of a long prompt as several.
        """
        cache = fork_cache(prefix.state, len(token_ids))
        first = self._step(token_ids, cache, prefix.gap).float().log_softmax(-1)  # (1, V)
        longest = max(len(ids) for ids in continuations)
        padded = [[*ids, *[0] * (longest - len(ids))] for ids in continuations]
        targets = torch.tensor(padded, device=self.device)  # (options, longest)
        logs = first[:, targets[:, 0]].T  # (options, 1)
        if longest > 1:
            size = max(1, _OPTIONS_BYTES // cache_bytes(cache, longest))
            pieces = in_pieces(len(padded), size, self.pause or go_on)
            rest = [self._score_some(targets[some], cache, prefix.gap) for some in pieces]
            logs = torch.cat([logs, torch.cat(rest)], dim=1)  # (options, longest)
        return [row[: len(ids)] for row, ids in zip(logs.tolist(), continuations, strict=True)]

    def _score_some(self, targets: torch.Tensor, cache: Cache, gap: int) -> torch.Tensor:
        """Log-probabilities of all tokens of (options, L) but the first, (options, L - 1)."""
        options, length = targets.shape
        logits = self._read(
            self.model.get_input_embeddings()(targets[:, :-1]),
            fork_cache(cache, length - 1, batch=options),
            self._positions(cache, length - 1, gap),
            "all",
        )
        logs = logits.float().log_softmax(-1)  # (options, L - 1, V)
        return logs.gather(-1, targets[:, 1:, None]).squeeze(-1)

    @torch.inference_mode()
    def _step(self, token_ids: Sequence[int], cache: Cache, gap: int) -> torch.Tensor:
        """Read `token_ids` after what `cache` holds, extend it; logits of what follows, (1, V)."""
        embeds = self.model.get_input_embeddings()(self._row(token_ids))
        for some in in_pieces(len(token_ids), TOKENS_AT_ONCE, self.pause):
            positions = self._positions(cache, some.stop - some.start, gap)
            wanted = "last" if some.stop == len(token_ids) else "none"
            logits = self._read(embeds[:, some], cache, positions, wanted)
        return logits[:, -1]

    def _read(
        self, embeds: torch.Tensor, cache: Cache, positions: torch.Tensor | None, logits: str
    ) -> torch.Tensor:
        """Read (B, L, E) after what `cache` holds, extend it; "none", "last" or "all" logits."""
        if self._runner is not None:
            return self._runner.read(embeds, cache, positions, logits)
        output = self.model.language_model(
            inputs_embeds=embeds,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=0 if logits == "all" else 1,
        )
        return output.logits

    def _place(
        self, embeds: torch.Tensor, ids: torch.Tensor, visual_embeds: torch.Tensor
    ) -> torch.Tensor:
        """(1, L, E) with the visual tokens where their placeholders stand."""
        config = self.model.config
        each = config.num_visual_tokens
        return place_tokens(embeds, ids, config.video_token_id, visual_embeds, "video", each)

    def _positions(self, cache: Cache, count: int, gap: int) -> torch.Tensor | None:
        """Positions of the next `count` tokens, (1, count); None: where the cache ends."""
        if not gap:
            return None
        start = cache.get_seq_length() + gap
        return torch.arange(start, start + count, device=self.device)[None]

    def _row(self, token_ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(token_ids)], device=self.device)


def _number_format(module: torch.nn.Module) -> str:
    if any(isinstance(part, Int8Linear) for part in module.modules()):
        return "int8"
    weight = next(weight for weight in module.parameters() if weight.dim() > 1)
    return str(weight.dtype).removeprefix("torch.")
