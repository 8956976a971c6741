"""What tests of engines share: threads, the built-in model and its export in 4 and 8 bits."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mobile_videogpt.chat import VideoChat


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many threads torch, and the loops with it, may use."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def torch_chat() -> VideoChat:
    """The built-in model as it is."""
    return VideoChat(engine="torch")


@pytest.fixture(scope="session")
def int4_folder(torch_chat: VideoChat, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model exported as large ones are."""
    return export_int4(torch_chat, tmp_path_factory.mktemp("int4"))


@pytest.fixture(scope="session")
def lively_int4_folder(lively_chat: VideoChat, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the model whose words depend on what it reads."""
    return export_int4(lively_chat, tmp_path_factory.mktemp("lively-int4"))


def export_int4(chat: VideoChat, folder: Path) -> Path:
    """Export a model with a language model in 4 bits and encoders in 8."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from mobile_videogpt.engines.onnx.export import ExportFormats, export_model

    formats = ExportFormats(language_model="int4", encoders="int8")
    export_model(chat.model, chat.processor, folder, "test", formats=formats)
    return folder
