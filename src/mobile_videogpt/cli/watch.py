"""`mobile-videogpt watch`: questions about a camera, a stream or a film, while it runs."""

from __future__ import annotations

import argparse
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobile_videogpt.cli.arguments import (
    add_generation_arguments,
    add_merge_argument,
    add_model_arguments,
    generation_options,
    load_chat,
    positive_float,
    positive_int,
    probability,
    require_question,
    require_writable_folder,
)
from mobile_videogpt.cli.describe import QUESTION
from mobile_videogpt.cli.output import answer, say, to_json

if TYPE_CHECKING:
    from mobile_videogpt.serving.live.conditions import Condition
    from mobile_videogpt.serving.live.settings import WatchSettings
    from mobile_videogpt.serving.live.subtitles import SubtitleFile

WINDOW_S = 8.0
EPILOG = """\
SOURCE is camera, camera:1 or camera:NAME; a device such as /dev/video0; an address (rtsp, http,
rtmp, srt, udp, tcp); or a file, which is played at its own speed, or with --follow watched while
another program writes it.

Options after --when belong to it until the next one:
  mobile-videogpt watch rtsp://cam/door --when "Is there a parcel?" --is yes --run ./parcel.sh
The command gets what was found as JSON on its standard input and as environment variables
(MOBILE_VIDEOGPT_ANSWER, ...). No shell reads it; write 'sh -c "..."' for one that should."""


class _RuleOption(argparse.Action):
    """An option that says more about the last --when."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        rules: list[dict[str, Any]] = getattr(namespace, "rules", None) or []
        if self.dest == "question":
            rules = [*rules, {"question": values, "others": []}]
        elif not rules:
            parser.error(f"{option_string} says more about --when; give that first")
        elif self.dest == "others":
            rules[-1]["others"].append(values)
        else:
            rules[-1][self.dest] = values
        namespace.rules = rules


def add_parser(subparsers: Any, parents: list[argparse.ArgumentParser]) -> None:
    """Add the subcommand `watch`."""
    parser = subparsers.add_parser(
        "watch",
        parents=parents,
        help="ask about a camera, a stream or a film while it runs",
        description="Look at the last seconds of live video again and again. Each answer is one "
        "line of JSON. Runs until the source ends or Ctrl-C.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="what to watch, see below")
    parser.add_argument(
        "--ask",
        action="append",
        dest="questions",
        metavar="QUESTION",
        help=f'what to ask; repeat it (default: "{QUESTION}", if there is no --when)',
    )
    parser.add_argument("--text", action="store_true", help="lines for people instead of JSON")
    parser.add_argument(
        "--srt", type=Path, metavar="FILE", help="write the answers as subtitles too"
    )
    _add_occasion_arguments(parser)
    _add_source_arguments(parser)
    _add_condition_arguments(parser)
    add_generation_arguments(parser)
    add_merge_argument(parser)
    add_model_arguments(parser)
    parser.set_defaults(run=run)


def _add_occasion_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("when to ask")
    group.add_argument(
        "--window",
        type=positive_float,
        default=WINDOW_S,
        metavar="S",
        help="ask about the last so many seconds (default: %(default)g)",
    )
    group.add_argument(
        "--every",
        type=positive_float,
        metavar="S",
        help="ask every so many seconds (default: half a window, or never with --on-change)",
    )
    group.add_argument("--on-change", action="store_true", help="ask when the scene changes")
    group.add_argument(
        "--settle",
        type=positive_float,
        metavar="S",
        help="so long after the change (default: a quarter of a window)",
    )
    group.add_argument(
        "--stop-after", type=positive_float, metavar="S", help="watch for so many seconds"
    )


def _add_source_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("source")
    group.add_argument(
        "--follow",
        action="store_true",
        help="SOURCE is a file that is being written: begin at its end",
    )
    group.add_argument(
        "--wait", action="store_true", help="also wait for a source that is not there yet"
    )
    group.add_argument(
        "--give-up-after",
        type=positive_float,
        metavar="S",
        help="stop trying for a lost source after so long (default: never)",
    )


def _add_condition_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("conditions")

    def add(flag: str, name: str, metavar: str, text: str, kind: Any = str) -> None:
        group.add_argument(
            flag, dest=name, action=_RuleOption, type=kind, metavar=metavar, help=text,
            default=argparse.SUPPRESS,
        )  # fmt: skip

    add("--when", "question", "QUESTION", "look for this in every window; repeat it")
    add("--is", "answer", "ANSWER", "the answer that makes it true")
    add("--not", "others", "ANSWER", "another possible answer; repeat it (yes and no know theirs)")
    add("--run", "command", "CMD", "run this when it has become true")
    add("--sure", "least_probability", "P", "least probability of ANSWER (0.5)", probability)
    add("--for", "windows", "N", "after so many windows in a row (2)", positive_int)
    add("--again-after", "again_after_s", "S", "run again while it stays true", positive_float)


def run(args: argparse.Namespace) -> int:
    """Watch until the source ends, or someone ends it."""
    from mobile_videogpt.serving.live.actions import Action
    from mobile_videogpt.serving.live.subtitles import SubtitleFile
    from mobile_videogpt.video.live.address import find_source

    settings = watch_settings(args)
    for condition in settings.conditions:
        if condition.command is not None:
            Action(condition.command)  # names what is wrong before a model is loaded for nothing
    source = find_source(args.source, is_growing=args.follow)
    srt = None if args.srt is None else SubtitleFile(require_writable_folder(args.srt))
    with contextlib.closing(srt) if srt is not None else contextlib.nullcontext():
        chat = load_chat(args)
        from mobile_videogpt.serving.live.watch import Watch, frame_rate
        from mobile_videogpt.video.live.reader import LiveReader

        reader = LiveReader(
            source,
            frame_rate(chat, settings.window_s),
            chat.config.num_frames,
            is_awaited=args.wait,
            give_up_s=args.give_up_after,
        )
        watch = Watch(chat, reader, settings)
        say(f"watching {source.name}; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt), _terminated_as_interrupted():
            _show(watch.events(), args.text, None if srt is None else _Subtitles(srt, settings))
    say(f"{watch.windows} windows, at most {watch.longest_lag_s:.1f} s behind")
    return 0


def watch_settings(args: argparse.Namespace) -> WatchSettings:
    """The settings that the arguments name.

    Raises:
        ValueError: they contradict each other, or a condition is incomplete.
    """
    from mobile_videogpt.serving.live.settings import WatchSettings

    conditions = tuple(_condition(rule) for rule in getattr(args, "rules", None) or [])
    questions = args.questions or ([] if conditions else [QUESTION])
    every = args.every or (None if args.on_change else args.window / 2)
    if args.settle is not None and not args.on_change:
        raise ValueError("--settle is for --on-change; add that, or leave it out")
    return WatchSettings(
        questions=tuple(require_question(question) for question in questions),
        conditions=conditions,
        window_s=args.window,
        every_s=every,
        on_change=args.on_change,
        settle_s=args.settle,
        stop_after_s=args.stop_after,
        generation=generation_options(args),
    )


def _condition(rule: dict[str, Any]) -> Condition:
    from mobile_videogpt.serving.live.conditions import Condition, other_answers

    if "answer" not in rule:
        raise ValueError(f"--when {rule['question']!r} has no --is; say which answer makes it true")
    others = tuple(rule["others"]) or other_answers(rule["answer"])
    return Condition(**{**rule, "others": others})


class _Subtitles:
    """Makes cues of answers: each covers what was new to its window.

    With several questions, one cue has a line for each.
    """

    def __init__(self, file: SubtitleFile, settings: WatchSettings) -> None:
        self._file = file
        self._questions = len(settings.questions)
        self._lines: list[str] = []
        self._until: float | None = None

    def add(self, event: dict[str, Any]) -> None:
        if event["event"] != "answer":
            return
        text = " ".join(event["answer"].split())
        self._lines.append(text if self._questions == 1 else f"{event['question']} {text}")
        if len(self._lines) < self._questions:
            return
        start = event["start_s"] if self._until is None else max(self._until, event["start_s"])
        self._file.add(start, event["end_s"], "\n".join(self._lines))
        self._until, self._lines = event["end_s"], []


def _show(events: Iterator[dict[str, Any]], as_text: bool, subtitles: _Subtitles | None) -> None:
    with contextlib.closing(events):  # type: ignore[type-var]
        for event in events:
            if subtitles is not None:
                subtitles.add(event)
            answer(event_line(event) if as_text else to_json(event))


def event_line(event: dict[str, Any]) -> str:
    """An event as a person reads it."""
    at = f"{event['seconds']:9.1f} s  "
    kind = event["event"]
    if kind == "answer":
        return f"{at}{event['question']} {event['answer']} ({event['lag_s']:.1f} s behind)"
    if kind == "condition":
        share = f"{100 * event['probability']:.0f} %"
        return f"{at}{event['question']} {event['is']}: {share}"
    if kind == "met":
        done = "" if event["command"] is None else f"; {event['command']}"
        return f"{at}{event['question']} {event['is']}, now true{done}"
    if kind == "lost":
        return f"{at}lost: {event['reason']} Next try in {event['retry_s']:.1f} s."
    return f"{at}{kind}"


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, as a service manager sends it, ends the watching as Ctrl-C does."""
    try:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
