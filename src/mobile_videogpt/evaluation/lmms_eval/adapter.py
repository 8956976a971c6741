"""The two models that lmms-eval runs: one for its simple requests, one for its chat requests.

Both answer the same way. Requests are put in the order of their videos, so that each video is
decoded and encoded once, and the answers are returned in the order in which they were asked. A
video that cannot be read is answered with nothing (and a line in the log), so that it counts as
wrong without ending the run.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mobile_videogpt.evaluation.lmms_eval.arguments import Arguments
from mobile_videogpt.evaluation.lmms_eval.generation import cut, read_settings
from mobile_videogpt.evaluation.lmms_eval.requests import (
    Clip,
    Request,
    read_chat,
    read_likelihood,
    read_simple,
)
from mobile_videogpt.video.errors import VideoError

if TYPE_CHECKING:
    from mobile_videogpt.chat import Answer, EncodedVideo, OptionScore, VideoChat

logger = logging.getLogger(__name__)

Reader = Callable[[Sequence[Any], Any], Request]


def _base_class() -> type:
    """The class that lmms-eval insists on; nobody does where it is not installed."""
    try:
        from lmms_eval.api.model import lmms
    except ImportError:
        return object
    base: type = lmms
    return base


class MobileVideoGPTSimple(_base_class()):  # type: ignore[misc]
    """For requests of the kind "simple", and for likelihoods, which lmms-eval asks of it alone.

    Args:
        pretrained: "moving-shapes", a Hugging Face id, or a folder.
        arguments: fields of `Arguments`, from `--model_args`.

    Raises:
        ValueError: an argument is unknown, or the model cannot be loaded.
    """

    is_simple = True
    read: Reader = staticmethod(read_simple)

    def __init__(self, pretrained: str = "moving-shapes", **arguments: Any) -> None:
        super().__init__()
        self.arguments = Arguments.read(arguments)
        self.task_dict: dict[str, Any] = {}
        self.batch_size = 1
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import Accelerator

            self.accelerator = Accelerator()
        self.chat = self._load(str(pretrained))

    def _load(self, pretrained: str) -> VideoChat:
        from mobile_videogpt.chat import VideoChat

        options = self.arguments.loading()
        if hasattr(self, "accelerator") and options["device"] == "auto":
            options["device"] = self.accelerator.device  # each process has a GPU of its own
        return VideoChat(pretrained, max_open_videos=1, **options)

    @property
    def device(self) -> Any:
        """Where the model runs; several processes exchange their counts there."""
        return getattr(self.chat.engine, "device", "cpu")

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.chat.processor.tokenizer

    @property
    def eot_token_id(self) -> int:
        """The id that ends an answer."""
        return self.chat.end_token_ids[0]

    @property
    def max_length(self) -> int:
        """Tokens of the longest prompt."""
        return self.chat.config.text_config.max_position_embeddings

    def generate_until(self, requests: Sequence[Any]) -> list[Any]:
        """Answers, one a request: texts with their token counts, or bare texts before 0.6."""
        asked = [self.read(request.args, self._find) for request in requests]
        outputs: list[Any] = [""] * len(asked)
        seconds, tokens = 0.0, 0
        for places, video in self._videos(asked):
            for place in places:
                begun = time.perf_counter()
                text, answer = self._generate(video, asked[place])
                seconds += time.perf_counter() - begun
                tokens += int(answer.tokens["generated"])
                outputs[place] = _with_counts(text, answer)
                self._remember("generate_until", asked[place], text)
        _log_speed(tokens, seconds, len(asked))
        return outputs

    def loglikelihood(self, requests: Sequence[Any]) -> list[Any]:
        """One (loss, is_greedy) pair a request, in the harness's own wrapping where it has one.

        The harness's base class promises log-likelihoods, but its tasks take the answer with the
        *smallest* number, because its models return losses: so does this one, the negative
        log-likelihood of the answer and its end (`likelihood=mean`: divided by its tokens).
        `is_greedy`: greedy decoding writes just this answer.
        """
        asked = [read_likelihood(request.args, self._find) for request in requests]
        losses: list[tuple[float, bool]] = [(math.inf, False)] * len(asked)
        for places, video in self._videos(asked):
            by_question: dict[str, list[int]] = {}
            for place in places:
                by_question.setdefault(asked[place].question, []).append(place)
            for question, same in by_question.items():
                options = [asked[place].continuation for place in same]
                for place, loss in zip(same, self._losses(video, question, options), strict=True):
                    losses[place] = loss
        return [_wrapped(pair) for pair in losses]

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[Any]:
        """Not offered: none of the video benchmarks asks in rounds."""
        raise NotImplementedError("mobile_videogpt answers in one round; choose another task")

    def clean(self) -> None:
        """Let go of the model; lmms-eval calls this before a judge is loaded."""
        if hasattr(super(), "clean"):
            super().clean()
        self.chat.forget()

    def _find(self, task: str, split: str, doc_id: Any) -> Mapping[str, Any]:
        return self.task_dict[task][split][doc_id]

    def _videos(self, asked: Sequence[Request]) -> Iterator[tuple[list[int], EncodedVideo]]:
        """Each video that can be read, after the places of the requests about it."""
        from mobile_videogpt.chat import VideoPart

        by_clip: dict[Clip, list[int]] = {}
        for place, request in enumerate(asked):
            by_clip.setdefault(request.clip, []).append(place)
        parts = [VideoPart(clip.source, clip.start, clip.end) for clip in by_clip]
        opened = self._progress(self.chat.open_each(parts), len(parts))
        unreadable = 0
        for places, (_, video) in zip(by_clip.values(), opened, strict=True):
            if isinstance(video, VideoError):
                unreadable += len(places)
                logger.error("%s (%d questions stay without an answer)", video, len(places))
                continue
            if isinstance(video, Exception):
                raise video
            yield places, video
            # No frame is shared with the next video: no answer depends on what was asked before.
            self.chat.forget()
        if unreadable:
            logger.error("%d of %d questions are about unreadable videos", unreadable, len(asked))

    def _progress(self, items: Any, total: int) -> Any:
        from rich.console import Console
        from rich.progress import track

        is_shown = sys.stderr.isatty() and getattr(self, "_rank", 0) == 0
        console = Console(stderr=True)
        return track(items, "videos", total=total, console=console, disable=not is_shown)

    def _generate(self, video: EncodedVideo, request: Request) -> tuple[str, Answer]:
        """The answer up to a stop text, and what it cost."""
        settings = read_settings(request.generation, self.arguments.max_new_tokens)
        stream = self.chat.stream(
            video, request.question, history=request.history, **settings.options
        )
        text = ""
        for piece in stream:
            text += piece
            if cut(text, settings.stop) is not None:
                stream.close()
                break
        answer = stream.finish()
        shorter = cut(answer.text, settings.stop)
        return (answer.text if shorter is None else shorter), answer

    def _losses(
        self, video: EncodedVideo, question: str, options: Sequence[str]
    ) -> list[tuple[float, bool]]:
        """Loss and is_greedy of each option, on one pass over the prompt."""
        scores = self.chat.score(video, question, options)
        longest = max(score.tokens for score in scores)
        greedy = str(self.chat.ask(video, question, max_new_tokens=longest))
        return [(self._loss(score), score.option == greedy) for score in scores]

    def _loss(self, score: OptionScore) -> float:
        return -(score.per_token if self.arguments.likelihood == "mean" else score.sum)

    def _remember(self, kind: str, request: Request, output: str) -> None:
        hook = getattr(self, "cache_hook", None)
        if hook is not None:
            hook.add_partial(kind, (request.question, dict(request.generation)), output)


class MobileVideoGPTChat(MobileVideoGPTSimple):
    """For requests of the kind "chat": messages instead of a text and visuals."""

    is_simple = False
    read: Reader = staticmethod(read_chat)


def _wrapped(pair: tuple[float, bool]) -> Any:
    """A likelihood as it gets through the harness, whose evaluator turns a bare pair into text."""
    try:
        from lmms_eval.api.instance import GenerationResult
    except ImportError:
        return pair
    return GenerationResult(text=pair)


def _with_counts(text: str, answer: Answer) -> Any:
    """The text with its token counts, in the harness's own class where it has one."""
    try:
        from lmms_eval.api.instance import GenerationResult, TokenCounts
    except ImportError:
        return text
    counts = TokenCounts(
        input_tokens=int(answer.tokens["prompt"]), output_tokens=int(answer.tokens["generated"])
    )
    return GenerationResult(text=text, token_counts=counts)


def _log_speed(tokens: int, seconds: float, requests: int) -> None:
    """Hand the harness what it reports beside the scores."""
    try:
        from lmms_eval.models.model_utils.gen_metrics import log_metrics
    except ImportError:
        return
    log_metrics(
        total_elapsed_time=seconds,
        total_gen_tokens=tokens,
        avg_speed=tokens / seconds if seconds else 0.0,
        additional_metrics={"total_requests": requests},
    )
