"""Ask questions about videos: a video is encoded once, then answers cost only their own text.

The visual tokens stand first in the prompt, so what the language model computes for them does not
depend on the question: `EncodedVideo` keeps it, the key-value cache of the prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from mobile_videogpt.chat.answers import Answer, AnswerStream, OptionScores, letter_options
from mobile_videogpt.chat.asking import Asking, History
from mobile_videogpt.chat.conversation import Conversation
from mobile_videogpt.chat.disk_cache import DEFAULT_CACHE_BYTES, DiskCache
from mobile_videogpt.chat.encoded_video import EncodedVideo
from mobile_videogpt.chat.live_window import slide, timed_frames
from mobile_videogpt.chat.loading import (
    MINIATURE,
    load_for_chat,
    random_model,
    say_what_the_miniature_is,
)
from mobile_videogpt.chat.onnx_exports import find_export, open_export
from mobile_videogpt.chat.open_videos import OpenVideos
from mobile_videogpt.chat.prompt_embeds import embed_prompt
from mobile_videogpt.chat.stored_video import StoredVideos
from mobile_videogpt.chat.vision import IdentifiedClip, Vision
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.engines import check_engine_name
from mobile_videogpt.engines.base import Engine, GenerationOptions, Prefix
from mobile_videogpt.engines.devices import pick_device
from mobile_videogpt.engines.torch_engine import TorchEngine
from mobile_videogpt.processor.prompt import end_token_ids
from mobile_videogpt.video.source import VideoClip

if TYPE_CHECKING:
    from mobile_videogpt.engines.onnx_engine import OnnxEngine
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
    from mobile_videogpt.processor import MobileVideoGPTProcessor


class VideoChat:
    """A loaded model that answers questions about videos.

    Args:
        model_name_or_path: "moving-shapes" (built in), a Hugging Face id, or a folder.
        device: "auto" (CUDA, else MPS, else CPU), or a torch device's name.
        dtype: "auto" (half precision on a GPU; on a CPU int8 for a large model where the processor
            multiplies bytes, else float32), "float32", "bfloat16", "float16", or on a CPU "int8".
        engine: "torch", "onnx" (docs/engines.md), or "auto": onnx where an export of the model is
            there, else torch.
        max_open_videos: how many encoded videos are kept, so that opening the same content again
            costs no more than decoding it.
        merge_tokens: share of the image tokens to keep, above 0 and at most 1: those of
            neighbouring frames are averaged (docs/token-merging.md); None keeps all.
        cache_dir: a folder in which encoded videos outlive the process (docs/caching.md); None
            keeps them in memory only.
        cache_bytes: most that the folder may take.

    Raises:
        ValueError: the model, device, dtype or engine is unknown or not available, or an option is
            out of its range.
    """

    def __init__(
        self,
        model_name_or_path: str | Path = MINIATURE,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        engine: str = "auto",
        *,
        max_open_videos: int = 4,
        merge_tokens: float | None = None,
        cache_dir: str | Path | None = None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        check_engine_name(engine)
        name = str(model_name_or_path)
        options = (max_open_videos, merge_tokens)
        cache = None if cache_dir is None else DiskCache(cache_dir, cache_bytes)
        export = find_export(name, engine, str(dtype).removeprefix("torch."), str(device))
        if export is not None:
            processor, runner = open_export(export)
            self._set_up(None, processor, name, *options, cache, runner)
        else:
            model, processor = load_for_chat(name, pick_device(device), dtype)
            self._set_up(model, processor, name, *options, cache)
        if name == MINIATURE:
            say_what_the_miniature_is()

    @classmethod
    def from_model(
        cls,
        model: MobileVideoGPTForConditionalGeneration,
        processor: MobileVideoGPTProcessor,
        name: str = "in memory",
        *,
        max_open_videos: int = 4,
        merge_tokens: float | None = None,
        cache: DiskCache | None = None,
    ) -> VideoChat:
        """A chat with a model that is already in memory, as it is (device, dtype).

        It is put into evaluation mode. Make a new chat when its weights have changed.
        """
        chat = cls.__new__(cls)
        chat._set_up(model, processor, name, max_open_videos, merge_tokens, cache)
        return chat

    @classmethod
    def random(
        cls, preset: str, tokenizer: Any = None, seed: int = 0, *, merge_tokens: float | None = None
    ) -> VideoChat:
        """A model with random weights in float32 on the CPU, to test or measure without a download.

        Args:
            preset: a name of `mobile_videogpt.config.PRESETS`.
            tokenizer: a folder with a tokenizer, or a tokenizer; the built-in model's own if None.
            seed: of the weights.
            merge_tokens: share of the image tokens to keep, as in `VideoChat`.

        Raises:
            ValueError: unknown preset, or a tokenizer that does not fit it.
        """
        model, processor = random_model(preset, tokenizer, seed)
        name = f"{preset} with random weights (seed {seed})"
        return cls.from_model(model, processor, name, merge_tokens=merge_tokens)

    def _set_up(
        self,
        model: MobileVideoGPTForConditionalGeneration | None,
        processor: MobileVideoGPTProcessor,
        name: str,
        max_open_videos: int,
        merge_tokens: float | None,
        cache: DiskCache | None,
        engine: OnnxEngine | None = None,
    ) -> None:
        """Take a model, or an engine that needs none."""
        source = model if engine is None else engine
        assert source is not None
        self.name = name
        # The torch model; None where another engine runs an export of it.
        self.model: Any = model
        self.processor = processor
        self.config: MobileVideoGPTConfig = source.config
        end_ids = end_token_ids(processor.tokenizer, source.generation_config)
        self.engine: Engine = engine or TorchEngine(cast(Any, model), end_ids)
        room = self.config.text_config.max_position_embeddings
        self._asking = Asking(self.engine, processor, end_ids, room)
        vision = Vision(self.engine, processor, self.config, merge_tokens)
        stored = StoredVideos(cache, self.engine)
        self._videos = OpenVideos(vision, stored, processor, max_open_videos)

    def open(
        self,
        video: Any,
        start: float | None = None,
        end: float | None = None,
        *,
        fps: float | None = None,
    ) -> EncodedVideo:
        """Decode and encode a video once; ask about the result as often as you like.

        Args:
            video: a path, a folder of frames, an array (T, H, W, 3), a list of images, an open
                file, a `VideoClip` decoded elsewhere, or what `prepare` returned; an `EncodedVideo`
                is returned as it is.
            start: look from this second on.
            end: look up to this second.
            fps: frames per second of a source without a clock (folder, array, list).

        Raises:
            VideoError: it cannot be read; the message says why.
        """
        part: dict[str, Any] = {"start": start, "end": end, "fps": fps}
        return self._videos.open(video, self.engine.stopwatch(), part)

    def prepare(
        self,
        video: Any,
        start: float | None = None,
        end: float | None = None,
        *,
        fps: float | None = None,
    ) -> IdentifiedClip:
        """Decode a video and make its pixels: what needs no model, and may be done in any thread.

        Args:
            video: as in `open`, which takes what this returns.
            start, end, fps: as in `open`.

        Raises:
            VideoError: it cannot be read; the message says why.
        """
        return self._videos.prepare(video, {"start": start, "end": end, "fps": fps})

    def open_each(
        self,
        videos: Iterable[Any],
        start: float | None = None,
        end: float | None = None,
        *,
        fps: float | None = None,
        ahead: int = 1,
    ) -> Iterator[tuple[Any, EncodedVideo | Exception]]:
        """Open many videos: the next is decoded while the caller works on the one at hand.

        Args:
            videos: each is anything that `open` takes, or a `VideoPart`.
            start, end, fps: as in `open`, for all of them but the parts, which say it themselves.
            ahead: how many decoded videos may wait; 16 frames in full HD take 100 MB.

        Yields:
            (video, what `open` would have returned or raised), in order. The seconds of decoding in
            its timings passed beside other work.
        """
        part: dict[str, Any] = {"start": start, "end": end, "fps": fps}
        yield from self._videos.open_each(videos, part, ahead)

    def stream_window(
        self,
        source: Any,
        *,
        rate: float = 1.0,
        hop: int | None = None,
        start: float | None = None,
        end: float | None = None,
        fps: float | None = None,
    ) -> Iterator[EncodedVideo]:
        """Look at a video, or at a stream without end, through a window that slides over it.

        Ask about each window while it is there: `for window in chat.stream_window(camera)`. A frame
        that two windows share is preprocessed and goes through the image encoder once.

        Args:
            source: anything that `open` takes; or an iterator of frames, uint8 (H, W, 3), or of
                (seconds, frame) pairs. An iterator is read only as fast as windows are taken.
            rate: frames per second that are looked at; an iterator decides for itself.
            hop: new frames from one window to the next; half a window if None.
            start: begin at this second of a video.
            end: end at this second of a video.
            fps: frames per second of a source without a clock.

        Yields:
            The last `config.num_frames` frames: first when there are so many, then every `hop`, and
            what remains at the end.

        Raises:
            VideoError: it cannot be read; the message says why.
            ValueError: `hop` is out of range, or start or end is given for an iterator.
        """
        size = self.config.num_frames
        frames = timed_frames(source, rate, start, end, fps)
        name = Path(source).name if isinstance(source, (str, Path)) else "the stream"
        for clip in slide(frames, size, size // 2 if hop is None else hop, name):
            watch = self.engine.stopwatch()
            yield self._videos.encode(self._videos.identify(clip), watch)

    def look_at_frames(self, clip: VideoClip) -> torch.Tensor:
        """What the image encoder sees in each frame of a clip, on average over its patches.

        The frames are kept: a window that holds them does not encode them again.

        Args:
            clip: any number of frames.

        Returns:
            (F, D) in float32 on the CPU.
        """
        frames = self._videos.vision.look_at_frames(
            self._videos.identify(clip), self.engine.stopwatch()
        )
        return torch.stack([f.image_features.mean(dim=0).float().cpu() for f in frames])  # (F, D)

    @property
    def frames_encoded(self) -> int:
        """How many frames went through the image encoder so far."""
        return self._videos.vision.frames_encoded

    def prefix(self, video: EncodedVideo) -> Prefix:
        """The language model's state after a video, computed once; what engines continue."""
        return self._videos.prefix(video, self.engine.stopwatch())

    def forget(self) -> None:
        """Let go of all videos that are kept in memory; those in the caller's hands stay usable."""
        self._videos.forget()

    def ask(self, video: Any, question: str, **options: Any) -> Answer:
        """Answer a question about a video.

        Args:
            video: what `open` returned, or anything that `open` takes.
            question: what to ask, with all its blanks.
            options: those of `stream`.

        Raises:
            ValueError: the question is empty, or an option is out of its range.
        """
        return self.stream(video, question, **options).finish()

    def stream(
        self,
        video: Any,
        question: str,
        *,
        history: History = (),
        **generation: Any,
    ) -> AnswerStream:
        """Answer a question piece by piece: `for piece in chat.stream(video, question)`.

        Args:
            video: what `open` returned, or anything that `open` takes.
            question: what to ask, with all its blanks.
            history: earlier (question, answer) pairs about the same video.
            generation: fields of `GenerationOptions`: max_new_tokens, do_sample, temperature,
                top_k, top_p, repetition_penalty, seed.

        Raises:
            ValueError: the question is empty, or an option is out of its range.
        """
        options = GenerationOptions(**generation)
        question_ids = self._asking.question_ids(question, history)
        watch = self.engine.stopwatch()
        encoded = self._videos.open(video, watch)
        prefix = self._videos.prefix(encoded, watch)
        return self._asking.stream(prefix, question_ids, options, watch, encoded.num_visual_tokens)

    def score(
        self, video: Any, question: str, options: Sequence[str], *, history: History = ()
    ) -> OptionScores:
        """How likely each of several answers is; all of them on one pass over the prompt.

        Raises:
            ValueError: there is no option, an option is empty, or the question is.
        """
        options = list(options)
        if not options or not all(option.strip() for option in options):
            raise ValueError(f"options are {options!r}; give at least one, and none of them empty")
        question_ids = self._asking.question_ids(question, history)
        watch = self.engine.stopwatch()
        prefix = self._videos.prefix(self._videos.open(video, watch), watch)
        return self._asking.score(prefix, question_ids, options, watch)

    def choose(
        self, video: Any, question: str, options: Sequence[str], *, history: History = ()
    ) -> OptionScores:
        """Multiple choice: the options' scores when the question is shown with all of them.

        Raises:
            ValueError: as for `score`, or there are more options than letters.
        """
        return self.score(video, letter_options(question, options), options, history=history)

    def prompt_embeds(
        self, video: Any, question: str, *, history: History = ()
    ) -> tuple[torch.Tensor, int]:
        """The prompt as embeddings, for a program that runs the exported language model.

        Args:
            video: what `open` returned, or anything that `open` takes.
            question: what to ask.
            history: earlier (question, answer) pairs about the same video.

        Returns:
            (L, E) in float32 on the CPU, and how many of its L rows stand before the question:
            those are the same for every question about the video.

        Raises:
            ValueError: the question is empty or too long, the engine is not torch, or the video's
                tokens are merged: they keep positions of their own, which rows cannot say.
        """
        if self.model is None:
            raise ValueError("the onnx engine does not hand out embeddings; use engine='torch'")
        question_ids = self._asking.question_ids(question, history)
        encoded = self._videos.open(video, self.engine.stopwatch())
        return embed_prompt(self.model, self.processor, encoded, question_ids)

    @property
    def max_open_videos(self) -> int:
        """How many encoded videos are kept in memory."""
        return self._videos.capacity

    @max_open_videos.setter
    def max_open_videos(self, count: int) -> None:
        self._videos.capacity = count

    @property
    def dtype(self) -> str:
        """The number format of the language model's matrices."""
        return self.engine.number_formats()["language_model"]

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """The ids that end an answer; the first is the one that ends a turn of the dialogue."""
        return self._asking.end_ids

    def conversation(self, video: Any) -> Conversation:
        """A dialogue about one video that remembers what was said."""
        return Conversation(self, self.open(video))
