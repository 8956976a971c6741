"""`MobileVideoGPTProcessor`: what transformers calls a processor for this model.

It holds the tokenizer and what the weights depend on before the first layer: number of frames,
both encoders' sizes, means and filters, the number of visual tokens, the chat template.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.processor.messages import Message, is_one_conversation, read_messages
from mobile_videogpt.processor.prompt import (
    IGNORED,
    OPEN_TURN,
    LabelStyle,
    Placeholder,
    PromptEncoder,
    chatml_template,
    token_id,
)
from mobile_videogpt.processor.videos import fill_in, flat_stills, flat_videos
from mobile_videogpt.video.source import VideoClip, read_video
from mobile_videogpt.video.transforms import image_pixels, video_pixels

SYSTEM_PROMPT = "You are a helpful assistant."
STILL_TOKEN = "<|image_pad|>"
# Keywords that transformers' own callers pass along and that change nothing here.
_HARMLESS = {"padding", "add_special_tokens", "do_sample_frames", "audio"}


class MobileVideoGPTProcessor(ProcessorMixin):
    """Text and videos in, tensors for `MobileVideoGPTForConditionalGeneration` out.

    Args:
        tokenizer: Qwen2.5's or any other that knows ChatML's tokens and the placeholder.
        chat_template: Jinja; by default the prompt of the released model.
        num_frames: frames that are read from a video.
        num_visual_tokens: placeholders per video.
        image_options: keywords of `image_pixels`: size, mean, std, interpolation, resize.
        video_options: keywords of `video_pixels`: size, mean, std, interpolation.
        video_token: the placeholder.
        system_prompt: put in front of conversations without one.
        still_token: the placeholder of single pictures; only they need it to exist.
        num_still_tokens: placeholders per still in the image and in the video branch.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
        num_frames: int = 16,
        num_visual_tokens: int = 2402,
        image_options: dict[str, Any] | None = None,
        video_options: dict[str, Any] | None = None,
        video_token: str = "<|video_pad|>",
        system_prompt: str = SYSTEM_PROMPT,
        still_token: str = STILL_TOKEN,
        num_still_tokens: dict[str, int] | None = None,
    ) -> None:
        video_token_id = token_id(tokenizer, video_token)
        if video_token_id is None:
            raise ValueError(
                f"the tokenizer does not know {video_token!r}: use Qwen2.5's, or add the token."
            )
        still_token_id = token_id(tokenizer, still_token)
        has_stills = still_token if still_token_id is not None else None
        super().__init__(
            tokenizer,
            chat_template=chat_template or chatml_template(system_prompt, video_token, has_stills),
        )
        self.num_frames = num_frames
        self.num_visual_tokens = num_visual_tokens
        self.image_options = dict(image_options or {})
        self.video_options = dict(video_options or {})
        self.video_token = video_token
        self.video_token_id = video_token_id
        self.system_prompt = system_prompt
        self.still_token = still_token
        self.still_token_id = still_token_id
        self.num_still_tokens = dict(num_still_tokens or {"image": 144, "video": 49})

    @classmethod
    def from_config(
        cls, config: MobileVideoGPTConfig, tokenizer: PreTrainedTokenizerBase
    ) -> "MobileVideoGPTProcessor":
        """The processor that belongs to a model's configuration.

        Raises:
            ValueError: if the tokenizer has no token at the configuration's ``video_token_id``.
        """
        video_token = tokenizer.convert_ids_to_tokens(config.video_token_id)
        if not video_token:
            raise ValueError(
                f"the tokenizer has no token {config.video_token_id}, which the configuration uses "
                "as video placeholder: use the model's own tokenizer."
            )
        return cls(
            tokenizer,
            num_frames=config.num_frames,
            num_visual_tokens=config.num_visual_tokens,
            image_options=_options(config, "image", ("mean", "std", "interpolation", "resize")),
            video_options=_options(config, "video", ("mean", "std", "interpolation")),
            video_token=video_token,
            still_token=tokenizer.convert_ids_to_tokens(config.image_token_id) or STILL_TOKEN,
            num_still_tokens={b: config.num_still_tokens(b) for b in ("image", "video")},
        )

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        messages: Any = None,
        images: Any = None,
        *,
        still_branch: str = "image",
        label_style: LabelStyle | None = None,
        add_generation_prompt: bool | None = None,
        padding_side: str | None = None,
        max_length: int | None = None,
        return_tensors: str | None = "pt",
        **others: Any,
    ) -> BatchFeature:
        """Make a batch of model inputs from prompts or conversations.

        Args:
            text: prompts with one placeholder per video, as `apply_chat_template` renders them; or
                bare questions, one per video, which become conversations.
            videos: one video or a list of them, in the order of their placeholders; each is what
                `read_video` takes, or a `VideoClip`.
            messages: instead of text, one conversation or a list of them; their content may hold
                the videos and stills.
            images: single pictures, likewise; each is anything that `read_video` takes.
            still_branch: which encoder and projector they are for, "image" or "video".
            label_style: add ``labels``, of "answers" only or as "released".
            add_generation_prompt: end conversations in an open assistant turn; by default if no
                labels are asked for and the last message is not the assistant's.
            padding_side: "left" or "right"; by default right with labels and left without.
            max_length: cut longer rows at the end, as long as no placeholder is lost.
            return_tensors: "pt", "np", or None for lists of ids.

        Returns:
            ``input_ids`` and ``attention_mask`` (B, L); with videos ``image_pixel_values``
            (V, T, 3, H, W) and ``video_pixel_values`` (V, T, 3, h, w); with stills
            ``still_pixel_values`` (M, 3, H, W); ``labels`` if asked for.

        Raises:
            ValueError: if placeholders and videos do not match, or the input makes no sense.
        """
        _check_others(others)
        given = (flat_videos(videos), flat_stills(images))
        prompt = self.prompt_encoder(still_branch)
        conversations = self._conversations(text, given, messages)
        if conversations is None:
            texts = [text] if isinstance(text, str) else list(text or [])
            rows = [prompt.encode_text(item) for item in texts]
            labels, (sources, pictures) = None, given
            if label_style is not None:
                raise ValueError("labels need to know who speaks: give messages instead of text.")
        else:
            rows, labels = _encode_all(prompt, conversations, label_style, add_generation_prompt)
            sources = fill_in(conversations, given[0])
            pictures = fill_in(conversations, given[1], "stills")
        self._check_number(rows, "videos", self.video_token_id, self.num_visual_tokens, sources)
        each = self.num_still_tokens[still_branch]
        self._check_number(rows, "images", self.still_token_id, each, pictures)
        side = padding_side or ("left" if labels is None else "right")
        data: dict[str, Any] = self._pad(rows, labels, max_length, side)
        if sources:
            data |= self._pixel_batch(sources)
        if pictures:
            data["still_pixel_values"] = self.still_pixels(pictures, still_branch)
        return BatchFeature(data, tensor_type=return_tensors)

    @property
    def prompt(self) -> PromptEncoder:
        """Turns messages into ids with the present tokenizer and settings."""
        return self.prompt_encoder()

    def prompt_encoder(self, still_branch: str = "image") -> PromptEncoder:
        """The same for stills of either branch."""
        if still_branch not in self.num_still_tokens:
            raise ValueError(f"still_branch {still_branch!r} is unknown: use image or video.")
        video = Placeholder(self.video_token, self.video_token_id, self.num_visual_tokens)
        if self.still_token_id is None:
            return PromptEncoder(self.tokenizer, video)
        number = self.num_still_tokens[still_branch]
        return PromptEncoder(
            self.tokenizer, video, Placeholder(self.still_token, self.still_token_id, number)
        )

    def pixels(self, frames: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Both encoders' inputs of one video.

        Args:
            frames: T frames, uint8 (H, W, 3).

        Returns:
            float32 (1, T, 3, H, W) for the image encoder and (1, T, 3, h, w) for the video encoder.
        """
        image = image_pixels(frames, **self.image_options)
        video = video_pixels(frames, **self.video_options)
        return image[None], video[None]

    def still_pixels(self, pictures: Sequence[Any], branch: str = "image") -> torch.Tensor:
        """One encoder's input of single pictures.

        Args:
            pictures: M of anything that `read_video` takes; its first frame counts.
            branch: "image" or "video".

        Returns:
            float32 (M, 3, H, W).
        """
        frames = [_first_frame(picture) for picture in pictures]
        if branch == "video":
            return video_pixels(frames, **self.video_options)
        return image_pixels(frames, **self.image_options)

    def prefix_ids(
        self, *, system: str | None = None, num_visual_tokens: int | None = None
    ) -> list[int]:
        """The prompt up to and with the visual placeholders: the same for every question.

        ``prefix_ids() + question_ids(...)`` is exactly the prompt of the whole conversation, so the
        language model's state after the prefix can be kept.

        Args:
            system: instead of the processor's own system prompt.
            num_visual_tokens: placeholders of a video whose tokens were merged.
        """
        messages = [Message("system", self.system_prompt if system is None else system)]
        messages.append(Message("user", "", (None,)))
        text = "".join(self.prompt.render(message) for message in messages)
        start = text[: text.index(self.video_token)]
        number = self.num_visual_tokens if num_visual_tokens is None else num_visual_tokens
        return [*self.prompt.encode_text(start), *[self.video_token_id] * number]

    def question_ids(self, question: str, *, history: Sequence[tuple[str, str]] = ()) -> list[int]:
        """The prompt after the placeholders: earlier turns, the question, an open assistant turn.

        Args:
            question: what the user asks now.
            history: earlier (question, answer) pairs about the same video, oldest first.
        """
        said = [*(text for pair in history for text in pair), question]
        for token in self._media_tokens():
            if any(token in text for text in said):
                raise ValueError(
                    f"{token} stands for a video or a still: leave it out of the text."
                )
        messages = [
            Message("assistant" if turn % 2 else "user", text) for turn, text in enumerate(said)
        ]
        text = "".join(self.prompt.render(message) for message in messages)
        # The first user turn is open already: its header and the video are the prefix.
        text = "\n" + text.removeprefix("<|im_start|>user\n") + OPEN_TURN
        return self.prompt.encode_piece(text)

    @property
    def model_input_names(self) -> list[str]:
        pixels = ("image_pixel_values", "video_pixel_values", "still_pixel_values")
        return [*self.tokenizer.model_input_names, *pixels]

    def _media_tokens(self) -> list[str]:
        """The placeholders that this tokenizer knows."""
        return [self.video_token] + [self.still_token] * (self.still_token_id is not None)

    def _conversations(
        self, text: Any, given: tuple[list[Any], list[Any]], messages: Any
    ) -> list[list[Message]] | None:
        """Conversations to encode, or None if ``text`` holds finished prompts."""
        if (text is None) == (messages is None):
            raise ValueError("give either text or messages.")
        if messages is None:
            texts = [text] if isinstance(text, str) else list(text)
            marks = ["<|im_start|>", *self._media_tokens()]
            if any(mark in item for item in texts for mark in marks):
                return None
            for kind, media in zip(("video", "image"), given, strict=True):
                if len(media) not in (0, len(texts)):
                    raise ValueError(
                        f"{len(texts)} questions came with {len(media)} {kind}s: give one {kind} "
                        "for each."
                    )
            clips, stills = ((None,) if media else () for media in given)
            system = Message("system", self.system_prompt)
            return [[system, Message("user", item, clips, stills)] for item in texts]
        batch = [messages] if is_one_conversation(messages) else list(messages)
        if not batch:
            raise ValueError("messages is empty: give at least one conversation.")
        tokens = {"video_token": self.video_token, "still_token": self.still_token}
        return [read_messages(item, system_prompt=self.system_prompt, **tokens) for item in batch]

    def _check_number(
        self, rows: list[list[int]], kind: str, token_id: int | None, each: int, media: list[Any]
    ) -> None:
        placeholders = sum(row.count(token_id) for row in rows) if token_id is not None else 0
        if placeholders != len(media) * each:
            raise ValueError(
                f"the text has placeholders for {placeholders / each:g} {kind}, but {len(media)} "
                f"were given: give one of the {kind} per placeholder."
            )

    def _pad(
        self,
        rows: list[list[int]],
        labels: list[list[int]] | None,
        max_length: int | None,
        side: str,
    ) -> dict[str, Any]:
        if side not in ("left", "right"):
            raise ValueError(f"padding_side {side!r} is unknown: use left or right.")
        length = max(len(row) for row in rows)
        if max_length is not None and length > max_length:
            media = {self.video_token_id, self.still_token_id}
            if any(media.intersection(row[max_length:]) for row in rows):
                raise ValueError(
                    f"max_length {max_length} would cut into the placeholders of a video "
                    f"({self.num_visual_tokens}) or a still: raise it."
                )
            length = max_length
        pad_id = self.tokenizer.pad_token_id
        columns = {"input_ids": (rows, 0 if pad_id is None else pad_id)}
        columns["attention_mask"] = ([[1] * len(row) for row in rows], 0)
        if labels is not None:
            columns["labels"] = (labels, IGNORED)
        return {
            name: [_padded(row[:length], length, filler, side) for row in values]
            for name, (values, filler) in columns.items()
        }

    def _pixel_batch(self, sources: list[Any]) -> dict[str, torch.Tensor]:
        pairs = [self.pixels(self._frames(source)) for source in sources]
        return {
            "image_pixel_values": torch.cat([image for image, _ in pairs]),  # (V, T, 3, H, W)
            "video_pixel_values": torch.cat([video for _, video in pairs]),  # (V, T, 3, h, w)
        }

    def _frames(self, source: Any) -> list[np.ndarray]:
        clip = (
            source if isinstance(source, VideoClip) else read_video(source, count=self.num_frames)
        )
        if len(clip.frames) != self.num_frames:
            raise ValueError(
                f"{clip.name} was read with {len(clip.frames)} frames, but the model takes "
                f"{self.num_frames}: read it with count={self.num_frames}."
            )
        return clip.frames


def _encode_all(
    prompt: PromptEncoder,
    conversations: list[list[Message]],
    label_style: LabelStyle | None,
    add_generation_prompt: bool | None,
) -> tuple[list[list[int]], list[list[int]] | None]:
    """Token ids and, if asked for, labels of every conversation."""
    if label_style is not None:
        pairs = [prompt.encode_with_labels(item, label_style) for item in conversations]
        return [ids for ids, _ in pairs], [labels for _, labels in pairs]
    rows = []
    for item in conversations:
        is_open = add_generation_prompt
        if is_open is None:
            is_open = item[-1].role != "assistant"
        rows.append(prompt.encode(item, open_turn=is_open))
    return rows, None


def _first_frame(picture: Any) -> np.ndarray:
    clip = picture if isinstance(picture, VideoClip) else read_video(picture, count=1)
    return clip.frames[0]


def _options(config: MobileVideoGPTConfig, encoder: str, names: Sequence[str]) -> dict[str, Any]:
    """One encoder's preprocessing as keywords: its size, and ``names`` of the configuration."""
    options = {name: getattr(config, f"{encoder}_{name}") for name in names}
    options = {name: list(v) if isinstance(v, tuple) else v for name, v in options.items()}
    return {"size": getattr(config, f"{encoder}_config").image_size, **options}


def _padded(row: list[int], length: int, filler: int, side: str) -> list[int]:
    padding = [filler] * (length - len(row))
    return padding + row if side == "left" else row + padding


def _check_others(others: Mapping[str, Any]) -> None:
    for name, value in others.items():
        if name not in _HARMLESS:
            raise TypeError(f"MobileVideoGPTProcessor takes no argument {name!r}.")
        if name == "audio" and value is not None:
            raise ValueError("audio is not supported: leave it out.")


AutoProcessor.register(MobileVideoGPTConfig, MobileVideoGPTProcessor, exist_ok=True)
