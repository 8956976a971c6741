"""The ONNX engine: an exported folder, run by ONNX Runtime on the CPU.

It needs no weights of torch. Tensors cross its boundary as torch's, because the rest of the package
speaks torch; inside they are numpy arrays over the same memory.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

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
from mobile_videogpt.engines.memory import give_memory_back
from mobile_videogpt.engines.onnx.key_value_cache import KeyValueCache
from mobile_videogpt.engines.onnx.language_session import LanguageSession
from mobile_videogpt.engines.onnx.manifest import Manifest
from mobile_videogpt.engines.onnx.sessions import frugal_run, open_session
from mobile_videogpt.engines.videomamba import VideoMambaRunner, open_runner

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from mobile_videogpt.config import MobileVideoGPTConfig

# Frames that the image encoder takes at once: what lies between its layers stays small.
FRAMES_AT_ONCE = 2


class OnnxEngine:
    """Runs an exported folder, one video at a time.

    Args:
        folder: written by `mobile-videogpt export --engine onnx`.
        config: the model's.
        end_token_ids: generation stops at any of these.
        generation_config: the checkpoint's own defaults.
        threads: as many as torch uses when None.

    Raises:
        ValueError: it is no such folder, or ONNX Runtime is not installed.
    """

    name = "onnx"
    device = torch.device("cpu")

    def __init__(
        self,
        folder: Path,
        config: MobileVideoGPTConfig,
        end_token_ids: Sequence[int],
        generation_config: Any,
        threads: int | None = None,
    ) -> None:
        self.folder = folder
        self.config = config
        self.manifest = Manifest.read(folder)
        self.end_token_ids = frozenset(end_token_ids)
        self.generation_config = generation_config
        self.pause: Pause = None
        self._threads = threads
        # The visual parts, opened when they are needed and let go before the next large one is:
        # opening takes less than a tenth of what encoding does, and memory holds one at a time.
        self._visual: dict[str, InferenceSession] = {}
        self._language = LanguageSession(folder, threads)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights and of the number formats."""
        return f"onnx {self.manifest.fingerprint}"

    def number_formats(self) -> dict[str, str]:
        """The format in which each part's matrices are multiplied."""
        formats = {name: part.number_format for name, part in self.manifest.parts.items()}
        runner = self._open_video_runner(self.config.num_kept_frames)
        if runner is not None:
            formats["video_encoder"] = runner.number_format
        if self._language.prompt_format is not None:
            formats["prefill"] = self._language.prompt_format
        return formats

    def stopwatch(self) -> Stopwatch:
        """A stopwatch; the CPU works in the open."""
        return Stopwatch()

    def encode(
        self, image_pixels: torch.Tensor, video_pixels: torch.Tensor, watch: Stopwatch
    ) -> VisualTokens:
        """Figure 2 of the paper, left to right, each box timed; (1, T, 3, H, W) each."""
        image_features = self.encode_frames(image_pixels, watch)
        return self.encode_from_features(image_features, video_pixels, watch)

    def encode_frames(self, image_pixels: torch.Tensor, watch: Stopwatch) -> torch.Tensor:
        """The image encoder's features of any number of frames: (1, F, 3, H, W) -> (1, F, N, D)."""
        give_memory_back()  # what decoding the video took
        with watch.measure("image_encoder"):
            parts = []
            pixels = image_pixels[0].float()
            for some in in_pieces(len(pixels), FRAMES_AT_ONCE, self.pause or give_memory_back):
                parts.append(self._run("image_encoder", "features", pixel_values=pixels[some]))
            self._close("image_encoder")
            return torch.from_numpy(np.concatenate(parts))[None]

    def encode_from_features(
        self, image_features: torch.Tensor, video_pixels: torch.Tensor, watch: Stopwatch
    ) -> VisualTokens:
        """Selection, video encoder and projectors.

        Args:
            image_features: (1, T, N, D), from `encode_frames`.
            video_pixels: (1, T, 3, h, w) for the video encoder.
            watch: receives the seconds of each part.
        """
        features = image_features[0].float()
        with watch.measure("selection"):
            scores, kept = self._run("selection", "scores", "kept", features=features)
        with watch.measure("video_encoder"):
            key_frames = video_pixels[0].float()[torch.from_numpy(kept)]
            video_features = self._encode_video(key_frames)
        self._close("video_encoder")
        with watch.measure("projectors"):
            embeds = self._run(
                "projectors",
                "visual_embeds",
                image_features=features,
                video_features=video_features,
            )
        give_memory_back()
        return VisualTokens(
            visual_embeds=torch.from_numpy(embeds)[None],
            frame_scores=tuple(scores.tolist()),
            kept_frames=tuple(kept.tolist()),
        )

    def _encode_video(self, key_frames: torch.Tensor) -> torch.Tensor:
        """(K, 3, h, w) -> (K, N, D): compiled loops where they apply, else the graph."""
        run = self._open_video_runner(len(key_frames))
        if run is None:
            return torch.from_numpy(self._run("video_encoder", "features", pixel_values=key_frames))
        return run(key_frames[None], self.pause)[0, 1:].unflatten(0, (len(key_frames), -1))

    def _open_video_runner(self, frames: int) -> VideoMambaRunner | None:
        path = self.folder / "video_encoder.safetensors"
        return open_runner(path, self.config.video_config, frames)

    def _close(self, part: str) -> None:
        """Let a part go that has done its work for this video."""
        self._visual.pop(part, None)
        give_memory_back()

    def _run(self, part: str, *outputs: str, **inputs: torch.Tensor) -> Any:
        """One part's outputs as arrays: the array itself if there is one."""
        arrays = {name: value.contiguous().numpy() for name, value in inputs.items()}
        if part not in self._visual:
            self._visual[part] = open_session(self.folder / f"{part}.onnx", self._threads)
        found = self._visual[part].run(list(outputs), arrays, frugal_run())
        return found[0] if len(found) == 1 else found

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
            positions: one per token, where merging left gaps; None: one after the other.
        """
        places = np.arange(len(token_ids)) if positions is None else np.asarray(positions)
        embeds = self._language.embed(token_ids)
        is_visual = np.asarray(token_ids) == self.config.video_token_id
        embeds[is_visual] = visual_embeds[0].float().numpy()
        cache = self._language.new_cache(len(token_ids))
        self._language.fill(cache, embeds, places.astype(np.int64), self.pause)
        gap = int(places[-1]) + 1 - len(token_ids)
        return Prefix(token_ids=tuple(token_ids), state=cache.keep(), gap=gap)

    def save_prefix(self, prefix: Prefix) -> dict[str, torch.Tensor]:
        """Keys and values, (tensors, 1, heads, L, width)."""
        cache: KeyValueCache = prefix.state
        return {"key_values": torch.from_numpy(cache.values[:, :, :, : cache.length])}

    def load_prefix(
        self, token_ids: Sequence[int], tensors: dict[str, torch.Tensor], gap: int = 0
    ) -> Prefix:
        """The prefix that `save_prefix` made tensors of."""
        values = tensors["key_values"].numpy()
        cache = self._language.new_cache(len(token_ids))
        cache.length = values.shape[3]
        cache.values[:, :, :, : cache.length] = values
        return Prefix(token_ids=tuple(token_ids), state=cache.keep(), gap=gap)

    def generate(
        self, prefix: Prefix, token_ids: Sequence[int], options: GenerationOptions, watch: Stopwatch
    ) -> Generator[int, None, None]:
        """Yield the ids that continue prefix + `token_ids`, up to and without the end token."""
        choose = TokenChooser(options, self.generation_config, self.device)
        with prefix.state.continued(len(token_ids) + options.max_new_tokens) as cache:
            yield from generate_ids(
                lambda ids: choose(self.read_question(ids, cache, prefix.gap)),
                token_ids,
                options.max_new_tokens,
                self.end_token_ids,
                watch,
            )

    def score(
        self, prefix: Prefix, token_ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """Log-probability of each token of each continuation of prefix + `token_ids`.

        The prompt is read once but for its last token, which every continuation reads again: its
        logits are those of their first tokens.
        """
        *before, last = token_ids
        longest = max(len(ids) for ids in continuations)
        with prefix.state.continued(len(token_ids) + longest) as cache:
            if before:
                self._language.fill(cache, *self._inputs(before, cache, prefix.gap), self.pause)
            start, logs = cache.length, []
            for one in in_pieces(len(continuations), 1, self.pause or go_on):
                ids = [last, *continuations[one.start]]
                logs.append(self._score_one(cache, start, prefix.gap, ids))
            return logs

    def _score_one(
        self, cache: KeyValueCache, start: int, gap: int, token_ids: Sequence[int]
    ) -> list[float]:
        cache.length = start
        embeds, positions = self._inputs(token_ids[:-1], cache, gap)
        targets = token_ids[1:]
        logits = self._language.logits(
            cache, embeds, positions, wanted=len(embeds), certain=targets
        )
        logs = torch.from_numpy(logits).log_softmax(-1)
        return logs.gather(1, torch.tensor(targets)[:, None])[:, 0].tolist()

    @property
    def reads_together(self) -> bool:
        """Whether tokens of several answers take one reading of the weights; see `read_each`."""
        return self._language.reads_together

    def read_each(
        self, token_ids: Sequence[int], ends: Sequence[tuple[KeyValueCache, int]]
    ) -> torch.Tensor:
        """Read one token into each of several caches; logits of what follows each, (answers, V).

        Args:
            token_ids: one for each cache.
            ends: the caches, and the gap of the prefix that each began with.
        """
        caches = [cache for cache, _ in ends]
        positions = np.array([cache.length + gap for cache, gap in ends])
        logits = self._language.logits_of_each(caches, self._language.embed(token_ids), positions)
        return torch.from_numpy(logits)

    def read_question(
        self, token_ids: Sequence[int], cache: KeyValueCache, gap: int
    ) -> torch.Tensor:
        """Read `token_ids` after what `cache` holds, extend it; logits of what follows, (1, V)."""
        inputs = self._inputs(token_ids, cache, gap)
        return torch.from_numpy(self._language.logits(cache, *inputs, pause=self.pause))

    def _inputs(
        self, token_ids: Sequence[int], cache: KeyValueCache, gap: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings and positions of tokens that follow what `cache` holds."""
        first = cache.length + gap
        return self._language.embed(token_ids), np.arange(first, first + len(token_ids))
