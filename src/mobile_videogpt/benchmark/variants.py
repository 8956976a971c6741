"""Checkpoints side by side: tokens per second and time to first token, in turns.

What the paper's Table 3 calls throughput: tokens of an answer by all the seconds that it takes,
reading the video included. Small models in one process; big ones are what `bench` is for.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.processor.prompt import end_token_ids
from mobile_videogpt.synthetic.dataset import FRAMES, SIDE
from mobile_videogpt.synthetic.world import make_clip

QUESTION = "Describe the video."
ANSWER_TOKENS = 32  # of every answer, so that a terse model does not look slow or fast


class NoEnd:
    """Keeps an answer from ending: `max_new_tokens` does."""

    def __init__(self, ends: Sequence[int]) -> None:
        self._ends = list(ends)

    def restrict(self, logits: Any) -> None:
        """Rule out the end, in place."""
        logits[:, self._ends] = float("-inf")

    def accept(self, token_id: int) -> None:
        """Nothing to note."""


def time_variants(
    folders: Mapping[str, Path], rounds: int, on_round: Callable[[int], None] = lambda number: None
) -> dict[str, dict[str, float]]:
    """Ask every model about a new clip in each of `rounds` rounds, one after the other.

    Args:
        folders: name -> checkpoint.
        rounds: timed ones; one more comes before them and is not counted.
        on_round: called with the number of each round that is done.

    Returns:
        Name -> medians over rounds: `ttft_s`, `tokens_per_second` (end to end),
        `decode_per_second`, and the spread of the first, `ttft_low_s` and `ttft_high_s`
        (quartiles).
    """
    chats = {name: VideoChat(str(folder), device="cpu") for name, folder in folders.items()}
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in chats}
    for number in range(rounds + 1):
        frames = make_clip(number, "validation").frames(FRAMES, SIDE)
        for name, chat in chats.items():
            answer = _answer(chat, frames)
            if number:
                seen[name].append(answer)
        on_round(number)
    return {name: _medians(runs) for name, runs in seen.items()}


def _answer(chat: VideoChat, frames: Any) -> dict[str, float]:
    config = chat.model.generation_config if chat.model else None
    guide = NoEnd(end_token_ids(chat.processor.tokenizer, config))
    answer = chat.ask(frames, QUESTION, max_new_tokens=ANSWER_TOKENS, guide=guide)
    seconds = answer.timings["total"]
    return {
        "ttft_s": seconds - answer.timings["decode_tokens"],
        "tokens_per_second": answer.tokens["generated"] / seconds,
        "decode_per_second": answer.tokens["per_second"],
    }


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    first = [run["ttft_s"] for run in runs]
    quartiles = statistics.quantiles(first, n=4) if len(first) > 1 else [first[0]] * 3
    return {**medians, "ttft_low_s": quartiles[0], "ttft_high_s": quartiles[2]}
