"""`mobile-videogpt finetune`: a model on one's own videos, in one command."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from mobile_videogpt.cli.arguments import (
    DEFAULT_MODEL,
    positive_float,
    positive_int,
    probability,
    quiet_libraries,
)
from mobile_videogpt.cli.data.check import progress_of_files
from mobile_videogpt.cli.failures import needing
from mobile_videogpt.cli.output import answer, answer_json

EPILOG = """\
In order: the data is checked, a part of the videos is held back, the frozen encoders run once over
all of them, LoRA and both projectors train until the validation loss stops falling. Left in the
output folder: model (merged), adapter, check/report.html, and a card with scores before and after.
Started again with the same options, a run that was stopped goes on where it was."""


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `finetune`."""
    parser = subparsers.add_parser(
        "finetune",
        parents=parents,
        help="fine-tune a model on your own videos",
        description="Fine-tune a model on your own videos and print its folder. Nothing but --data "
        "and --output has to be given.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="FILE",
        help="a table (video, question, answer), JSON annotations, or a mixture (YAML)",
    )
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME",
        help="a folder, a Hugging Face id, or the built-in miniature (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="a folder")
    _add_data_arguments(parser.add_argument_group("data"))
    _add_training_arguments(parser.add_argument_group("training"))
    parser.add_argument(
        "--push-to-hub", default="", metavar="ID", help="upload the model (private, if it is new)"
    )
    parser.add_argument("--json", action="store_true", help="scores and figures as JSON")
    parser.set_defaults(run=run)


def _add_data_arguments(group: Any) -> None:
    group.add_argument(
        "--validation", type=Path, metavar="FILE", help="measure on these, hold nothing back"
    )
    group.add_argument(
        "--validation-share",
        type=probability,
        default=0.1,
        metavar="P",
        help="part that is held back, whole videos (default: %(default)s)",
    )
    group.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="annotations of what the model can do already, so that it does not forget it",
    )
    group.add_argument(
        "--replay-share",
        type=probability,
        default=0.5,
        metavar="P",
        help="part of an epoch that is replayed (default: %(default)s)",
    )
    group.add_argument("--workers", type=positive_int, metavar="N", help="processes that decode")


def _add_training_arguments(group: Any) -> None:
    group.add_argument(
        "--epochs", type=positive_int, default=20, metavar="N", help="at most (default: 20)"
    )
    group.add_argument(
        "--patience",
        type=positive_int,
        default=4,
        metavar="N",
        help="epochs without a better validation loss that end the run (default: %(default)s)",
    )
    group.add_argument(
        "--learning-rate",
        type=positive_float,
        default=0.0,
        metavar="X",
        help="of LoRA; projectors take a tenth (default: by the model's width)",
    )
    group.add_argument(
        "--lora-rank", type=positive_int, default=32, metavar="R", help="default: %(default)s"
    )
    group.add_argument(
        "--batch",
        type=positive_int,
        default=16,
        metavar="N",
        help="samples of a step (default: %(default)s); how many at a time is chosen by the memory",
    )
    group.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    group.add_argument(
        "--qlora",
        action="store_true",
        help="the frozen language model in 4 bits (needs CUDA and bitsandbytes)",
    )


def run(args: argparse.Namespace) -> int:
    """Fine-tune, print the scores and the model's folder."""
    if args.output.exists() and not args.output.is_dir():
        raise ValueError(f"{args.output} is a file; --output must be a folder, existing or not")
    if args.seed < 0:
        raise ValueError(f"--seed is {args.seed}; give 0 or more")
    # Minutes to hours pass: say what goes on.
    logging.getLogger("mobile_videogpt").setLevel(logging.INFO)
    with needing("train", "training", debug=args.debug):
        quiet_libraries(args.debug)
        from mobile_videogpt.training.finetune import FinetuneOptions, finetune

        options = FinetuneOptions(
            data=args.data,
            output=args.output,
            model=args.model,
            validation=args.validation,
            validation_share=args.validation_share,
            replay=args.replay,
            replay_share=args.replay_share,
            epochs=args.epochs,
            patience=args.patience,
            learning_rate=args.learning_rate,
            lora_rank=args.lora_rank,
            global_batch_size=args.batch,
            seed=args.seed,
            workers=args.workers,
            qlora=args.qlora,
            push_to_hub=args.push_to_hub,
        )
        with progress_of_files() as on_progress:
            result = finetune(options, on_progress)
    if args.json:
        figures = {"scores": result.scores, "training": result.training}
        answer_json({"model": str(result.model), "adapter": str(result.adapter), **figures})
        return 0
    for part, title in (("new", "new data"), ("old", "replayed data")):
        before, after = (result.scores[when].get(part) for when in ("before", "after"))
        if before and after:
            answer(
                f"{title}: {before['answers_right']:.1%} of {before['records']} answers right "
                f"before, {after['answers_right']:.1%} after"
            )
    answer(str(result.model))
    return 0
