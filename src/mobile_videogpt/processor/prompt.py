"""Messages -> token ids and labels, in Qwen's ChatML with one placeholder per visual token.

A user turn with a video reads ``<|im_start|>user``, newline, N times ``<|video_pad|>``, newline,
question, ``<|im_end|>``, newline: the released prompt, with N placeholders in place of its run of
sixteen.  A still has a placeholder of its own, ``<|image_pad|>``, in the same place.  Text is split
at the placeholders and every piece is encoded by itself, as released, so that the tokens around a
video never depend on it.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from transformers import PreTrainedTokenizerBase

from mobile_videogpt.processor.messages import Message

LabelStyle = Literal["answers", "released"]
IGNORED = -100
OPEN_TURN = "<|im_start|>assistant\n"
# The released training loop trains these wherever they stand, whoever speaks.
_TRAINED_EVERYWHERE = (
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
)


class Placeholder(NamedTuple):
    """The token that stands for one kind of medium, and how many a medium needs."""

    token: str
    token_id: int
    number: int


def chatml_template(system_prompt: str, video_token: str, still_token: str | None = None) -> str:
    """The same prompt as a Jinja template, for servers and pipelines that render it themselves."""
    video = json.dumps(video_token + "\n")
    stills = (
        "{%- for item in message['content'] if item['type'] == 'image' %}{{- "
        + json.dumps(still_token + "\n")
        + " }}{%- endfor %}"
        if still_token
        else ""
    )
    turn = (
        "{{- '<|im_start|>' + message['role'] + '\\n' }}"
        "{%- if message['content'] is string %}{{- message['content'] }}"
        "{%- else %}"
        "{%- for item in message['content'] if item['type'] == 'video' %}{{- " + video + " }}"
        "{%- endfor %}"
        + stills
        + "{%- for item in message['content'] if item['type'] == 'text' %}{{- item['text'] }}"
        "{%- endfor %}"
        "{%- endif %}"
        "{{- '<|im_end|>\\n' }}"
    )
    return (
        "{%- if messages[0]['role'] != 'system' %}"
        "{{- '<|im_start|>system\\n' + " + json.dumps(system_prompt) + " + '<|im_end|>\\n' }}"
        "{%- endif %}"
        "{%- for message in messages %}" + turn + "{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
    )


class PromptEncoder:
    """ChatML for one tokenizer and one number of visual tokens per video and per still."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        video: Placeholder,
        still: Placeholder | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._video = video
        self._still = still
        self._kinds = {kind.token: kind for kind in (video, still) if kind}

    def render(self, message: Message) -> str:
        """One turn as text, one placeholder per video and per still.

        Raises:
            ValueError: if there is a still, and the tokenizer has no placeholder for it.
        """
        media = (self._video.token + "\n") * len(message.videos)
        if message.stills:
            if self._still is None:
                raise ValueError(
                    "the tokenizer has no placeholder for stills (<|image_pad|>): add the token, "
                    "or give the picture as a video."
                )
            media += (self._still.token + "\n") * len(message.stills)
        return f"<|im_start|>{message.role}\n{media}{message.text}<|im_end|>\n"

    def encode_text(self, text: str) -> list[int]:
        """Token ids of rendered text, every placeholder grown to one per visual token.

        A run of exactly as many placeholders as a medium has visual tokens counts as grown already.
        """
        for kind in self._kinds.values():
            text = text.replace(kind.token * kind.number, kind.token)
        ids: list[int] = []
        for piece in re.split(f"({'|'.join(map(re.escape, self._kinds))})", text):
            kind_of = self._kinds.get(piece)
            ids += [kind_of.token_id] * kind_of.number if kind_of else self.encode_piece(piece)
        return ids

    def encode_piece(self, text: str) -> list[int]:
        """Token ids of text without placeholders."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def encode(self, messages: Sequence[Message], *, open_turn: bool) -> list[int]:
        """Token ids of a conversation, ending in an open assistant turn if asked for."""
        text = "".join(self.render(message) for message in messages)
        return self.encode_text(text + OPEN_TURN if open_turn else text)

    def encode_with_labels(
        self, messages: Sequence[Message], style: LabelStyle
    ) -> tuple[list[int], list[int]]:
        """Token ids of a finished conversation and what to learn of it, both of length L.

        Style "answers": what the assistant says and its ``<|im_end|>``.  Style "released": whole
        assistant turns with header and final newline, and every chat token of the other turns.
        Visual placeholders are never learned.
        """
        ids: list[int] = []
        labels: list[int] = []
        for message in messages:
            turn = self.encode_text(self.render(message))
            ids += turn
            labels += self._turn_labels(turn, message.role == "assistant", style)
        return ids, labels

    def _turn_labels(self, turn: list[int], is_answer: bool, style: LabelStyle) -> list[int]:
        if style == "released":
            learned = set(turn) if is_answer else self._trained_everywhere()
            learned -= {kind.token_id for kind in self._kinds.values()}
            return [token if token in learned else IGNORED for token in turn]
        if style != "answers":
            raise ValueError(f"label_style {style!r} is unknown: use answers or released.")
        if not is_answer:
            return [IGNORED] * len(turn)
        header, newline = len(self.encode_piece(OPEN_TURN)), len(self.encode_piece("\n"))
        answer = turn[header : len(turn) - newline]
        return [IGNORED] * header + answer + [IGNORED] * newline

    def _trained_everywhere(self) -> set[int | None]:
        return {token_id(self._tokenizer, token) for token in _TRAINED_EVERYWHERE}


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int | None:
    """The id of one token, None if the tokenizer does not have it."""
    number = tokenizer.convert_tokens_to_ids(token)
    return None if number is None or number == tokenizer.unk_token_id else int(number)


def end_token_ids(tokenizer: PreTrainedTokenizerBase, generation_config: Any) -> list[int]:
    """The ids that end an answer; the first is the one that ends a turn of the dialogue."""
    names = ("<|im_end|>", tokenizer.eos_token, "<|endoftext|>")
    ids = [tokenizer.convert_tokens_to_ids(name) for name in names if name is not None]
    configured = getattr(generation_config, "eos_token_id", None) or []
    ids += configured if isinstance(configured, list) else [configured]
    unknown = (None, tokenizer.unk_token_id)
    return list(dict.fromkeys(token_id for token_id in ids if token_id not in unknown))
