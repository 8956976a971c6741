"""`export --engine onnx`, and the commands on what it wrote."""

import json

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_export_then_ask(run, tmp_path, clip_file):
    out = tmp_path / "exported"
    code, text, told = run("export", "moving-shapes", out, "--engine", "onnx")
    assert (code, text) == (0, f"{out}\n")
    assert "language_model: float32" in told
    assert "differs from torch by" in told
    code, text, _ = run("ask", clip_file, "What happens?", "--model", out, "--json")
    answered = json.loads(text)
    assert (code, answered["dtype"], answered["device"]) == (0, "float32", "cpu")
    code, text, _ = run("ask", clip_file, "What happens?", "--engine", "torch", "--json")
    assert json.loads(text)["answer"] == answered["answer"]


def test_formats_are_chosen_one_by_one(run, tmp_path):
    out = tmp_path / "exported"
    options = ["--engine", "onnx", "--language-model", "int4", "--json"]
    code, text, _ = run("export", "moving-shapes", out, *options)
    document = json.loads(text)
    formats = {name: part["number_format"] for name, part in document["parts"].items()}
    assert code == 0
    assert formats["language_model"] == "int4"
    assert formats["prefill"] == "int8"
    assert formats["image_encoder"] == "float32"
    assert document["bytes"] == sum(part["bytes"] for part in document["parts"].values())
    assert all(part["error"] <= part["tolerance"] for part in document["parts"].values())


def test_a_full_folder_is_left_alone(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    code, _, told = run("export", "moving-shapes", tmp_path, "--engine", "onnx")
    assert code == 1
    assert "not an empty folder" in told
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
