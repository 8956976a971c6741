"""A dialogue about one video that remembers what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mobile_videogpt.chat.answers import Answer, AnswerStream
from mobile_videogpt.chat.encoded_video import EncodedVideo

if TYPE_CHECKING:
    from mobile_videogpt.chat.video_chat import VideoChat


class Conversation:
    """Questions that may refer to earlier ones; made by `VideoChat.conversation`."""

    def __init__(self, chat: VideoChat, video: EncodedVideo) -> None:
        self._chat = chat
        self.video = video
        self.history: list[tuple[str, str]] = []
        """(question, answer) pairs, oldest first."""

    def ask(self, question: str, **generation: Any) -> Answer:
        """Answer a question that may refer to earlier ones; see `VideoChat.stream` for options."""
        return self.stream(question, **generation).finish()

    def stream(self, question: str, **generation: Any) -> AnswerStream:
        """Answer piece by piece; an answer that is stopped counts as far as it went."""
        stream = self._chat.stream(self.video, question, history=self.history, **generation)
        stream.on_end = lambda text: self.history.append((question, text))
        return stream

    def reset(self) -> None:
        """Forget what was said; the video stays open."""
        self.history.clear()
