"""What a run says while it goes on: on a terminal a bar with the accuracy, elsewhere lines."""

import io
import sys
from types import SimpleNamespace

import pytest

from mobile_videogpt.cli.evaluate.progress import RunProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Makes stderr a terminal; called within the test, because pytest sets stderr before it."""

    def open_terminal():
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.setenv("TERM", "xterm")
        return stream

    return open_terminal


def answered(score, error=None):
    return SimpleNamespace(score=score, error=error)


def test_the_bar_shows_the_accuracy_so_far_with_what_an_earlier_run_answered(terminal):
    screen = terminal()
    with RunProgress() as progress:
        progress.begin(SimpleNamespace(name="mvbench_action_count"), 4, [answered(1.0)])
        assert progress.accuracy == "100.0 % right"
        progress.advance(answered(0.0))
        assert progress.accuracy == "50.0 % right"
        progress.advance(answered(None))
        assert progress.accuracy == "50.0 % right"
        progress.advance(answered(0.0, error="cannot be read"))
        progress._bar.refresh()
        progress.end()
    shown = screen.getvalue()
    assert "mvbench_action_count" in shown and "33.3 % right" in shown and "4/4" in shown
    assert "4 questions, 33.3 % right, 1 without an answer" in shown


def test_without_a_terminal_there_are_only_lines(capsys):
    with RunProgress() as progress:
        progress.begin(SimpleNamespace(name="egoschema"), 3, [answered(None)])
        progress.advance(answered(None))
        progress.end()
    out, err = capsys.readouterr()
    assert out == "" and "\r" not in err and "\x1b" not in err
    assert "egoschema: 1 of 3 questions are answered already" in err
    assert "egoschema: 2 questions, nothing to score yet" in err


def test_of_a_launchers_processes_one_shows_a_bar(terminal, monkeypatch):
    terminal()
    monkeypatch.setenv("LOCAL_RANK", "1")
    with RunProgress() as progress:
        assert progress._bar is None
