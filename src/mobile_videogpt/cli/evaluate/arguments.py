"""The options of `mobile-videogpt eval`, and what they stand for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from mobile_videogpt.cli.arguments import add_merge_argument, add_model_arguments, positive_int
from mobile_videogpt.cli.evaluate import endpoint
from mobile_videogpt.evaluation.task import MLVU_ERAS, SCORINGS, expand_names

DATA_VARIABLE = "MOBILE_VIDEOGPT_DATA"

# What torchrun and `accelerate launch` tell a process, and the MPI programs that it may start.
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """TASK... and everything that says how it is asked and judged."""
    parser.add_argument(
        "tasks", nargs="+", type=_task, metavar="TASK", help="see below; several are one run"
    )
    _add_data_arguments(parser)
    _add_scoring_arguments(parser)
    _add_judge_arguments(parser)
    endpoint.add_arguments(parser)
    add_merge_argument(parser)
    add_model_arguments(parser)


def _task(name: str) -> str:
    try:
        expand_names([name])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return name


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data and results")
    group.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help=f"where the benchmarks lie (default: {DATA_VARIABLE}, else ./data)",
    )
    group.add_argument(
        "--output",
        type=Path,
        metavar="OUT",
        help="the run's folder (default: runs/eval-MODEL); moving-shapes alone needs none, and may "
        "name a .json file for its report",
    )
    group.add_argument("--dry-run", action="store_true", help="say what data is there, ask nothing")
    group.add_argument("--limit", type=positive_int, metavar="N", help="at most N questions a task")
    group.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="this process asks about the Ith of N parts of the videos, 1/N to N/N; the last one "
        "to end puts all together",
    )
    group.add_argument(
        "--retry-errors", action="store_true", help="ask those again that had no answer"
    )
    group.add_argument("--json", action="store_true", help="the report as JSON")


def _add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("asking and scoring")
    group.add_argument(
        "--answer-by",
        choices=("generation", "likelihood"),
        help="write an answer, or take the likeliest option (default: as each task is published)",
    )
    group.add_argument(
        "--no-blind", action="store_true", help="leave out the baseline about a black clip"
    )
    group.add_argument(
        "--scoring",
        choices=SCORINGS,
        default=SCORINGS[0],
        help="lmms-eval: as the field's harness reads answers, flaws included; strict: with care "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--mlvu-era",
        choices=MLVU_ERAS,
        help="which of the harness's MLVU prompts and parsers (default: head; task mlvu: regex)",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="S",
        help="which unseen MovingShapes clips; elsewhere, of letters that the harness draws",
    )
    group.add_argument(
        "--submit",
        action="store_true",
        help="egoschema: send the answers to the benchmark's server for their score",
    )


def _add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("judge of open answers (activitynetqa)")
    group.add_argument(
        "--judge-url",
        metavar="URL",
        help="an OpenAI-compatible endpoint, such as https://api.openai.com/v1; without it words "
        "are compared, which no published number can be compared with",
    )
    group.add_argument(
        "--judge-model", metavar="NAME", help="(default: the one that the harness asks)"
    )
    group.add_argument(
        "--judge-key-variable",
        default="OPENAI_API_KEY",
        metavar="VARIABLE",
        help="environment variable with the key (default: %(default)s)",
    )
    group.add_argument(
        "--judge-cache", type=Path, metavar="DIR", help="keep replies here (default: in OUT)"
    )
    group.add_argument(
        "--judge-concurrency",
        type=positive_int,
        default=4,
        metavar="N",
        help="requests at a time (default: %(default)s)",
    )


def shard(text: str) -> tuple[int, int]:
    """(place from 0, count) of "1/4" to "4/4"; "0/4" is the last, for those who count from 0."""
    place, _, count = text.partition("/")
    if place.isdecimal() and count.isdecimal() and 0 <= int(place) <= int(count) > 0:
        return (int(place) - 1) % int(count), int(count)
    raise argparse.ArgumentTypeError(f"{text!r} is no shard; give 1/4, 2/4, 3/4 and 4/4")


def process_shard(given: tuple[int, int] | None) -> tuple[int, int]:
    """The part of this process: --shard, or its place among those of a launcher.

    Raises:
        ValueError: both.
    """
    processes = _from_environment(_SIZES, 1)
    if processes == 1:
        return given or (0, 1)
    if given is not None:
        raise ValueError(
            f"--shard is for processes that are started one by one; the launcher shares the videos "
            f"among its {processes} already"
        )
    return _from_environment(_RANKS, 0), processes


def process_device(device: str) -> str:
    """`device`; under a launcher, "auto" and "cuda" are this process's own GPU, if any."""
    local = os.environ.get("LOCAL_RANK")
    if device not in ("auto", "cuda") or local is None:
        return device
    import torch

    return f"cuda:{local}" if torch.cuda.is_available() else device


def _from_environment(names: Sequence[str], default: int) -> int:
    values = (os.environ.get(name) for name in names)
    return next((int(value) for value in values if value), default)


def data_dir(args: argparse.Namespace) -> Path:
    """Where the benchmarks lie."""
    return args.data_dir or Path(os.environ.get(DATA_VARIABLE) or "data")


def output_folder(args: argparse.Namespace) -> Path:
    """The run's folder.

    Raises:
        ValueError: it is a file.
    """
    folder: Path = args.output or Path("runs") / f"eval-{Path(args.model).name}"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; --output needs a folder")
    return folder
