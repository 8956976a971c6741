"""Our own model as a contestant: every part of an answer, through the public `VideoChat`."""

from __future__ import annotations

import time
from dataclasses import astuple
from pathlib import Path
from typing import Any

from mobile_videogpt.benchmark.costs import part_costs
from mobile_videogpt.benchmark.settings import FOLLOW_UP, QUESTION, VISION, Settings
from mobile_videogpt.benchmark.stand_in import random_checkpoint

OPENING = ("decode", "preprocess", *VISION)


class OurModel:
    """A checkpoint of ours, or a preset with random weights, asked about one clip."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.chat: Any = None
        self._prompt = 0  # tokens of the last run's prompt

    def prepare(self) -> dict[str, Any]:
        """Write what loading needs, in a process of its own: its memory is not that of answering.

        That is the random checkpoint, if it is one, the export for the ONNX engine, and the loops
        that are compiled once, at the first answer, and then kept.
        """
        if self.settings.engine == "onnx":
            self.load()
            self.warm_up()
        return {"checkpoint": str(self._checkpoint())}

    def load(self) -> dict[str, Any]:
        """Load as `VideoChat` does for everybody."""
        from mobile_videogpt.chat import VideoChat

        settings = self.settings
        start = time.perf_counter()
        self.chat = VideoChat(
            str(self._checkpoint()),
            device=settings.device,
            dtype=settings.dtype,
            engine=settings.engine,
            max_open_videos=1,
            merge_tokens=settings.merge_tokens,
            cache_dir=None,  # a cache would answer in place of the model
        )
        return {"load_s": time.perf_counter() - start, **self._facts()}

    def warm_up(self) -> None:
        """A whole run: graphs are compiled and memory is touched at the sizes that are measured."""
        self.run()

    def run(self) -> dict[str, float]:
        """Clip to first token, then an answer, then another question about the same clip."""
        chat, settings = self.chat, self.settings
        chat.forget()
        start = time.perf_counter()
        video = chat.open(settings.clip)
        first = chat.ask(video, QUESTION, max_new_tokens=1)
        ttft_s = time.perf_counter() - start
        # The prefix is kept: what this repeats of the prompt is not counted again.
        whole = chat.ask(video, QUESTION, max_new_tokens=settings.new_tokens)
        start = time.perf_counter()
        chat.ask(video, FOLLOW_UP, max_new_tokens=1)
        followup_ttft_s = time.perf_counter() - start
        parts = {f"part:{part}": video.timings[part] for part in OPENING}
        decode_tokens_s = whole.timings["decode_tokens"]
        generated = whole.tokens["generated"]
        self._prompt = int(whole.tokens["prompt"])
        return {
            "ttft_s": ttft_s,
            "vision_s": sum(video.timings[part] for part in VISION),
            "followup_ttft_s": followup_ttft_s,
            "decode_tok_s": whole.tokens["per_second"],
            "end_to_end_s": ttft_s + decode_tokens_s,
            "end_to_end_tok_s": generated / (ttft_s + decode_tokens_s),
            "visual_tokens": whole.tokens["visual"],
            "prompt_tokens": whole.tokens["prompt"],
            "generated_tokens": generated,
            **parts,
            "part:prefill": first.timings["prefill"],
            "part:decode_tokens": decode_tokens_s,
        }

    def extras(self) -> dict[str, Any]:
        """Costs of parts, decoding of the clips, the video encoder beside its products, windows."""
        makers = {
            "costs": self._costs,
            "clips": lambda: {Path(clip).name: self._decode(clip) for clip in self.settings.clips},
            "video_encoder": self._compare_video_encoder,
        }
        found: dict[str, Any] = {name: makers[name]() for name in self.settings.extras}
        if self.settings.window:
            from mobile_videogpt.benchmark.live_window import measure_window

            found["window"] = measure_window(self.chat, self.settings.clip)
        return found

    def _costs(self) -> dict[str, tuple[float, ...]]:
        return {k: astuple(c) for k, c in part_costs(self.chat.config, self._prompt).items()}

    def _compare_video_encoder(self) -> dict[str, Any]:
        from mobile_videogpt.benchmark.matrix_products import compare_video_encoder

        number_format = number_formats(self.chat)["video_encoder"]
        return compare_video_encoder(self.chat, self.settings.clip, number_format)

    def _checkpoint(self) -> str | Path:
        settings = self.settings
        if not settings.is_random:
            return settings.model
        return random_checkpoint(settings.model, settings.num_frames)

    def _decode(self, clip: str, repeats: int = 3) -> dict[str, float]:
        """Seconds from the file to the sampled frames, and from those to pixels."""
        from mobile_videogpt.video.source import read_video

        decode, preprocess = [], []
        for _ in range(repeats):
            start = time.perf_counter()
            frames = read_video(clip, count=self.chat.config.num_frames).frames
            decode.append(time.perf_counter() - start)
            start = time.perf_counter()
            self.chat.processor.pixels(frames)
            preprocess.append(time.perf_counter() - start)
        return {"decode_s": sorted(decode)[1], "preprocess_s": sorted(preprocess)[1]}

    def _facts(self) -> dict[str, Any]:
        chat = self.chat
        config = chat.config
        return {
            "model": chat.name,
            "engine": type(chat.engine).__name__,
            "formats": number_formats(self.chat),
            "device": str(getattr(chat.engine, "device", "cpu")),
            "num_frames": config.num_frames,
        }


def number_formats(chat: Any) -> dict[str, str]:
    """The number format of every part's matrices: as its engine says, or as torch holds them."""
    said = getattr(chat.engine, "number_formats", None)
    said = said() if callable(said) else said
    return {**_module_formats(getattr(chat, "model", None)), **(said or {})}


def _module_formats(model: Any) -> dict[str, str]:
    """The format of each part's first matrix; nothing for an engine without torch's modules."""
    modules = {
        "image_encoder": "image_encoder",
        "video_encoder": "video_encoder",
        "projectors": "image_projector",
        "language_model": "language_model",
    }
    formats = {}
    for part, name in modules.items():
        module = getattr(model, name, None)
        weights = module.parameters() if module is not None else ()
        matrix = next((weight for weight in weights if weight.dim() >= 2), None)
        if matrix is not None:
            formats[part] = str(matrix.dtype).removeprefix("torch.")
    return formats
