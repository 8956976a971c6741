"""`mobile-videogpt eval TASK...`: ask, merge, judge, report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mobile_videogpt.cli.arguments import load_chat
from mobile_videogpt.cli.evaluate import data_report, endpoint, moving_shapes
from mobile_videogpt.cli.evaluate.arguments import (
    add_arguments,
    data_dir,
    output_folder,
    process_device,
    process_shard,
)
from mobile_videogpt.cli.evaluate.progress import RunProgress
from mobile_videogpt.cli.evaluate.tables import print_report
from mobile_videogpt.cli.output import answer, answer_json, say
from mobile_videogpt.evaluation.task import JudgedTask, Task, expand_names, get_task

if TYPE_CHECKING:
    from mobile_videogpt.chat import VideoChat
    from mobile_videogpt.evaluation.endpoint import Endpoint
    from mobile_videogpt.evaluation.remote_model import RemoteModel
    from mobile_videogpt.evaluation.run import Plan, TaskRun
    from mobile_videogpt.evaluation.run_folder import RunFolder

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Evaluate; 1 where data is missing (--dry-run) or answers lack a verdict."""
    endpoint.check(args)
    tasks = chosen_tasks(args)
    if args.dry_run:
        return data_report.dry_run(tasks, data_dir(args), args.json)
    if moving_shapes.is_report_only(args):
        return moving_shapes.run(args)
    plan = _plan(args)
    output = output_folder(args)
    data_report.require(tasks, plan.data_dir)
    try:
        runs = _answer(args, tasks, plan, output)
    except KeyboardInterrupt:
        say(f"the answers so far are in {output}; the same command goes on from there")
        raise
    # Whoever ends last finds all answers there, and does what is left to do once.
    is_merged = [run.merge() for run in runs]
    if not all(is_merged):
        _say_what_is_left(runs, plan, args.json)
        return 0
    num_unjudged = _judge(args, runs)
    _write_files(args, runs)
    _report(args, output)
    if args.submit:
        _submit(runs, output)
    if num_unjudged:
        say(f"{num_unjudged} answers have no verdict; the same command again judges those only")
    return 1 if num_unjudged else 0


def chosen_tasks(args: argparse.Namespace) -> list[Task]:
    """The tasks that the arguments name, with their settings.

    Raises:
        ValueError: there is no task of that name.
    """
    settings = {"scoring": args.scoring, "mlvu_era": args.mlvu_era, "seed": args.seed}
    return [get_task(name, **settings) for name in expand_names(args.tasks)]


def _plan(args: argparse.Namespace) -> Plan:
    from mobile_videogpt.evaluation.run import Plan

    return Plan(
        data_dir=data_dir(args),
        limit=args.limit,
        shard=process_shard(args.shard),
        answer_by=args.answer_by,
        is_blind=not args.no_blind,
        retry_errors=args.retry_errors,
    )


def _answer(
    args: argparse.Namespace, tasks: Sequence[Task], plan: Plan, output: Path
) -> list[TaskRun]:
    """Load the model, open the run's folder, ask what this process has to ask."""
    from mobile_videogpt.evaluation.run import TaskRun

    model = endpoint.remote_model(args) if args.endpoint else _load_own(args)
    folder = _open_folder(args, model, output)
    folder.add_tasks(tasks, plan.limit)
    runs = [TaskRun(task, folder, plan) for task in tasks]
    with RunProgress() as progress:
        for run in runs:
            run.answer(model, progress)
            progress.end()
    return runs


def _load_own(args: argparse.Namespace) -> VideoChat:
    args.device = process_device(args.device)
    return load_chat(args)


def _open_folder(
    args: argparse.Namespace, model: VideoChat | RemoteModel, output: Path
) -> RunFolder:
    from mobile_videogpt.evaluation.remote_model import RemoteModel
    from mobile_videogpt.evaluation.run_folder import RunFolder, RunSettings

    settings = RunSettings.of(
        model,
        args.merge_tokens,
        scoring=args.scoring,
        mlvu_era=args.mlvu_era,
        seed=args.seed,
        answer_by=args.answer_by,
        blind=not args.no_blind,
    )
    notes = {
        "model": args.model,
        "device": None if isinstance(model, RemoteModel) else str(model.engine.device),
        "data_dir": str(data_dir(args)),
    }
    if args.judge_url is not None:
        notes["judge"] = args.judge_model or args.judge_url
    return RunFolder(output, settings, notes)


def _judge(args: argparse.Namespace, runs: Sequence[TaskRun]) -> int:
    """Ask the judge, if there is one; how many answers it left without a verdict."""
    num_unjudged = 0
    for run in runs:
        if not isinstance(run.task, JudgedTask):
            continue
        if args.judge_url is None:
            if run.num_unjudged():
                say(
                    f"{run.task.name}: no judge (--judge-url), so words are compared: not "
                    "comparable with published numbers"
                )
            continue
        num_unjudged += _judge_task(run, _endpoint(args, run.task, run.folder))
    return num_unjudged


def _judge_task(run: TaskRun, judge: Endpoint) -> int:
    """Judge one task; a judge that cannot be reached costs its verdicts, not the report."""
    from mobile_videogpt.evaluation.endpoint import EndpointError

    waiting = run.num_unjudged(judge.model)
    if not waiting:
        return 0
    try:
        with RunProgress() as progress:
            progress.begin_judging(run.task, judge.model, waiting)
            num_unjudged = run.judge(judge, progress.advance)
            progress.end()
            return num_unjudged
    except EndpointError as error:
        say(f"error: {run.task.name}: {error}")
        return waiting


def _endpoint(args: argparse.Namespace, task: JudgedTask, folder: Path) -> Endpoint:
    from mobile_videogpt.evaluation.endpoint import Endpoint

    return Endpoint(
        args.judge_url,
        args.judge_model or task.judge_model,
        key_variable=args.judge_key_variable,
        cache_dir=args.judge_cache or folder / "judge-cache",
        concurrency=args.judge_concurrency,
    )


def _write_files(args: argparse.Namespace, runs: Sequence[TaskRun]) -> None:
    """What benchmarks ask for besides a number, such as EgoSchema's submission."""
    for run in runs:
        for path in run.write_files():
            say(f"{run.task.name}: {path}")


def _submit(runs: Sequence[TaskRun], output: Path) -> None:
    """Send submissions to the servers that score them; after all else, as they may be away."""
    from mobile_videogpt.evaluation.report import write_report

    for run in runs:
        accuracy = run.submit()
        if accuracy is not None:
            say(f"{run.task.name}: the benchmark's server says {accuracy:.2f} percent")
            write_report(output)  # now with that number


def _report(args: argparse.Namespace, output: Path) -> None:
    from mobile_videogpt.evaluation.report import write_report

    report = write_report(output)
    unreadable = report["unreadable"]
    for entry in unreadable[: data_report.SHOWN]:
        say(f"without an answer, so wrong: {entry['video']} ({entry['error']})")
    if len(unreadable) > data_report.SHOWN:
        say(f"and {len(unreadable) - data_report.SHOWN} more videos: {output / 'report.md'}")
    if args.json and moving_shapes.is_alone(args):
        answer_json(moving_shapes.recorded_report(args, output))
    elif args.json:
        answer_json({key: value for key, value in report.items() if key != "answers"})
    else:
        print_report(report)
        answer(f"report: {output / 'report.md'}")


def _say_what_is_left(runs: Sequence[TaskRun], plan: Plan, is_json: bool) -> None:
    questions = sum(len(run.items) for run in runs)
    answered = sum(run.num_answered for run in runs)
    place, count = plan.shard
    say(
        f"shard {place + 1}/{count} is done; {answered} of {questions} questions are answered, the "
        "process that ends last writes the report"
    )
    if is_json:
        answer_json({"complete": False, "answered": answered, "questions": questions})
