"""How lmms-eval read answers to MLVU, in three eras; a number means little without its era.

* regex (2024-10-27 to 2025-03-15): the first capital A to D anywhere, even inside a word.
* paren (2025-03-16 to 2026-04-10): the character before the first ")", else the whole output. The
  benchmark's own repository does the same.
* head (since 2026-04-11): every sign of a letter is collected, and the strongest one wins.

Only A to D are ever found by regex and head, in the test set with its options A to F too.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .task import MlvuEra

_LETTERS = "ABCD"
_ANY_LETTER = re.compile("[ABCD]")

# The last two are what the harness has: four prefixes, glued in pairs by two missing commas.
_REGEX_ERA_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
)

_EDGE_PUNCTUATION = ",.!?;:'\""
_PHRASES = (
    "the answer is",
    "answer is",
    "the correct answer is",
    "correct answer is",
    "the best answer is",
    "best answer is",
    "the correct option is",
    "correct option is",
    "the best option is",
    "best option is",
    "the choice is",
    "choice is",
    "the correct choice is",
    "correct choice is",
    "i choose",
    "i select",
    "i pick",
    "my answer is",
    "my choice is",
    "옵션",
    "정답은",
    "답은",
    "답:",
    "答案是",
    "答案为",
    "选",
    "答えは",
)
# What follows or surrounds a letter, and how much the harness trusts it.
_SIGNS = (("({})", 6), ("{}.", 5), ("{}:", 4), ("{})", 3), ("{} ", 2))
_PHRASE, _START, _END, _FALLBACK = 7, 10, 9, 0


class _Sign(NamedTuple):
    """A letter found: how much the place says, and where it is; greater is better in both."""

    trust: int
    position: int
    letter: str


def mlvu_answer(output: str, era: MlvuEra) -> str:
    """What the parser of `era` makes of a stripped output; "" for nothing.

    >>> [mlvu_answer("Correct: B", era) for era in ("regex", "paren", "head")]
    ['C', 'Correct: B', 'B']
    """
    if era == "regex":
        return _first_capital(output)
    if era == "paren":
        return _before_parenthesis(output)
    return _strongest_sign(output)


def _first_capital(output: str) -> str:
    for prefix in _REGEX_ERA_PREFIXES:
        output = output.replace(prefix, "")
    letter = _ANY_LETTER.search(output)
    return letter[0] if letter else ""


def _before_parenthesis(output: str) -> str:
    before, parenthesis, _ = output.partition(")")
    return before[-1:] if parenthesis else output


def _strongest_sign(output: str) -> str:
    if not output:
        return ""
    for symbol in _EDGE_PUNCTUATION:
        output = output.strip(symbol)
    text = f" {output} "
    signs = [*_marked(text), *_after_phrases(text), *_at_the_ends(text.strip())]
    if not signs:
        signs = [_Sign(_FALLBACK, text.rfind(x), x) for x in _LETTERS if x in text]
    # max() keeps the first of equals: the harness's order of collection.
    return max(signs, key=lambda sign: sign[:2]).letter if signs else ""


def _marked(text: str) -> list[_Sign]:
    """Each letter with each mark, at its last place."""
    return [
        _Sign(trust, text.rfind(mark.format(letter)), letter)
        for mark, trust in _SIGNS
        for letter in _LETTERS
        if mark.format(letter) in text
    ]


def _after_phrases(text: str) -> list[_Sign]:
    """Each letter at its first place after each phrase."""
    lower = text.lower()
    signs = []
    for phrase in _PHRASES:
        start = lower.find(phrase)
        if start < 0:
            continue
        places = [(text.find(letter, start + len(phrase)), letter) for letter in _LETTERS]
        signs += [_Sign(_PHRASE, place, letter) for place, letter in places if place >= 0]
    return signs


def _at_the_ends(text: str) -> list[_Sign]:
    """The first and the last character, where they are a letter that stands alone."""
    signs = []
    if text[:1] and text[0] in _LETTERS and not text[1:2].isalpha():
        signs.append(_Sign(_START, 0, text[0]))
    if text[-1:] and text[-1] in _LETTERS and not text[-2:-1].isalpha():
        signs.append(_Sign(_END, len(text) - 1, text[-1]))
    return signs
