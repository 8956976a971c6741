"""`mobile-videogpt info`: what a model is made of, and what training it would take."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.arguments import DEFAULT_MODEL, quiet_libraries
from mobile_videogpt.cli.output import answer_json, table
from mobile_videogpt.cli.training_estimate import (
    add_training_arguments,
    estimate_training,
    measure_training,
    training_rows,
)

if TYPE_CHECKING:
    from mobile_videogpt.config import MobileVideoGPTConfig


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `info`."""
    parser = subparsers.add_parser(
        "info",
        parents=parents,
        help="show what a model is made of",
        description="Show a model's parts, their sizes and its token counts, or with --training "
        "what a training run would take. Reads its configuration, not its weights.",
    )
    parser.add_argument(
        "model",
        nargs="?",
        default=DEFAULT_MODEL,
        metavar="MODEL",
        help="a folder, a Hugging Face id, or a preset: moving-shapes, 0.5b, 1.5b, 0.5b-paper, "
        "1.5b-paper (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    add_training_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read the configuration, count, print."""
    quiet_libraries(args.debug)
    config = find_config(args.model)
    if args.training:
        report = estimate_training(args.model, config, args)
        if args.measure:
            report["measured"] = measure_training(args.model, args)
        rows = training_rows(report)
    else:
        report = describe_model(args.model, config)
        rows = _rows(report)
    if args.json:
        answer_json(report)
    else:
        table(rows)
    return 0


def find_config(name: str) -> MobileVideoGPTConfig:
    """The configuration of a preset or of a checkpoint."""
    from mobile_videogpt.config import PRESETS, MobileVideoGPTConfig

    if name in PRESETS:
        return MobileVideoGPTConfig.preset(name)
    from mobile_videogpt.checkpoints import load_config

    return load_config(name)


def describe_model(name: str, config: MobileVideoGPTConfig) -> dict[str, Any]:
    """Frames, tokens and parameters of a configuration."""
    from mobile_videogpt.models.parameter_counts import count_parameters

    parameters = count_parameters(config)
    return {
        "model": name,
        "frames": {
            "sampled": config.num_frames,
            "per_chunk": config.frames_per_chunk,
            "kept": config.num_kept_frames,
            "selection": config.frame_selection,
        },
        "tokens": {
            "image": config.num_image_tokens,
            "video": config.num_video_tokens,
            "visual": config.num_visual_tokens,
            "layout": config.video_token_layout,
            "context": config.text_config.max_position_embeddings,
        },
        "parameters": {**parameters, "total": sum(parameters.values())},
    }


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    frames, tokens = report["frames"], report["tokens"]
    rows = [
        ("model", report["model"]),
        (
            "frames",
            f"{frames['sampled']} sampled, {frames['kept']} kept for the video encoder "
            f"({frames['selection']}, chunks of {frames['per_chunk']})",
        ),
        (
            "visual tokens",
            f"{tokens['visual']} = {tokens['image']} image + {tokens['video']} video "
            f"({tokens['layout']} layout)",
        ),
        ("context", f"{tokens['context']} tokens"),
    ]
    counts = report["parameters"]
    rows += [(name.replace("_", " "), f"{count:,} parameters") for name, count in counts.items()]
    return rows
