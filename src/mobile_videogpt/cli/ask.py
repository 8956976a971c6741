"""`mobile-videogpt ask`: one question about one video; the answer streams to stdout."""

from __future__ import annotations

import argparse
from string import ascii_uppercase
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
    require_question,
    require_video,
)
from mobile_videogpt.cli.output import add_timings, answer, answer_json, status

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat

EPILOG = """\
examples:
  mobile-videogpt ask clip.mp4 "What happens?"
  mobile-videogpt ask clip.mp4 "Which way does it move?" --option left --option right --json"""


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `ask`."""
    parser = subparsers.add_parser(
        "ask",
        parents=parents,
        help="ask one question about a video",
        description="Ask one question about a video and print the answer.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("video", metavar="VIDEO", help="a video file or a folder of frames")
    parser.add_argument("question", metavar="QUESTION", help="- reads it from standard input")
    parser.add_argument(
        "--option",
        action="append",
        dest="options",
        metavar="TEXT",
        help="choose between these answers by likelihood instead of writing one (repeat it)",
    )
    parser.add_argument("--json", action="store_true", help="answer, timings and token counts")
    add_range_arguments(parser)
    add_generation_arguments(parser)
    add_merge_argument(parser)
    add_cache_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Open the video, then answer or choose."""
    require_video(args.video)
    question = require_question(args.question)
    if args.options is not None and len(args.options) < 2:
        raise ValueError(f"only one --option ({args.options[0]!r}) is given; give at least two")
    chat = load_chat(args)
    with status(f"looking at {args.video}"):
        video = open_video(chat, args.video, args)
    if args.options is not None:
        return _choose(args, chat, video, question)
    stream = chat.stream(video, question, **generation_options(args))
    if not args.json:
        for piece in stream:
            answer(piece, end="")
        answer("")
        return 0
    result = stream.finish()
    answer_json(
        {
            **heading(args, chat, video, question),
            "answer": result.text,
            "finish_reason": result.finish_reason,
            "timings": add_timings(video.timings, result.timings),
            "tokens": result.tokens,
        }
    )
    return 0


def _choose(args: argparse.Namespace, chat: VideoChat, video: EncodedVideo, question: str) -> int:
    scores = chat.choose(video, question, args.options)
    if not args.json:
        answer(scores.best.option)
        return 0
    options = [
        {
            "option": score.option,
            "log_likelihood": score.sum,
            "per_token": score.per_token,
            "probability": probability,
            "tokens": score.tokens,
        }
        for score, probability in zip(scores, scores.probabilities, strict=True)
    ]
    answer_json(
        {
            **heading(args, chat, video, question),
            "answer": scores.best.option,
            "letter": ascii_uppercase[args.options.index(scores.best.option)],
            "options": options,
            "timings": add_timings(video.timings, scores.timings),
        }
    )
    return 0


def heading(
    args: argparse.Namespace, chat: VideoChat, video: EncodedVideo, question: str
) -> dict[str, Any]:
    """What the answer is an answer to, for `--json`."""
    return {
        "video": args.video,
        "question": question,
        "model": args.model,
        "device": str(chat.engine.device),
        "dtype": chat.dtype,
        "start": args.start,
        "end": args.end,
        "frame_times": video.frame_times,
        "kept_frames": video.kept_frames,
    }
