"""Which engine a chat takes: exported folders, kept exports, and what cannot be run."""

import json

import numpy as np
import pytest

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.engines.onnx.manifest import FILE, Manifest, is_export
from mobile_videogpt.synthetic import make_clip

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mobile_videogpt.chat import onnx_exports


@pytest.fixture
def exports(tmp_path, monkeypatch):
    monkeypatch.setenv(onnx_exports.FOLDER_VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "export"
    onnx_exports.write_export("moving-shapes", folder)
    return folder


def test_auto_runs_torch_until_there_is_an_export(exports):
    assert VideoChat().model is not None
    assert VideoChat(engine="onnx").model is None
    chat = VideoChat()
    assert chat.model is None
    assert type(chat.engine).__name__ == "OnnxEngine"
    assert VideoChat(engine="torch").model is not None
    assert VideoChat(dtype="float32").model is not None


def test_an_export_is_made_once(exports):
    VideoChat(engine="onnx")
    [made] = exports.iterdir()
    before = (made / FILE).stat().st_mtime_ns
    VideoChat(engine="onnx")
    assert [made] == list(exports.iterdir())
    assert (made / FILE).stat().st_mtime_ns == before


def test_other_weights_are_another_export(exports, tmp_path, lively_chat):
    for name in ("one", "two"):
        lively_chat.model.save_pretrained(tmp_path / name)
        lively_chat.processor.tokenizer.save_pretrained(tmp_path / name)
    folders = {onnx_exports.kept_folder(str(tmp_path / name)) for name in ("one", "two")}
    assert len(folders) == 2


def test_an_exported_folder_needs_no_engine_named(folder):
    frames = np.stack(list(make_clip(3).frames()))
    chat = VideoChat(folder)
    assert chat.dtype == "float32"
    assert (
        chat.ask(frames, "What happens?").text
        == VideoChat(engine="torch").ask(frames, "What happens?").text
    )


def test_videos_of_another_engine_are_refused(folder):
    video = VideoChat(engine="torch").open(np.stack(list(make_clip(3).frames())))
    with pytest.raises(ValueError, match="another model"):
        VideoChat(folder).ask(video, "What happens?")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engine": "torch"}, "is an export for the onnx engine.*moving-shapes"),
        ({"dtype": "int8"}, "exported with its language model in float32"),
        ({"device": "cuda"}, "the onnx engine runs on the CPU"),
    ],
)
def test_what_an_export_cannot_do_is_said(folder, options, told):
    with pytest.raises(ValueError, match=told):
        VideoChat(folder, **options)


def test_unknown_number_formats_and_models_are_named(exports):
    with pytest.raises(ValueError, match="dtype is 'bfloat16', but the onnx engine takes"):
        VideoChat(engine="onnx", dtype="bfloat16")
    with pytest.raises(ValueError, match="no model 'nothing'"):
        VideoChat("nothing", engine="onnx")


def test_an_export_of_another_format_asks_to_be_made_again(folder, tmp_path):
    written = json.loads((folder / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({**written, "format_version": 99}))
    with pytest.raises(ValueError, match=r"exported in format 99.*export the model again"):
        Manifest.read(tmp_path)


def test_a_failed_export_leaves_nothing(exports, monkeypatch):
    from mobile_videogpt.engines.onnx import check

    monkeypatch.setattr(check, "TOLERANCES", dict.fromkeys(check.TOLERANCES, 0.0))
    with pytest.raises(ValueError, match="differs from torch by"):
        VideoChat(engine="onnx")
    assert list(exports.iterdir()) == []


def test_without_the_runtime_auto_is_torch_and_onnx_says_what_to_install(
    exports, folder, monkeypatch
):
    import builtins
    import importlib.util

    find, load = importlib.util.find_spec, builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == "onnxruntime":
            raise ImportError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "onnxruntime" else find(name)
    )
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert VideoChat().model is not None
    with pytest.raises(ValueError, match=r"pip install \"mobile-videogpt\[onnx\]\""):
        VideoChat(folder)
    assert is_export(folder)
