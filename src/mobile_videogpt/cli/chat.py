"""`mobile-videogpt chat`: a conversation about one video, on a terminal or through a pipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.arguments import (
    add_cache_arguments,
    add_generation_arguments,
    add_merge_argument,
    add_model_arguments,
    add_range_arguments,
    generation_options,
    load_chat,
    open_video,
    require_video,
)
from mobile_videogpt.cli.output import answer, say, status, to_json

if TYPE_CHECKING:
    from mobile_videogpt.chat import Conversation

PROMPT = "> "
HELP = "/reset forgets the conversation, /quit (or Ctrl-D) leaves, Ctrl-C stops an answer"


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `chat`."""
    parser = subparsers.add_parser(
        "chat",
        parents=parents,
        help="talk about a video",
        description="Talk about a video: one question per line, follow-up questions included. "
        f"{HELP}. Questions may also come through a pipe.",
    )
    parser.add_argument("video", metavar="VIDEO", help="a video file or a folder of frames")
    parser.add_argument("--json", action="store_true", help="one JSON document per line and answer")
    add_range_arguments(parser)
    add_generation_arguments(parser)
    add_merge_argument(parser)
    add_cache_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open the video once, then answer line by line until the input ends."""
    require_video(args.video)
    chat = load_chat(args)
    with status(f"looking at {args.video}"):
        video = open_video(chat, args.video, args)
    conversation = chat.conversation(video)
    if sys.stdin.isatty():
        say(f"{len(video.frames)} frames, {video.num_visual_tokens} visual tokens. {HELP}")
    for line in read_lines():
        if line in ("/quit", "/exit"):
            break
        if line == "/reset":
            conversation.reset()
            say("conversation forgotten")
        elif line.startswith("/"):
            say(HELP)
        elif line:
            _answer(conversation, line, args)
    return 0


def read_lines() -> Iterator[str]:
    """Lines of stdin without outer blanks, until it ends or Ctrl-C at the prompt.

    The prompt goes to stderr unless stdout is the same terminal, where `input` offers editing.
    """
    is_terminal = sys.stdin.isatty()
    has_editing = is_terminal and sys.stdout.isatty()
    if has_editing:
        _enable_editing()
    while True:
        try:
            if has_editing:
                line = input(PROMPT)
            else:
                if is_terminal:
                    print(PROMPT, end="", file=sys.stderr, flush=True)
                line = sys.stdin.readline()
                if not line:
                    return
        except EOFError:
            print(file=sys.stderr)
            return
        except KeyboardInterrupt:
            if not is_terminal:
                raise
            print(file=sys.stderr)
            return
        yield line.strip()


def _enable_editing() -> None:
    # Windows has no readline; its console edits lines itself.
    with suppress(ImportError):
        import readline  # noqa: F401  (imported for its effect on `input`)


def _answer(conversation: Conversation, question: str, args: argparse.Namespace) -> None:
    """Stream one answer; Ctrl-C on a terminal stops it and keeps the conversation."""
    stream = conversation.stream(question, **generation_options(args))
    if args.json:
        result = stream.finish()
        answer(
            to_json(
                {
                    "question": question,
                    "answer": result.text,
                    "timings": result.timings,
                    "tokens": result.tokens,
                }
            )
        )
        return
    try:
        for piece in stream:
            answer(piece, end="")
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise
        stream.close()
        say("stopped")
    answer("")
