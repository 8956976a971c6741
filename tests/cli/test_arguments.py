"""Help, usage errors and wrong paths: answered at once, in one line, without torch."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mobile_videogpt
from mobile_videogpt import __version__
from mobile_videogpt.cli.arguments import positive_int, probability, seconds
from mobile_videogpt.cli.main import COMMANDS, build_parser, main

HEAVY = ("torch", "transformers", "numpy", "PIL", "av", "rich")
# The package under test, installed or not.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mobile_videogpt.__file__).parent.parent)}


def run_python(code: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)


@pytest.mark.parametrize("arguments", [["--help"], ["ask", "--help"], ["data", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom mobile_videogpt.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "print('LOADED', loaded)\n"
    )
    result = run_python(code)
    assert result.stdout.startswith("usage: mobile-videogpt"), result.stderr
    assert result.stdout.strip().endswith("LOADED []")


def test_a_wrong_path_is_told_before_anything_heavy_is_loaded(tmp_path):
    code = (
        "import sys\nfrom mobile_videogpt.cli.main import main\n"
        f"code = main(['ask', {str(tmp_path / 'none.mp4')!r}, 'What?'])\n"
        "print(code, 'torch' in sys.modules)\n"
    )
    result = run_python(code)
    assert result.stdout.split() == ["1", "False"]
    assert result.stderr.count("\n") == 1 and "no such video" in result.stderr


@pytest.mark.parametrize("command", [module.__name__.split(".")[-1] for module in COMMANDS])
def test_every_command_has_help(command, capsys):
    name = {"evaluate": "eval"}.get(command, command)
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: mobile-videogpt {name}" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"mobile-videogpt {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ask"],
        ["ask", "a.mp4", "why", "--max-new-tokens", "0"],
        ["ask", "a.mp4", "why", "--start", "soon"],
        ["ask", "a.mp4", "why", "--dtype", "int4"],
        ["ask", "a.mp4", "why", "--temperature", "-1"],
        ["eval", "nothing"],
        ["sing"],
    ],
)
def test_wrong_usage_exits_with_2_and_leaves_stdout_alone(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "error:" in captured.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ask", "", "why"], "path is empty"),
        (["ask", "missing.mp4", "why"], "no such video: missing.mp4"),
        (["chat", "missing.mp4"], "no such video"),
        (["keyframes", "missing.mp4"], "no such video"),
        (["ask", ".", "  "], "the question is empty"),
        (["ask", ".", "why", "--option", "only"], "at least two"),
        (["describe", "a.mp4", "--output", "."], "is a folder"),
        (["describe", "a.mp4", "--output", "nowhere/out.jsonl"], "folder nowhere does not exist"),
        (["keyframes", ".", "--output", "nowhere/x.png"], "folder nowhere does not exist"),
        (["train", "missing.yaml"], "no such recipe: missing.yaml"),
    ],
)
def test_expected_failures_are_one_line_and_exit_code_1(
    arguments, told, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err and captured.err.count("\n") == 1


def test_debug_shows_the_traceback_before_and_after_the_command():
    for arguments in (["--debug", "ask", "none.mp4", "why"], ["ask", "none.mp4", "why", "--debug"]):
        with pytest.raises(ValueError, match="no such video"):
            main(arguments)


def test_times_are_seconds_or_minutes_and_seconds():
    assert [seconds(text) for text in ("12.5", "1:15", "1:00:01.5")] == [12.5, 75.0, 3601.5]
    for text in ("", "-1", "nan", "inf", "1:2:3:4", "a"):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds(text)


def test_numbers_out_of_range_are_refused():
    assert positive_int("3") == 3 and probability("1") == 1.0
    for check, text in ((positive_int, "2.5"), (positive_int, "-3"), (probability, "1.01")):
        with pytest.raises(argparse.ArgumentTypeError):
            check(text)


def test_a_closed_pipe_ends_the_run_without_noise(monkeypatch, tmp_path):
    (tmp_path / "cli.py").write_text(
        "import sys\nfrom mobile_videogpt.cli import main as m, output\n"
        "def run(args):\n    while True:\n        output.answer('x' * 100)\n"
        "m.ask.run = run\n"
        "parser = m.build_parser()\nm.build_parser = lambda: parser\n"
        "args = parser.parse_args(['ask', 'v', 'q'])\nargs.run = run\n"
        "parser.parse_args = lambda argv: args\nsys.exit(m.main([]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "cli.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=300) == 1
    assert process.stderr.read() == b""
    process.stderr.close()


def test_parser_accepts_every_documented_option():
    args = build_parser().parse_args(
        "ask v q --option a --option b --start 1 --end 2 --max-new-tokens 5 --temperature 0.5 "
        "--top-p 0.9 --seed 1 --model m --device cpu --dtype float16 --engine torch --json".split()
    )
    assert args.options == ["a", "b"] and (args.start, args.end) == (1.0, 2.0)
