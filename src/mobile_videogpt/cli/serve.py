"""`mobile-videogpt serve`: the model behind an OpenAI-compatible API."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.arguments import (
    add_cache_arguments,
    add_merge_argument,
    add_model_arguments,
    load_chat,
    positive_float,
    positive_int,
)
from mobile_videogpt.cli.output import say

if TYPE_CHECKING:
    from mobile_videogpt.serving.settings import ServerSettings

KEYS_VARIABLE = "MOBILE_VIDEOGPT_API_KEYS"
EPILOG = """\
examples:
  mobile-videogpt serve
  mobile-videogpt serve --model Amshaker/Mobile-VideoGPT-0.5B --port 9000
  mobile-videogpt serve --host 0.0.0.0 --api-key-file keys.txt"""


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `serve`."""
    parser = subparsers.add_parser(
        "serve",
        parents=parents,
        help="serve the model with an OpenAI-compatible API and a page",
        description="Serve the model: a page at /, POST /v1/chat/completions, /v1/files, "
        "GET /v1/models, /healthz, /metrics, /docs. Runs until it is interrupted, then finishes "
        "what it has begun.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_access_arguments(parser)
    _add_load_arguments(parser)
    _add_limit_arguments(parser)
    add_merge_argument(parser)
    add_cache_arguments(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def _add_access_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("access")
    group.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    group.add_argument(
        "--port", type=port, default=8000, help="0 takes a free one (default: %(default)s)"
    )
    group.add_argument(
        "--served-name", metavar="NAME", help="what clients call the model (default: --model)"
    )
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"bearer keys, one a line (default: those in {KEYS_VARIABLE}, separated by commas)",
    )
    group.add_argument(
        "--allow-anonymous", action="store_true", help="serve other machines without keys"
    )
    group.add_argument(
        "--allow-fetch",
        action="store_true",
        help="fetch http(s) addresses that clients name; never private ones",
    )
    group.add_argument(
        "--requests-per-minute",
        type=count_or_none,
        default=600,
        metavar="N",
        help="per key, or per address without keys; 0: no limit (default: %(default)s)",
    )


def _add_load_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("load")
    numbers = {
        "--max-requests": (64, "completions under way, waiting ones included; more get 429"),
        "--max-answers": (16, "answers that are decoded together"),
        "--videos": (16, "encoded videos kept for the next question"),
        "--decoders": (2, "processes that open clients' files"),
    }
    for name, (default, text) in numbers.items():
        group.add_argument(
            name,
            type=positive_int,
            default=default,
            metavar="N",
            help=f"{text} (default: %(default)s)",
        )
    group.add_argument(
        "--request-timeout",
        type=positive_float,
        default=120.0,
        metavar="S",
        help="longest that a request may take (default: %(default)g)",
    )
    group.add_argument(
        "--shutdown-timeout",
        type=positive_float,
        default=20.0,
        metavar="S",
        help="when stopping, let answers under way take so long (default: %(default)g)",
    )


def _add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what clients may send")
    group.add_argument(
        "--max-body-mb",
        type=positive_float,
        default=64.0,
        metavar="MB",
        help="one request; base64 makes a video a third longer (default: %(default)g)",
    )
    group.add_argument(
        "--max-upload-gb",
        type=positive_float,
        default=1.0,
        metavar="GB",
        help="all uploads together; the oldest go first (default: %(default)g)",
    )
    group.add_argument(
        "--max-video-seconds",
        type=positive_float,
        default=3600.0,
        metavar="S",
        help="longest video (default: %(default)g)",
    )
    group.add_argument(
        "--max-frame-pixels",
        type=positive_int,
        default=3840 * 2160,
        metavar="N",
        help="largest frame, width times height (default: %(default)s)",
    )
    group.add_argument(
        "--max-frames",
        type=positive_int,
        default=250_000,
        metavar="N",
        help="most frames in a file (default: %(default)s)",
    )
    group.add_argument(
        "--decode-seconds",
        type=positive_float,
        default=20.0,
        metavar="S",
        help="a file that takes longer to open is given up (default: %(default)g)",
    )
    group.add_argument(
        "--decode-memory-mb",
        type=positive_float,
        default=2000.0,
        metavar="MB",
        help="address space of a decoding process (default: %(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """Load the model and serve it until told to stop."""
    settings = server_settings(args)  # names what is wrong before a model is loaded for nothing
    from mobile_videogpt.serving.run import require_packages, serve

    require_packages()
    name = args.served_name or args.model
    chat = load_chat(args)
    serve(chat, settings, name, lambda url: say(f"{name} is served at {url}/v1 (page: {url})"))
    return 0


def server_settings(args: argparse.Namespace) -> ServerSettings:
    """The settings that the arguments name.

    Raises:
        ValueError: they contradict each other, or a key file is empty.
    """
    from mobile_videogpt.serving.settings import MEGABYTE, DecodingLimits, ServerSettings

    limits = DecodingLimits(
        duration_s=args.max_video_seconds,
        pixels=args.max_frame_pixels,
        frames=args.max_frames,
        time_s=args.decode_seconds,
        memory_bytes=int(args.decode_memory_mb * MEGABYTE),
    )
    return ServerSettings(
        host=args.host,
        port=args.port,
        api_keys=read_keys(args.api_key_file),
        allow_anonymous=args.allow_anonymous,
        allow_fetch=args.allow_fetch,
        requests_per_minute=args.requests_per_minute,
        max_requests=args.max_requests,
        max_answers=args.max_answers,
        request_timeout_s=args.request_timeout,
        shutdown_s=args.shutdown_timeout,
        max_body_bytes=int(args.max_body_mb * MEGABYTE),
        max_upload_bytes=int(args.max_upload_gb * 1000 * MEGABYTE),
        max_videos=args.videos,
        decoders=args.decoders,
        limits=limits,
    )


def read_keys(path: Path | None) -> frozenset[str]:
    """The keys in a file, or in the environment; none is no error where none are named.

    Raises:
        ValueError: a file or variable is there, and no key in it.
    """
    text = os.environ.get(KEYS_VARIABLE) if path is None else path.read_text(encoding="utf-8")
    if text is None:
        return frozenset()
    keys = frozenset(key.strip() for key in text.replace(",", "\n").splitlines() if key.strip())
    if not keys:
        raise ValueError(f"there is no key in {path or KEYS_VARIABLE}; write one, or remove it")
    return keys


def port(text: str) -> int:
    """A port's number; 0 for any that is free."""
    if not (text.isdecimal() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give a number from 0 to 65535")
    return int(text)


def count_or_none(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)
