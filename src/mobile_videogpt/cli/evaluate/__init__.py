"""`mobile-videogpt eval`: measure a model on benchmarks; `eval compare`: is one run better?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from mobile_videogpt.cli.evaluate import compare, report, tasks

# First words that are no tasks: module with `add_arguments(parser)`, `run(args)` and `HELP`.
SUBCOMMANDS: dict[str, Any] = {"compare": compare, "report": report}

DESCRIPTION = """\
Measure a model on benchmarks: the paper's six on data that is on disk, and MovingShapes, which is
made as it is asked about."""

EPILOG = """\
tasks: mvbench (its 20 sub-tasks, or mvbench_<sub-task>), egoschema_subset, egoschema (full set,
writes the submission), mlvu_dev, mlvu_test, mlvu_generation, nextqa_mc_test,
perceptiontest_val_mc, activitynetqa, moving-shapes (needs no data), moving-shapes-test (fixed
questions, by which models are compared)

examples:
  mobile-videogpt eval moving-shapes --seed 7 --limit 200
  mobile-videogpt eval mvbench --model Amshaker/Mobile-VideoGPT-0.5B --data-dir data --dry-run
  mobile-videogpt eval mvbench nextqa_mc_test --data-dir data --output runs/eval
  accelerate launch --config_file configs/accelerate/ddp.yaml --num_processes 4 \\
    -m mobile_videogpt eval mvbench --data-dir data --output runs/eval

Started again with the same --output, a run goes on where it was stopped. docs/evaluation.md says
where each benchmark comes from and what the numbers mean."""


class _EvalParser(argparse.ArgumentParser):
    """Takes tasks, unless the first word is a subcommand."""

    subcommands: dict[str, argparse.ArgumentParser]

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Hand over to the subcommand that the first word names."""
        if args and args[0] in self.subcommands:
            return self.subcommands[args[0]].parse_known_args(args[1:], namespace)
        return super().parse_known_args(args, namespace)


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `eval`."""
    listed = subparsers.add_parser("eval", help="measure a model on benchmarks")
    parser = _EvalParser(
        prog=listed.prog,
        parents=parents,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tasks.add_arguments(parser)
    parser.set_defaults(run=tasks.run)
    parser.subcommands = {}
    for name, module in SUBCOMMANDS.items():
        own = argparse.ArgumentParser(
            prog=f"{listed.prog} {name}",
            parents=parents,
            description=module.HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(own)
        own.set_defaults(run=module.run)
        parser.subcommands[name] = own
    subparsers.choices["eval"] = parser
