"""Mobile-VideoGPT: a small video-language model that runs on anything.

A video and a question go in, an answer streams out. The names below are the public ones; each is
imported on first use, so that ``import mobile_videogpt`` stays cheap and pulls in neither torch nor
transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "MobileVideoGPTConfig": "config",
    "VideoMambaConfig": "config",
    "MobileVideoGPTForConditionalGeneration": "models.mobile_videogpt",
    "VideoMambaModel": "models.videomamba",
    "MobileVideoGPTProcessor": "processor",
    "VideoChat": "chat",
    "EncodedVideo": "chat",
    "Answer": "chat",
    "VideoError": "video.source",
    "CheckpointError": "checkpoints",
}

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from .chat import Answer as Answer
    from .chat import EncodedVideo as EncodedVideo
    from .chat import VideoChat as VideoChat
    from .checkpoints import CheckpointError as CheckpointError
    from .config import MobileVideoGPTConfig as MobileVideoGPTConfig
    from .config import VideoMambaConfig as VideoMambaConfig
    from .models.mobile_videogpt import (
        MobileVideoGPTForConditionalGeneration as MobileVideoGPTForConditionalGeneration,
    )
    from .models.videomamba import VideoMambaModel as VideoMambaModel
    from .processor import MobileVideoGPTProcessor as MobileVideoGPTProcessor
    from .video.source import VideoError as VideoError


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def _register_auto_classes() -> None:
    """Make transformers' Auto classes know ours, without importing transformers here."""
    from ._registration import install

    install()


_register_auto_classes()
del _register_auto_classes
