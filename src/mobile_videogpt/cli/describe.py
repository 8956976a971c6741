"""`mobile-videogpt describe`: one sentence for each of many videos; a run can be taken up again."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
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
    positive_int,
    require_question,
    require_writable_folder,
)
from mobile_videogpt.cli.failures import describe_error
from mobile_videogpt.cli.jsonl import JsonLines
from mobile_videogpt.cli.output import add_timings, answer, answer_json, progress, say, to_json

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat

QUESTION = "Describe the video."
VIDEO_SUFFIXES = frozenset(
    ".3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv".split()
)
IMAGE_SUFFIXES = frozenset(".bmp .jpeg .jpg .png .tif .tiff .webp".split())

EPILOG = """\
With --output, every line of the file is a JSON document with `video` and `description`, or with
`video` and `error`. Started again with the same file, model and question, the command goes on where
it stopped: what has a description is skipped, what failed is tried again.

With --engine ray, --workers processes share the videos, here or on the cluster that RAY_ADDRESS
names (all machines must find the videos under the same paths); lines come as they are finished."""

ENGINES = (
    "how the model is run: auto, torch or onnx; ray: as auto, in worker processes that share the "
    "videos"
)


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `describe`."""
    parser = subparsers.add_parser(
        "describe",
        parents=parents,
        help="describe one or many videos",
        description="Describe videos. A folder stands for the videos in it and below it; a folder "
        "that holds only pictures is one video, frame by frame. A file that cannot be used is "
        "reported and the run goes on; the exit code is then 1.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video files or folders")
    parser.add_argument("--output", type=Path, metavar="JSONL", help="append descriptions here")
    parser.add_argument(
        "--question", default=QUESTION, help="what to ask about each (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document about all of them")
    add_range_arguments(parser)
    add_generation_arguments(parser)
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="with --engine ray: processes, each with a model (default: one per GPU, or per four "
        "cores)",
    )
    add_merge_argument(parser)
    add_cache_arguments(parser)
    add_model_arguments(parser, engines=ENGINES)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Describe every video that has no description yet; 1 if any failed."""
    question = require_question(args.question)
    if args.workers and args.engine != "ray":
        raise ValueError("--workers is for --engine ray; add that, or leave it out")
    lines = None if args.output is None else JsonLines(require_writable_folder(args.output))
    found = list(dict.fromkeys(path for name in args.videos for path in find_videos(name)))
    identity = {"model": args.model, "question": question, "start": args.start, "end": args.end}
    identity["merge_tokens"] = args.merge_tokens
    done = lines.done(identity) if lines is not None else set()
    waiting = [path for path in found if path not in done]
    if len(waiting) < len(found):
        say(f"{len(found) - len(waiting)} of {len(found)} already described in {args.output}")
    start = time.perf_counter()
    records = list(_describe_all(args, question, identity, waiting, lines)) if waiting else []
    per_minute = _per_minute(len(records), time.perf_counter() - start)
    failed = sum("error" in record for record in records)
    if args.json:
        order = {path: place for place, path in enumerate(waiting)}
        records.sort(key=lambda record: order[record["video"]])
        skipped = len(found) - len(waiting)
        answer_json(
            {
                "videos": records,
                "skipped": skipped,
                "failed": failed,
                "videos_per_minute": per_minute,
            }
        )
    if failed:
        say(f"{failed} of {len(waiting)} failed")
    if len(records) > 1:
        say(f"{len(records)} videos, {per_minute:g} per minute, loading included")
    return 1 if failed else 0


def _per_minute(videos: int, seconds: float) -> float:
    return round(60 * videos / seconds, 2) if videos else 0.0


def find_videos(name: str) -> Iterator[str]:
    """The videos that one argument stands for, as paths, in order.

    A path that is no folder is taken as it is, existing or not: opening it tells what is wrong.
    """
    folder = Path(name)
    if not folder.is_dir():
        yield name
        return
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if videos:
        yield from map(str, videos)
        return
    # Folders of frames; a folder with neither is passed on, so that it is reported.
    frames = sorted({path.parent for path in files if path.suffix.lower() in IMAGE_SUFFIXES})
    yield from map(str, frames or [folder])


def _describe_all(
    args: argparse.Namespace,
    question: str,
    identity: dict[str, Any],
    videos: list[str],
    lines: JsonLines | None,
) -> Iterator[dict[str, Any]]:
    """Describe `videos`; each record is written as soon as it is there."""
    has_names = len(args.videos) > 1 or len(videos) > 1
    results = _results(args, question, videos)
    for path, result in progress(results, total=len(videos), label="describing"):
        record = {"video": path, **identity, **result}
        if lines is not None:
            lines.append(to_json(record))
        if "error" in record:
            say(f"error: {_with_name(path, record['error'])}")
        elif lines is None and not args.json:
            answer(f"{path}: {record['description']}" if has_names else record["description"])
        yield record


def _results(
    args: argparse.Namespace, question: str, videos: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(video, its description or error): here one after the other, or as Ray's workers finish."""
    if args.engine == "ray":
        from mobile_videogpt.cli.describe_on_ray import describe_on_ray

        # Ray runs the videos; how the model itself is run is not its matter.
        shared = argparse.Namespace(**{**vars(args), "engine": "auto"})
        yield from describe_on_ray(shared, question, videos)
        return
    chat = load_chat(args)
    # The next video is decoded while the model is at work on this one.
    for path, video in chat.open_each(videos, args.start, args.end, fps=args.fps):
        yield path, _describe(chat, video, question, args)


def _with_name(path: str, message: str) -> str:
    return message if path in message else f"{path}: {message}"


def describe_one(
    chat: VideoChat, path: str, question: str, args: argparse.Namespace
) -> dict[str, Any]:
    """The description of one video, or the reason why there is none."""
    try:
        if not path:
            raise ValueError("the video's path is empty")
        video: EncodedVideo | Exception = open_video(chat, path, args)
    except Exception as error:
        video = error
    return _describe(chat, video, question, args)


def _describe(
    chat: VideoChat, video: EncodedVideo | Exception, question: str, args: argparse.Namespace
) -> dict[str, Any]:
    """The description of an open video; or of what went wrong, which the others outlive."""
    try:
        if isinstance(video, Exception):
            raise video
        result = chat.ask(video, question, **generation_options(args))
    except Exception as error:
        if args.debug:
            raise
        return {"error": describe_error(error)}
    return {
        "description": result.text,
        "timings": add_timings(video.timings, result.timings),
        "tokens": result.tokens,
    }
