"""Open answers without a judge: are they the true words, and how many words do they share?

Numbers that no published ones can be compared with: "a boat" is half right where "canoe" is meant
and a judge would say yes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from .predictions import Prediction

_ARTICLES = frozenset({"a", "an", "the"})
_WORDS = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Lower-case words without articles and punctuation."""
    return [word for word in _WORDS.findall(text.casefold()) if word not in _ARTICLES]


def exact_match(output: str, answer: str) -> float:
    """1 where both are the same words, else 0.

    >>> exact_match("The dog.", "dog"), exact_match("a big dog", "dog")
    (1.0, 0.0)
    """
    return float(words_of(output) == words_of(answer))


def token_overlap(output: str, answer: str) -> float:
    """F1 of the words that both share, 0 to 1.

    >>> round(token_overlap("a big dog", "the dog"), 3)
    0.667
    """
    said, meant = Counter(words_of(output)), Counter(words_of(answer))
    if not said or not meant:
        return float(said == meant)
    return 2 * (said & meant).total() / (said.total() + meant.total())


def word_scores(predictions: Iterable[Prediction]) -> dict[str, Any] | None:
    """Both means over the open answers, in percent, labelled; None where there are none."""
    pairs = [(p.output, p.answer) for p in predictions if not p.options and p.answer is not None]
    if not pairs:
        return None
    return {
        "items": len(pairs),
        "exact_match": 100 * sum(exact_match(*pair) for pair in pairs) / len(pairs),
        "token_overlap": 100 * sum(token_overlap(*pair) for pair in pairs) / len(pairs),
        "unit": "percent",
        "comparable": False,
    }
