"""Merging image tokens over time beside dropping frames: accuracy, tokens, time to first token.

    python benchmarks/record.py benchmarks/results/token-merging.json -- \\
        python benchmarks/token_merging.py --questions 2400
    python benchmarks/record.py benchmarks/results/token-merging-speed.json -- \\
        python benchmarks/token_merging.py --speed 0.5b
    python benchmarks/token_merging_page.py

The built-in model answers the same MovingShapes questions with fewer and fewer image tokens: merged
over time, or, at exactly as many tokens, those of evenly spaced frames only. Frames are dropped in
two ways: as is usual, so that what remains closes up; and with the half of the method that
matters most lent to it, what remains keeping its position. Beside the accuracy stands how far the
options' probabilities move from those with all tokens, which tells methods apart on fewer
questions. Accuracy needs trained weights, speed does not: `--speed` times the full size with random
ones. Progress goes to stderr.
"""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mobile_videogpt.chat import EncodedVideo, VideoChat
from mobile_videogpt.evaluation.moving_shapes import EXTRAS, Result, report
from mobile_videogpt.models.frame_selection import uniform_frames
from mobile_videogpt.models.token_merging import merge_visual_tokens
from mobile_videogpt.synthetic.dataset import FRAMES, SIDE, clip_number, clip_questions, write_clip
from mobile_videogpt.synthetic.questions import LETTERS, Question
from mobile_videogpt.synthetic.world import make_clip

# Whole frames can be dropped at these only: the built-in model looks at 16.
RATIOS = (0.875, 0.75, 0.5, 0.375, 0.25, 0.125)
MERGED, DROPPED, IN_PLACE = "merged", "frames dropped", "frames dropped, positions kept"

Reduction = Callable[[EncodedVideo], EncodedVideo]


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print what was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, metavar="N", help="ask N about unseen clips")
    parser.add_argument("--seed", type=int, default=7, help="which unseen clips")
    parser.add_argument("--speed", metavar="PRESET", help="time this preset, random weights")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs at every ratio")
    args = parser.parse_args(arguments)
    if args.questions:
        print(json.dumps(measure_accuracy(args.questions, args.seed), indent=2))
    if args.speed:
        print(json.dumps(measure_speed(args.speed, args.rounds), indent=2))
    return 0


def merged(chat: VideoChat, keep: float) -> Reduction:
    """Merge over time, as `VideoChat(merge_tokens=keep)` does."""
    config = chat.config

    def reduce(video: EncodedVideo) -> EncodedVideo:
        embeds, places = merge_visual_tokens(
            video.visual_embeds, config.num_frames, config.num_image_tokens, keep
        )
        kept = tuple(places.tolist())
        return replace(video, visual_embeds=embeds, places=kept, prefix=None, key="")

    return reduce


def frames_dropped(chat: VideoChat, keep: float, in_place: bool) -> Reduction:
    """Keep the image tokens of evenly spaced frames, all of a frame's or none.

    Args:
        chat: whose model it is for.
        keep: share of the frames.
        in_place: what remains keeps its position, instead of closing up.
    """
    config = chat.config
    per_frame = config.num_image_tokens // config.num_frames
    frames = uniform_frames(config.num_frames, round(config.num_frames * keep))
    places = [frame * per_frame + place for frame in frames for place in range(per_frame)]
    places += range(config.num_image_tokens, config.num_visual_tokens)

    def reduce(video: EncodedVideo) -> EncodedVideo:
        embeds = video.visual_embeds[:, places]
        kept = tuple(places if in_place else range(len(places)))
        return replace(video, visual_embeds=embeds, places=kept, prefix=None, key="")

    return reduce


def reductions(chat: VideoChat) -> dict[tuple[str, float], Reduction]:
    """(method, share of the image tokens) -> what makes a video so small."""
    found: dict[tuple[str, float], Reduction] = {("all", 1.0): lambda video: video}
    for keep in RATIOS:
        found[MERGED, keep] = merged(chat, keep)
        found[DROPPED, keep] = frames_dropped(chat, keep, in_place=False)
        found[IN_PLACE, keep] = frames_dropped(chat, keep, in_place=True)
    return found


def measure_accuracy(num_questions: int, seed: int) -> dict[str, Any]:
    """Ask all questions in every setting; a clip is encoded once for all of them."""
    chat = VideoChat("moving-shapes", engine="torch", dtype="float32")
    settings = reductions(chat)
    results: dict[tuple[str, float], list[Result]] = defaultdict(list)
    odds: dict[tuple[str, float], list[tuple[float, ...]]] = defaultdict(list)
    clip_of: list[int] = []
    start = time.perf_counter()
    for number, frames, questions in _clips(num_questions, seed):
        video = chat.open(frames)
        for setting, reduce in settings.items():
            smaller = reduce(video)
            for question in questions:
                result, probabilities = _ask(chat, smaller, question)
                results[setting].append(result)
                odds[setting].append(probabilities)
        clip_of += [number] * len(questions)
        if number % 10 == 9:
            seconds = time.perf_counter() - start
            print(f"{len(clip_of)} questions, {seconds:.0f} s", file=sys.stderr, flush=True)
    points = [
        {**_point(chat, *setting, results[setting]), **_closeness(odds[setting], odds["all", 1.0])}
        for setting in settings
    ]
    comparison = [
        {
            "than": other,
            "keep": keep,
            **_compare(results[MERGED, keep], results[other, keep], clip_of),
            **_compare_odds(odds[MERGED, keep], odds[other, keep], odds["all", 1.0], clip_of),
        }
        for other in (DROPPED, IN_PLACE)
        for keep in RATIOS
    ]
    return {
        "model": "moving-shapes",
        "seed": seed,
        "questions": len(clip_of),
        "points": points,
        "merged_minus_other": comparison,
    }


def _clips(num_questions: int, seed: int) -> Iterator[tuple[int, Any, list[Question]]]:
    asked = index = 0
    while asked < num_questions:
        clip = make_clip(clip_number(seed, index), "test")
        questions = [q for q in clip_questions(clip) if q.family not in EXTRAS and q.options]
        questions = questions[: num_questions - asked]
        yield index, clip.frames(FRAMES, SIDE), questions
        asked += len(questions)
        index += 1


def _ask(
    chat: VideoChat, video: EncodedVideo, question: Question
) -> tuple[Result, tuple[float, ...]]:
    answer = chat.ask(video, question.open_text, history=question.history, max_new_tokens=64)
    scores = chat.choose(video, question.text, question.options, history=question.history)
    letter = LETTERS[max(range(len(scores)), key=lambda i: scores[i].sum)]
    result = Result(question, answer.text.strip(), letter, None, False)
    return result, tuple(scores.probabilities)


Odds = list[tuple[float, ...]]


def _moved(odds: Odds, exact: Odds) -> list[float]:
    """How much probability sits on other options than with all tokens, 0 to 1, per question."""
    return [
        sum(abs(a - b) for a, b in zip(row, reference, strict=True)) / 2
        for row, reference in zip(odds, exact, strict=True)
    ]


def _closeness(odds: Odds, exact: Odds) -> dict[str, float]:
    same = [
        row.index(max(row)) == reference.index(max(reference))
        for row, reference in zip(odds, exact, strict=True)
    ]
    return {
        "same_option": round(statistics.fmean(same), 4),
        "probability_moved": round(statistics.fmean(_moved(odds, exact)), 4),
    }


def _compare_odds(ours: Odds, theirs: Odds, exact: Odds, clip_of: list[int]) -> dict[str, float]:
    pairs = zip(_moved(ours, exact), _moved(theirs, exact), strict=True)
    differences = [a - b for a, b in pairs]
    return {
        "probability_moved": round(statistics.fmean(differences), 5),
        "probability_moved_standard_error": round(_standard_error(differences, clip_of), 5),
    }


def _standard_error(differences: Sequence[float], clip_of: list[int]) -> float:
    """Of the mean over questions; questions about one clip count as one draw."""
    mean = statistics.fmean(differences)
    by_clip: dict[int, float] = defaultdict(float)
    for clip, difference in zip(clip_of, differences, strict=True):
        by_clip[clip] += difference - mean
    return sum(value * value for value in by_clip.values()) ** 0.5 / len(differences)


def _point(chat: VideoChat, method: str, keep: float, results: list[Result]) -> dict[str, Any]:
    summary = report(results)
    image_tokens = round(chat.config.num_image_tokens * keep)
    return {
        "method": method,
        "keep": keep,
        "image_tokens": image_tokens,
        "visual_tokens": image_tokens + chat.config.num_video_tokens,
        "multiple_choice_accuracy": summary["multiple_choice_accuracy"],
        "open_accuracy": summary["open_accuracy"],
        "families": {name: row["multiple_choice"] for name, row in summary["families"].items()},
    }


def _compare(ours: list[Result], theirs: list[Result], clip_of: list[int]) -> dict[str, float]:
    """Mean difference over questions in points, and its standard error over clips."""
    measures = {
        "multiple_choice": lambda r: r.letter == r.question.letter,
        "open": lambda r: r.open_answer.casefold() == r.question.answer.casefold(),
    }
    found = {}
    for name, is_right in measures.items():
        differences = [is_right(a) - is_right(b) for a, b in zip(ours, theirs, strict=True)]
        spread = _standard_error(differences, clip_of)
        found[f"{name}_points"] = round(100 * statistics.fmean(differences), 2)
        found[f"{name}_standard_error"] = round(100 * spread, 2)
    return found


def measure_speed(preset: str, rounds: int) -> dict[str, Any]:
    """Seconds from the clip to the first token at every ratio, in alternation."""
    from tempfile import TemporaryDirectory

    from mobile_videogpt.benchmark.stand_in import random_checkpoint

    chat = VideoChat(str(random_checkpoint(preset)))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(make_clip(0), path)
        chat.ask(path, "What happens?", max_new_tokens=1)  # warms up
        chat.forget()
        video = chat.open(path)
    opening_s = video.timings["total"]
    ratios = (1.0, *RATIOS)
    seconds: dict[float, list[float]] = defaultdict(list)
    tokens = {}
    for _ in range(rounds):
        for keep in ratios:
            start = time.perf_counter()
            smaller = merged(chat, keep)(video) if keep < 1 else replace(video, prefix=None)
            tokens[keep] = smaller.num_visual_tokens
            chat.ask(smaller, "What happens?", max_new_tokens=1)
            seconds[keep].append(time.perf_counter() - start)
            print(f"keep {keep}: {seconds[keep][-1]:.2f} s", file=sys.stderr, flush=True)
    points = [
        {
            "keep": keep,
            "visual_tokens": tokens[keep],
            "prefill_s": round(statistics.median(seconds[keep]), 3),
            "ttft_s": round(opening_s + statistics.median(seconds[keep]), 3),
        }
        for keep in ratios
    ]
    return {
        "preset": preset,
        "engine": type(chat.engine).__name__,
        "threads": torch.get_num_threads(),
        "opening_s": round(opening_s, 3),
        "points": points,
    }


if __name__ == "__main__":
    sys.exit(main())
