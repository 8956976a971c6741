"""`VideoChat`: encode a video once, ask many questions, stream the answers."""

from mobile_videogpt.chat.answers import Answer, AnswerStream, OptionScore, OptionScores
from mobile_videogpt.chat.conversation import Conversation
from mobile_videogpt.chat.encoded_video import EncodedVideo
from mobile_videogpt.chat.video_chat import VideoChat
from mobile_videogpt.chat.video_part import VideoPart
from mobile_videogpt.engines.base import GenerationOptions

__all__ = [
    "Answer",
    "AnswerStream",
    "Conversation",
    "EncodedVideo",
    "GenerationOptions",
    "OptionScore",
    "OptionScores",
    "VideoChat",
    "VideoPart",
]
