"""Commands that read and write checkpoints, on a saved miniature with random weights."""

import json

import pytest

from mobile_videogpt.chat import loading
from mobile_videogpt.cli.main import main

SHORT = ["--max-new-tokens", "4"]


@pytest.fixture(scope="module")
def saved(lively_chat, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "saved"
    lively_chat.model.save_pretrained(folder)
    lively_chat.processor.save_pretrained(folder)
    return folder


def ask(model, clip, capsys):
    capsys.readouterr()
    assert main(["ask", str(clip), "What happens?", "--model", str(model), *SHORT]) == 0
    return capsys.readouterr().out


def test_a_saved_model_answers_as_it_did_in_memory(saved, lively_chat, clip_file, capsys):
    expected = lively_chat.ask(clip_file, "What happens?", max_new_tokens=4)
    assert ask(saved, clip_file, capsys) == f"{expected}\n"


def test_converted_there_and_back_answers_the_same(saved, clip_file, tmp_path, capsys):
    released, back = tmp_path / "released", tmp_path / "back"
    assert main(["convert", str(saved), str(released), "--to", "released"]) == 0
    assert main(["convert", str(released), str(back)]) == 0
    assert capsys.readouterr().out == f"{released}\n{back}\n"
    answers = {ask(folder, clip_file, capsys) for folder in (saved, released, back)}
    assert len(answers) == 1
    weights = [(folder / "model.safetensors").read_bytes() for folder in (saved, back)]
    assert weights[0] == weights[1]


def test_convert_writes_into_no_folder_that_holds_something(saved, tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert main(["convert", str(saved), str(tmp_path)]) == 1
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_info_reads_a_folder(saved, lively_chat, capsys):
    assert main(["info", str(saved), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tokens"]["visual"] == lively_chat.config.num_visual_tokens
    counted = sum(weight.numel() for weight in lively_chat.model.parameters())
    assert report["parameters"]["total"] == counted


def test_the_built_in_miniature_says_once_on_stderr_what_it_is(
    saved, lively_chat, clip_file, capsys, monkeypatch
):
    loading.say_what_the_miniature_is.cache_clear()
    monkeypatch.setattr("mobile_videogpt.checkpoints.hub._ASSETS", saved.parent)
    saved.rename(saved.parent / "moving-shapes")
    expected = lively_chat.ask(clip_file, "What happens?", max_new_tokens=4)
    try:
        for _ in range(2):
            assert main(["ask", str(clip_file), "What happens?", *SHORT]) == 0
    finally:
        (saved.parent / "moving-shapes").rename(saved)
    captured = capsys.readouterr()
    assert captured.out == f"{expected}\n" * 2
    assert captured.err == f"mobile-videogpt: {loading.MINIATURE_NOTICE}\n"


def test_an_unknown_model_is_one_line(clip_file, capsys):
    assert main(["ask", str(clip_file), "What?", "--model", "nothing-of-this-name"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "nothing-of-this-name" in captured.err
    assert captured.err.count("\n") == 1


def test_half_precision_loads_and_answers(saved, clip_file, capsys):
    arguments = ["--model", str(saved), "--dtype", "bfloat16", "--json", *SHORT]
    assert main(["ask", str(clip_file), "What happens?", *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dtype"] == "bfloat16" and document["tokens"]["generated"] == 4
