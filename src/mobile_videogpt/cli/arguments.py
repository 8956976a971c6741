"""Arguments that several subcommands share, and the check of what they hold."""

from __future__ import annotations

import argparse
import gc
import math
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.output import status

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo, VideoChat

DEFAULT_MODEL = "moving-shapes"
CACHE_VARIABLE = "MOBILE_VIDEOGPT_CACHE"
DEFAULT_CACHE_GB = 2.0


def add_model_arguments(
    parser: argparse.ArgumentParser, engines: str = "how the model is run: auto, torch or onnx"
) -> None:
    """--model, --device, --dtype and --engine (whose help is `engines`): what a `VideoChat` is."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME",
        help="a folder, a Hugging Face id such as Amshaker/Mobile-VideoGPT-0.5B, or the built-in "
        "miniature (default: %(default)s)",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    group.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16", "int8"),
        help="auto: half precision on a GPU; on a CPU int8 for a large model where the processor "
        "multiplies bytes, else float32",
    )
    group.add_argument("--engine", default="auto", help=engines)


def add_merge_argument(parser: argparse.ArgumentParser) -> None:
    """--merge-tokens: fewer image tokens per video."""
    parser.add_argument(
        "--merge-tokens",
        type=probability,
        metavar="KEEP",
        help="keep this share of the image tokens, 0 < KEEP <= 1, by averaging those of "
        "neighbouring frames: faster, at some loss (default: all)",
    )


def add_cache_arguments(parser: argparse.ArgumentParser) -> None:
    """--cache-dir, --cache-gb and --no-cache: where encoded videos outlive the process."""
    group = parser.add_argument_group("cache of encoded videos")
    group.add_argument(
        "--cache-dir",
        metavar="DIR",
        help=f"keep encoded videos in this folder (default: {CACHE_VARIABLE}, else none)",
    )
    group.add_argument(
        "--cache-gb",
        type=positive_float,
        default=DEFAULT_CACHE_GB,
        metavar="GB",
        help="most that the folder may take; the oldest go first (default: %(default)g)",
    )
    group.add_argument("--no-cache", action="store_true", help="keep nothing, read nothing kept")


def cache_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `VideoChat` from `add_cache_arguments`' values, if it has any."""
    if not hasattr(args, "cache_dir") or args.no_cache:
        return {}
    folder = args.cache_dir or os.environ.get(CACHE_VARIABLE)
    if not folder:
        return {}
    return {"cache_dir": folder, "cache_bytes": int(args.cache_gb * 1e9)}


def add_range_arguments(parser: argparse.ArgumentParser) -> None:
    """--start, --end and --fps: which part of the video to look at."""
    group = parser.add_argument_group("part of the video")
    group.add_argument("--start", type=seconds, metavar="S", help="look from this second on")
    group.add_argument("--end", type=seconds, metavar="S", help="look up to this second")
    group.add_argument("--fps", type=positive_float, help="frames per second of a folder of frames")


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add CONFIG: what is trained from."""
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="a mixture (YAML) or annotations (JSON, CSV)"
    )


def add_generation_arguments(parser: argparse.ArgumentParser, max_new_tokens: int = 128) -> None:
    """--max-new-tokens and sampling; greedy decoding unless --temperature is given."""
    group = parser.add_argument_group("answer")
    group.add_argument(
        "--max-new-tokens",
        type=positive_int,
        default=max_new_tokens,
        metavar="N",
        help="longest answer, in tokens (default: %(default)s)",
    )
    group.add_argument(
        "--temperature",
        type=positive_float,
        metavar="T",
        help="sample with this temperature instead of taking the likeliest token",
    )
    group.add_argument(
        "--top-p", type=probability, metavar="P", help="nucleus sampling, 0 < P <= 1"
    )
    group.add_argument("--seed", type=int, help="seed for sampling")


def generation_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `VideoChat.ask` from `add_generation_arguments`' values."""
    options: dict[str, Any] = {"max_new_tokens": args.max_new_tokens}
    if args.temperature is not None or args.top_p is not None:
        options |= {"do_sample": True, "temperature": args.temperature or 1.0}
        options |= {"top_p": args.top_p} if args.top_p is not None else {}
    if args.seed is not None:
        options["seed"] = args.seed
    return options


def load_chat(args: argparse.Namespace) -> VideoChat:
    """The `VideoChat` that the model arguments name."""
    with without_collection(), status(f"loading {args.model}"):
        quiet_libraries(args.debug)
        from mobile_videogpt.chat import VideoChat

        # The command line holds on to the video it looks at; more copies would only cost memory.
        return VideoChat(
            args.model,
            device=args.device,
            dtype=args.dtype,
            engine=args.engine,
            max_open_videos=1,
            merge_tokens=getattr(args, "merge_tokens", None),
            **cache_options(args),
        )


@contextmanager
def without_collection() -> Iterator[None]:
    """Start up without looking for garbage among what thousands of modules define.

    Nearly all of it stays, and searching it took a fifth of the time to the first answer.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()


def open_video(chat: VideoChat, path: str, args: argparse.Namespace) -> EncodedVideo:
    """The part of a video that the range arguments name, encoded."""
    return chat.open(path, start=args.start, end=args.end, fps=args.fps)


def quiet_libraries(debug: bool) -> None:
    """Keep transformers' advice and progress bars off the terminal unless asked for."""
    if debug:
        return
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    import transformers

    transformers.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers.logging.disable_progress_bar()


def require_question(question: str) -> str:
    """`question` without outer blanks; "-" reads it from standard input.

    Raises:
        ValueError: nothing is left.
    """
    question = (sys.stdin.read() if question == "-" else question).strip()
    if not question:
        raise ValueError('the question is empty; ask something, e.g. "What happens?"')
    return question


def require_video(path: str) -> str:
    """`path`, once it is known to exist: checked before a model is loaded for nothing.

    Raises:
        ValueError: there is no such file or folder.
    """
    if not path:
        raise ValueError("the video's path is empty; give a video file or a folder of frames")
    if "://" not in path and not Path(path).exists():
        raise ValueError(f"no such video: {path}; give a video file or a folder of frames")
    return path


def require_writable_folder(path: Path) -> Path:
    """`path`, once its folder exists: found out before the work, not after it.

    Raises:
        ValueError: the folder is missing, or `path` itself is a folder.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; --output needs a file name")
    if not path.parent.is_dir():
        raise ValueError(f"the folder {path.parent} does not exist; create it first")
    return path


def seconds(text: str) -> float:
    """A time in seconds, or minutes and hours before colons: 75, 1:15, 0:01:15.5."""
    parts = text.split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if not 1 <= len(values) <= 3 or not all(
        math.isfinite(value) and value >= 0 for value in values
    ):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; give seconds (12.5) or minutes and seconds (1:15)"
        )
    total = 0.0
    for value in values:
        total = total * 60 + value
    return total


def positive_int(text: str) -> int:
    """A whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def positive_float(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def probability(text: str) -> float:
    """A number above 0 and at most 1."""
    value = positive_float(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1")
    return value
