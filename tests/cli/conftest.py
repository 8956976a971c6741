"""What the tests of several commands share."""

import pytest

from mobile_videogpt.cli.main import main


@pytest.fixture
def run(capsys):
    """Runs the command line; returns exit code, stdout and stderr."""

    def run_command(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_command


@pytest.fixture
def in_tmp_path(monkeypatch, tmp_path):
    """Commands write beside their input by default: not into the checkout."""
    monkeypatch.chdir(tmp_path)
