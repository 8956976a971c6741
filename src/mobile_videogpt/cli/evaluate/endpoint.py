"""`--endpoint`: the questions are put to another model, behind an OpenAI-compatible address."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.arguments import positive_int

if TYPE_CHECKING:
    from mobile_videogpt.evaluation.remote_model import RemoteModel

# With this option, this name stands for the fixed questions by which models are compared.
SHAPES, FIXED_SHAPES = "moving-shapes", "moving-shapes-test"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--endpoint and what says how it is asked."""
    group = parser.add_argument_group("another model, behind an OpenAI-compatible address")
    group.add_argument(
        "--endpoint", metavar="URL", help="ask the model there, such as http://localhost:8000/v1"
    )
    group.add_argument("--endpoint-model", metavar="NAME", help="what the address calls it")
    group.add_argument(
        "--endpoint-key-variable",
        default="OPENAI_API_KEY",
        metavar="VARIABLE",
        help="environment variable with the key (default: %(default)s)",
    )
    group.add_argument(
        "--endpoint-media",
        choices=("frames", "video"),
        default="frames",
        help="show pictures (image_url) or the file (video_url) (default: %(default)s)",
    )
    group.add_argument(
        "--endpoint-frames",
        type=positive_int,
        default=16,
        metavar="N",
        help="how many pictures (default: %(default)s)",
    )
    group.add_argument(
        "--endpoint-instruction",
        metavar="TEXT",
        help='a line below questions with options, "" for none (default: asks for the letter only)',
    )
    group.add_argument(
        "--endpoint-max-tokens",
        type=positive_int,
        default=64,
        metavar="N",
        help="longest answer (default: %(default)s)",
    )
    group.add_argument(
        "--endpoint-body",
        type=json_object,
        default={},
        metavar="JSON",
        help="more fields of each request; null takes one out",
    )
    group.add_argument(
        "--endpoint-concurrency",
        type=positive_int,
        default=4,
        metavar="N",
        help="requests at a time (default: %(default)s)",
    )


def check(args: argparse.Namespace) -> None:
    """Refuse what does not go together; `args.model` becomes the name of the other model.

    MovingShapes becomes its test set: fixed questions, by which models are compared.

    Raises:
        ValueError: the model's name is missing, or its options are given without an address.
    """
    if args.endpoint is None:
        if args.endpoint_model is not None:
            raise ValueError("--endpoint-model needs --endpoint, the address of the model")
        return
    if args.endpoint_model is None:
        raise ValueError("--endpoint needs --endpoint-model, the name of the model there")
    if args.answer_by == "likelihood":
        raise ValueError("--endpoint: a model behind an address only writes; leave out --answer-by")
    args.model = args.endpoint_model
    args.tasks = [FIXED_SHAPES if name == SHAPES else name for name in args.tasks]


def remote_model(args: argparse.Namespace) -> RemoteModel:
    """The model that the arguments describe.

    Raises:
        ValueError: the address is none.
    """
    from mobile_videogpt.evaluation.endpoint import Endpoint
    from mobile_videogpt.evaluation.remote_model import RemoteModel

    chosen: dict[str, Any] = {}
    if args.endpoint_instruction is not None:
        chosen["instruction"] = args.endpoint_instruction
    endpoint = Endpoint(
        args.endpoint,
        args.endpoint_model,
        key_variable=args.endpoint_key_variable,
        concurrency=args.endpoint_concurrency,
    )
    return RemoteModel(
        endpoint,
        media=args.endpoint_media,
        num_frames=args.endpoint_frames,
        max_tokens=args.endpoint_max_tokens,
        body=args.endpoint_body,
        **chosen,
    )


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is no JSON object such as {{"seed": 1}}')
    return value
