"""`mobile-videogpt bench`: how fast every part is, how far from the ceiling, beside which peers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import (
    DEFAULT_MODEL,
    add_model_arguments,
    positive_int,
    require_video,
    require_writable_folder,
)
from mobile_videogpt.cli.bench_tables import print_report
from mobile_videogpt.cli.output import answer, answer_json, say, to_json
from mobile_videogpt.files import write_atomically

FULL_SIZE = "0.5b"
EPILOG = """\
examples:
  mobile-videogpt bench
  mobile-videogpt bench --model 0.5b --random --json
  mobile-videogpt bench --peer llava-onevision-0.5b --peer smolvlm2-500m
  mobile-videogpt bench --model 0.5b --random --num-frames 8 16 32 64 --plot cost.png

Without --model, peers are compared with `--model 0.5b --random`: their size, and random weights
like theirs. docs/performance.md explains every figure."""


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `bench`."""
    # Settings are plain data: importing them costs nothing.
    from mobile_videogpt.benchmark.settings import PEERS

    parser = subparsers.add_parser(
        "bench",
        parents=parents,
        help="measure speed and memory, beside peers",
        description="Time every part of an answer on this machine, beside what the machine can do "
        "at best, and beside other models in the same run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--random", action="store_true", help="--model is a preset, its weights are random"
    )
    what.add_argument(
        "--video", metavar="FILE", help="ask about this file, not about clips made for it"
    )
    what.add_argument(
        "--num-frames",
        type=positive_int,
        nargs="+",
        metavar="N",
        help="sampled frames, with --random; several numbers give the curve of cost over frames",
    )
    what.add_argument(
        "--merge-tokens", type=_share, metavar="KEEP", help="keep this share of the image tokens"
    )
    what.add_argument(
        "--peer", action="append", default=[], choices=PEERS, help="time this too (repeat it)"
    )
    what.add_argument(
        "--peer-dtype",
        default="float32",
        choices=("float32", "bfloat16", "float16"),
        help="number format of the peers from transformers (default: %(default)s)",
    )
    what.add_argument("--window", action="store_true", help="also time a live window")
    what.add_argument(
        "--rows",
        action="store_true",
        help="print what this project asks of itself, and measure all of it that runs here",
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--runs", type=positive_int, default=3, metavar="N", help="measured runs, default 3"
    )
    how.add_argument(
        "--new-tokens", type=positive_int, default=32, metavar="N", help="tokens decoded in a run"
    )
    how.add_argument("--threads", type=positive_int, metavar="N", help="CPU threads")
    how.add_argument("--json", action="store_true", help="only the JSON document")
    how.add_argument("--output", type=Path, metavar="FILE", help="write the JSON here too")
    how.add_argument("--plot", type=Path, metavar="PNG", help="draw the curve of cost over frames")
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, then print tables and the document, or only the document."""
    settings = _settings(args)
    for path in (args.output, args.plot):
        if path is not None:
            require_writable_folder(path)
    frames = args.num_frames or []
    if len(frames) > 1:
        report = _curve(args, settings, frames)
    else:
        from mobile_videogpt.benchmark.run import run_benchmark

        with_rows = args.rows or len(set(args.peer)) > 1
        report = run_benchmark(
            settings, list(dict.fromkeys(args.peer)), args.runs, with_rows=with_rows, say=say
        )
    if args.output is not None:
        write_atomically(args.output, f"{to_json(report, indent=2)}\n".encode())
    if args.json:
        answer_json(report)
        return 0
    print_report(report)
    answer(to_json(report))  # the last line, for scripts that read what people read
    return 0


def _curve(args: argparse.Namespace, settings: Any, frames: list[int]) -> dict[str, Any]:
    from mobile_videogpt.benchmark.curve import draw_curve, measure_curve

    if args.peer or args.rows:
        raise ValueError("the curve over frames is of our model alone; leave out --peer and --rows")
    report = measure_curve(settings, frames, args.runs, say=say)
    if args.plot is not None:
        write_atomically(args.plot, draw_curve(report))
    return report


def _settings(args: argparse.Namespace) -> Any:
    """The settings of our own model.

    Raises:
        ValueError: options that do not go together.
    """
    from mobile_videogpt.benchmark.settings import Settings

    model, is_random = args.model, args.random
    if model == DEFAULT_MODEL and not is_random and (args.peer or args.rows):
        model, is_random = FULL_SIZE, True  # a miniature beside full-size peers says nothing
    if args.num_frames and not is_random:
        raise ValueError(
            "--num-frames changes what the weights were trained for; add --random and a preset, "
            "e.g. --model 0.5b --random"
        )
    if args.plot is not None and len(args.num_frames or []) < 2:
        raise ValueError("--plot draws a curve; give several numbers after --num-frames")
    return Settings(
        model=model,
        is_random=is_random,
        engine=args.engine,
        dtype=args.dtype,
        device=args.device,
        num_frames=args.num_frames[0] if args.num_frames else None,
        merge_tokens=args.merge_tokens,
        clip=require_video(args.video) if args.video is not None else "",
        window=args.window,
        new_tokens=args.new_tokens,
        threads=args.threads,
        peer_dtype=args.peer_dtype,
        is_debugged=args.debug,
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and at most 1")
    return value
