"""From messages to what the model reads, sharing what was read before.

A prompt is a prefix, everything up to the last video, and the rest. The prefix of the usual
dialogue, one video in the first question, is the video's own (`VideoChat.prefix`): all dialogues
about it share that. Of others (another system prompt, several videos, none) the last few are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mobile_videogpt.processor.messages import Message
from mobile_videogpt.processor.prompt import OPEN_TURN
from mobile_videogpt.serving.errors import bad_request

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat
    from mobile_videogpt.engines.base import Prefix

_KEPT_PREFIXES = 8


@dataclass(frozen=True)
class Prompt:
    """What an engine continues."""

    prefix: Prefix
    question_ids: tuple[int, ...]
    cached_tokens: int
    """Tokens whose keys and values were there already."""

    @property
    def num_tokens(self) -> int:
        """All tokens, those of videos included."""
        return len(self.prefix.token_ids) + len(self.question_ids)


class PromptBuilder:
    """Makes prompts for one model; used by one thread.

    Args:
        chat: the model.
    """

    def __init__(self, chat: VideoChat) -> None:
        self._chat = chat
        self._kept: OrderedDict[tuple[Any, ...], Prefix] = OrderedDict()

    def build(self, messages: Sequence[Message], videos: Sequence[EncodedVideo]) -> Prompt:
        """A prompt that ends in an open assistant turn.

        Args:
            messages: their `videos` hold one None for each video.
            videos: all of them, in order.

        Raises:
            ApiError: the prompt leaves no room for an answer, or the text holds a placeholder.
        """
        self._check_texts(messages)
        processor = self._chat.processor
        if messages[0].role != "system":
            messages = [Message("system", processor.system_prompt), *messages]
        rendered = [processor.prompt.render(message) for message in messages]
        rendered.append(OPEN_TURN)
        if videos:
            *before, rest = "".join(rendered).split(processor.video_token)
        else:
            before, rest = [rendered[0]], "".join(rendered[1:])
        encode = processor.prompt.encode_piece
        pieces = [encode(text) for text in before]
        question_ids = encode(rest)
        self._check_room(pieces, videos, question_ids)
        prefix, is_cached = self._prefix(pieces, videos)
        cached = len(prefix.token_ids) if is_cached else 0
        return Prompt(prefix, tuple(question_ids), cached)

    def _check_texts(self, messages: Sequence[Message]) -> None:
        processor = self._chat.processor
        for message in messages:
            for token in (processor.video_token, processor.still_token):
                if token in message.text:
                    raise bad_request(
                        f"{token} stands for a video in the prompt: leave it out of the text",
                        "messages",
                    )

    def _check_room(
        self, pieces: list[list[int]], videos: Sequence[EncodedVideo], question_ids: list[int]
    ) -> None:
        length = sum(map(len, pieces)) + len(question_ids)
        length += sum(video.num_visual_tokens for video in videos)
        room = self._chat.config.text_config.max_position_embeddings
        if length >= room:
            raise bad_request(
                f"the messages make a prompt of {length} tokens, and the model reads {room}: "
                "leave out earlier turns or videos",
                "messages",
                "context_length_exceeded",
            )

    def _prefix(
        self, pieces: list[list[int]], videos: Sequence[EncodedVideo]
    ) -> tuple[Prefix, bool]:
        """The state after all pieces and videos, and whether it was kept."""
        ids, positions = self._laid_out(pieces, videos)
        if len(videos) == 1:
            own = self._chat.processor.prefix_ids(num_visual_tokens=videos[0].num_visual_tokens)
            if ids == own:
                is_cached = videos[0].prefix is not None
                return self._chat.prefix(videos[0]), is_cached
        key = (tuple(ids), *(video.key for video in videos))
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept, True
        self._kept[key] = prefix = self._read(ids, positions, videos)
        while len(self._kept) > _KEPT_PREFIXES:
            self._kept.popitem(last=False)
        return prefix, False

    def _laid_out(
        self, pieces: list[list[int]], videos: Sequence[EncodedVideo]
    ) -> tuple[list[int], list[int]]:
        """Token ids and their positions: merged tokens stay where they would stand among all."""
        all_tokens = self._chat.config.num_visual_tokens
        ids: list[int] = []
        positions: list[int] = []
        place = 0
        for number, piece in enumerate(pieces):
            ids += piece
            positions += range(place, place + len(piece))
            place += len(piece)
            if number < len(videos):
                places = videos[number].places or range(all_tokens)
                ids += [self._chat.config.video_token_id] * len(places)
                positions += [place + at for at in places]
                place += all_tokens
        return ids, positions

    def _read(self, ids: list[int], positions: list[int], videos: Sequence[EncodedVideo]) -> Prefix:
        width = self._chat.config.text_config.hidden_size
        tokens = [video.visual_embeds for video in videos] or [torch.empty(1, 0, width)]
        is_merged = any(video.places is not None for video in videos)
        options = {"positions": positions} if is_merged else {}
        return self._chat.engine.prefill(ids, torch.cat(tokens, dim=1), **options)
