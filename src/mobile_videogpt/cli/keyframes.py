"""`mobile-videogpt keyframes`: which frames the model kept, as a picture or as JSON."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.arguments import (
    add_cache_arguments,
    add_model_arguments,
    add_range_arguments,
    load_chat,
    open_video,
    require_video,
    require_writable_folder,
)
from mobile_videogpt.cli.output import answer, answer_json, say, status
from mobile_videogpt.files import write_atomically

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `keyframes`."""
    parser = subparsers.add_parser(
        "keyframes",
        parents=parents,
        help="show which frames the model kept, and why",
        description="Draw a contact sheet of the sampled frames with their times and scores, the "
        "kept ones framed, and a plot of the scores. Prints the path of the picture.",
    )
    parser.add_argument("video", metavar="VIDEO", help="a video file or a folder of frames")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PNG",
        help="where to write the picture (default: VIDEO's name with .keyframes.png, in this "
        "folder)",
    )
    parser.add_argument(
        "--json", action="store_true", help="times and scores as JSON; a picture only with --output"
    )
    add_range_arguments(parser)
    add_cache_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Encode the video, draw the sheet, report."""
    require_video(args.video)
    output = args.output
    if output is None and not args.json:
        output = Path(f"{Path(args.video).resolve().stem}.keyframes.png")
    if output is not None:
        require_writable_folder(output)
    chat = load_chat(args)
    with status(f"looking at {args.video}"):
        video = open_video(chat, args.video, args)
    if output is not None:
        write_atomically(output, _png(chat, video))
    if args.json:
        answer_json(_report(args, chat, video, output))
    elif output is not None:
        times = ", ".join(f"{video.frame_times[index]:.2f}" for index in video.kept_frames)
        say(f"kept {len(video.kept_frames)} of {len(video.frames)} frames, at {times} s")
        answer(str(output))
    return 0


def _png(chat: VideoChat, video: EncodedVideo) -> bytes:
    from mobile_videogpt.cli.contact_sheet import FrameChoice, draw_contact_sheet

    config = chat.config
    is_chunked = config.frame_selection == "per_chunk"
    sheet = draw_contact_sheet(
        FrameChoice(
            title=video.name,
            frames=video.frames,
            times=video.frame_times,
            scores=video.frame_scores,
            kept=video.kept_frames,
            frames_per_chunk=config.frames_per_chunk if is_chunked else None,
        )
    )
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def _report(
    args: argparse.Namespace, chat: VideoChat, video: EncodedVideo, output: Path | None
) -> dict[str, Any]:
    kept = set(video.kept_frames)
    return {
        "video": args.video,
        "model": args.model,
        "selection": chat.config.frame_selection,
        "frames": [
            {"index": index, "time": time, "score": score, "kept": index in kept}
            for index, (time, score) in enumerate(
                zip(video.frame_times, video.frame_scores, strict=True)
            )
        ],
        "kept_frames": video.kept_frames,
        "picture": str(output) if output is not None else None,
        "timings": video.timings,
    }
