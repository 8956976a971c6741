"""Answers reach stdout whatever is shown on the terminal meanwhile."""

import io
import json
import sys

import pytest

from mobile_videogpt import files
from mobile_videogpt.cli import output


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_answers_reach_stdout_while_a_progress_bar_is_on_the_terminal(monkeypatch):
    stdout, stderr = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "stderr", stderr)
    for item in output.progress(["a", "b"], total=2, label="describing"):
        output.answer(item)
    assert stdout.getvalue() == "a\nb\n"
    assert "describing" in stderr.getvalue()


def test_nothing_is_shown_where_there_is_no_terminal(capsys):
    with output.status("loading"):
        assert list(output.progress([1, 2], total=2, label="describing")) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_a_table_is_plain_lines_where_there_is_no_terminal(capsys):
    output.table([("name", "a [b] c"), ("longer name", "")])
    assert capsys.readouterr().out == "name         a [b] c\nlonger name\n"


def test_a_table_on_a_terminal_shows_brackets_as_they_are(monkeypatch):
    stdout = Terminal()
    monkeypatch.setattr(sys, "stdout", stdout)
    output.table([("path", "clips [1]")])
    assert "clips [1]" in stdout.getvalue()


def test_json_keeps_unicode_and_refuses_nan():
    assert json.loads(output.to_json({"a": "動画"})) == {"a": "動画"}
    assert "動画" in output.to_json({"a": "動画"})
    with pytest.raises(ValueError, match="JSON"):
        output.to_json({"a": float("nan")})


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
