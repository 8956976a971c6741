"""`describe --engine ray`: the videos shared out to worker processes, on one machine or many.

Ray Data hands one video at a time to a pool of workers, each with the model loaded once, and brings
the results back as they come; only this process writes them down. A worker that dies is started
again and its video tried again; a video that kills its worker every time is reported like any other
that cannot be used, and the rest is described all the same.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mobile_videogpt.cli.arguments import DEFAULT_MODEL, load_chat
from mobile_videogpt.cli.failures import describe_error
from mobile_videogpt.cli.output import say, to_json

TRIES = 3  # of a video whose worker dies
CORES_PER_WORKER = 4  # where there is no GPU and --workers is not given

Result = dict[str, Any]


class Tries:
    """How often each video was begun, counted in one process for all workers."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def begin(self, video: str) -> int:
        """Count one more; the first is 1."""
        self.counts[video] += 1
        return self.counts[video]


class Describer:
    """One worker: loads the model once, then describes a video at a time.

    Args:
        args: the model, range and generation arguments of `describe`.
        question: what to ask about each video.
        folder: where the command was given, so that its paths mean the same here.
        tries: a Ray actor of `Tries`.
    """

    def __init__(self, args: argparse.Namespace, question: str, folder: str, tries: Any) -> None:
        self.args, self.question, self.tries = args, question, tries
        self.failure = ""
        try:
            os.chdir(folder)
            self.chat = load_chat(args)
        except Exception as error:
            # Raised here, Ray would start the worker again for ever: it is told with each video.
            self.failure = describe_error(error)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row with the video's path to a row with its result; as JSON, which has one type."""
        import ray

        if self.failure:
            return {**row, "failure": self.failure, "result": ""}
        if ray.get(self.tries.begin.remote(row["video"])) > TRIES:
            result = {"error": f"its worker died {TRIES} times; the file may crash the decoder"}
        else:
            result = self.describe(row["video"])
        return {**row, "failure": "", "result": to_json(result)}

    def describe(self, video: str) -> Result:
        """The description of one video, or the reason why there is none."""
        from mobile_videogpt.cli.describe import describe_one

        return describe_one(self.chat, video, self.question, self.args)


def describe_on_ray(
    args: argparse.Namespace,
    question: str,
    videos: list[str],
    describer: type[Describer] = Describer,
) -> Iterator[tuple[str, Result]]:
    """Yield (video, its description or error) in the order in which they are finished.

    Args:
        args: the model, range and generation arguments of `describe`, and `workers`.
        question: what to ask about each.
        videos: paths that all machines can read.
        describer: what a worker is made of.

    Raises:
        ValueError: Ray is not installed, or the workers cannot load the model.
    """
    _import_ray(args.debug)
    if args.model == DEFAULT_MODEL:
        from mobile_videogpt.chat.loading import MINIATURE_NOTICE

        say(MINIATURE_NOTICE)  # the workers say it where nobody hears it
    # A worker reports what is wrong with a video; --debug's traceback would end it instead.
    sent = {name: value for name, value in vars(args).items() if name != "run"}
    plain = argparse.Namespace(**{**sent, "debug": False})
    with _cluster(args) as resources:
        import ray

        tries = ray.remote(Tries).options(num_cpus=0).remote()
        arguments = (plain, question, os.getcwd(), tries)
        for row in _map(describer, arguments, videos, resources):
            if row["failure"]:
                raise ValueError(row["failure"])
            yield row["video"], json.loads(row["result"])


def _map(
    describer: type[Describer],
    arguments: tuple[Any, ...],
    videos: list[str],
    resources: dict[str, float],
) -> Iterator[dict[str, Any]]:
    import ray.data

    # A block is what is tried again when a worker dies, and what comes back at once: one video.
    rows = ray.data.from_items(
        [{"video": path} for path in videos], override_num_blocks=len(videos)
    )
    yield from rows.map(
        describer,
        fn_constructor_args=arguments,
        # Only the video at work is tried again when a worker dies, not a queue behind it.
        compute=ray.data.ActorPoolStrategy(
            size=int(resources["workers"]), max_tasks_in_flight_per_actor=1
        ),
        num_cpus=resources["cpus"],
        num_gpus=resources["gpus"] or None,
    ).iter_rows()


@contextmanager
def _cluster(args: argparse.Namespace) -> Iterator[dict[str, float]]:
    """Ray, started here or joined where RAY_ADDRESS says; yields what each worker may take."""
    import ray
    from ray.data import DataContext

    level = logging.INFO if args.debug else logging.ERROR
    options: dict[str, Any] = {"logging_level": level, "log_to_driver": args.debug}
    if not os.environ.get("RAY_ADDRESS"):
        cores = max(os.cpu_count() or 1, args.workers or 1)
        # The priority of a run without Ray; by itself it starts workers at nearly the lowest.
        os.environ.setdefault("RAY_worker_niceness", "0")
        options |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
    ray.init(**options)
    try:
        context = DataContext.get_current()
        context.enable_progress_bars = args.debug
        context.print_on_execution_start = args.debug
        logging.getLogger("ray.data").setLevel(level)
        yield _share(ray.cluster_resources(), args.workers, wants_gpu=args.device != "cpu")
    finally:
        ray.shutdown()


def _share(total: dict[str, float], workers: int | None, wants_gpu: bool) -> dict[str, float]:
    """How many workers, and what each may take: a GPU each where there are any.

    >>> _share({"CPU": 16.0, "GPU": 4.0}, None, True)
    {'workers': 4, 'cpus': 4, 'gpus': 1.0}
    >>> _share({"CPU": 16.0}, 3, True)
    {'workers': 3, 'cpus': 5, 'gpus': 0}
    """
    cores, gpus = int(total.get("CPU", 1)), total.get("GPU", 0) if wants_gpu else 0
    count = workers or int(gpus) or max(1, cores // CORES_PER_WORKER)
    return {
        "workers": count,
        "cpus": max(1, cores // count),
        "gpus": min(1.0, gpus / count) if gpus else 0,
    }


def _import_ray(debug: bool) -> None:
    # Before the import: Ray would otherwise report its use to its makers, and its core write what
    # only Ray's own developers can read.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not debug:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray.data  # noqa: F401
    except ImportError:
        raise ValueError(
            "--engine ray needs Ray; install it with: "
            'pip install -c constraints.txt "mobile-videogpt[ray]"'
        ) from None
