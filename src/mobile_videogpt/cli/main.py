"""Builds the parser, runs one subcommand, and turns what went wrong into one line.

Exit codes: 0 done, 1 an expected failure (one line on stderr), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from mobile_videogpt import __version__
from mobile_videogpt.cli import (
    ablate,
    ask,
    bench,
    chat,
    convert,
    data,
    describe,
    doctor,
    evaluate,
    export,
    finetune,
    info,
    keyframes,
    serve,
    train,
    watch,
)
from mobile_videogpt.cli.failures import describe_error
from mobile_videogpt.cli.output import LogLines, say

COMMANDS = (
    *(ask, chat, describe, keyframes, info, convert, export, doctor, data, train, finetune),
    *(evaluate, bench, ablate, serve, watch),
)

DESCRIPTION = """\
Ask questions about videos with a small video-language model, on any machine.

The built-in model `moving-shapes` works offline and knows only the synthetic MovingShapes clips;
name another model with --model (a folder, or a Hugging Face id)."""

EPILOG = """\
Answers go to standard output, everything else to standard error.
Exit codes: 0 done, 1 failed (one line says why, --debug shows the traceback), 2 wrong usage."""

DEBUG_HELP = "show tracebacks and log messages"


def main(argv: Sequence[str] | None = None) -> int:
    """Run `mobile-videogpt` with `argv` (the process's arguments when None).

    Returns the exit code; usage errors and `--help` leave through argparse's SystemExit.
    """
    # A file name may hold what the terminal's encoding cannot show; that must not end the run.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    args = build_parser().parse_args(argv)
    level = logging.INFO if args.debug else logging.WARNING
    logging.basicConfig(level=level, handlers=[LogLines()], format="%(message)s", force=True)
    if args.debug:
        # Only ours: other libraries' debug output would bury it.
        logging.getLogger("mobile_videogpt").setLevel(logging.DEBUG)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _close_broken_stdout()
        return 1
    except KeyboardInterrupt:
        if args.debug:
            raise
        say("interrupted")
        return 130
    except Exception as error:
        if args.debug:
            raise
        say(f"error: {describe_error(error)}")
        return 1


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Leaves the epilog's lines alone and gives the commands' names one column."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)


def build_parser() -> argparse.ArgumentParser:
    """The parser with every subcommand; builds without importing torch."""
    parser = argparse.ArgumentParser(
        prog="mobile-videogpt",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mobile-videogpt {__version__}")
    parser.add_argument("--debug", action="store_true", help=DEBUG_HELP)
    shared = argparse.ArgumentParser(add_help=False)
    # SUPPRESS: accepted after the command too, where its absence must not undo what stood before.
    shared.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=DEBUG_HELP)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers, parents=[shared])
    return parser


def _close_broken_stdout() -> None:
    """The reader went away (`| head`): keep Python from complaining again when it shuts down."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
