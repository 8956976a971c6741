"""How lmms-eval reads an answer out of what a model wrote: four benchmarks, four rules.

Each function repeats one rule exactly, flaws included (a lower-case article "a" is option A; a
letter at the end of any capitalised word counts), because published numbers were made with it.
`parsing_mlvu` has MLVU's three rules, `parsing_strict` the one that does it right. Every output
arrives with white space stripped at both ends, as the harness hands it on (see `clean`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

LETTERS = "ABCDE"

_LABELLED_LINE = re.compile(r"([A-E])\.\s*.+", re.IGNORECASE)
_LONE_LETTER = re.compile(r"\b[A-E]\b", re.IGNORECASE)
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_MVBENCH_SYMBOLS = ';/[]"{}()=+\\_-><@`,?!'
_MVBENCH_FULL_STOPS = 32  # the harness deletes this many and no more

_PERCEPTION_LETTER = re.compile(r"\b[A-D]\b")
_EDGE_PUNCTUATION = ",.!?;:'"
_WORDS_OF_A_SENTENCE = 5  # a longer output may be searched for the text of an option


def clean(output: str | None) -> str:
    """The output as the scorers of the harness get it: stripped; nothing at all is ""."""
    return (output or "").strip()


def mvbench_label(output: str) -> str:
    """The capital letter A to E that MVBench's rule finds, or the cleaned text if there is none.

    >>> mvbench_label("(b) the tin box."), mvbench_label("It is a bee."), mvbench_label("The box.")
    ('B', 'A', 'the box')
    """
    labelled = _LABELLED_LINE.fullmatch(output)
    if labelled:
        return labelled[1].upper()
    text = output.replace("\n", " ").replace("\t", " ").strip()
    text = _without_symbols(text)
    for symbol in ("'", '"', ")", "("):
        text = text.strip(symbol)
    text = text.strip().lower()
    letter = _LONE_LETTER.search(text)
    return letter[0].upper() if letter else text


def _without_symbols(text: str) -> str:
    """Symbols next to a space are deleted, others become one; then full stops go."""
    has_number = bool(_DIGIT_COMMA_DIGIT.search(text))
    result = text
    for symbol in _MVBENCH_SYMBOLS:
        is_deleted = has_number or f"{symbol} " in text or f" {symbol}" in text
        result = result.replace(symbol, "" if is_deleted else " ")
    return _FULL_STOP.sub("", result, count=_MVBENCH_FULL_STOPS)


def egoschema_letter(output: str, options: Sequence[str]) -> str | None:
    """The letter that EgoSchema's rule finds (the first one), or None: the harness draws one.

    `options` are the strings of the row, with their "A. " in front.

    >>> egoschema_letter("Not (C), it is D.", ["A. x", "B. y", "C. z", "D. u", "E. v"])
    'C'
    """
    text = _padded(output)
    patterns = [f"({letter})" for letter in LETTERS]
    patterns += [f"{letter} " for letter in LETTERS] + [f"{letter}." for letter in LETTERS]
    found = [(text.rfind(pattern), pattern.strip("(). ")) for pattern in patterns]
    found = [pair for pair in found if pair[0] >= 0] or _option_texts(text, options)
    # min() keeps the first of equals, and the order of collection is the order of the list.
    return min(found, key=lambda pair: pair[0])[1] if found else None


def nextqa_letter(output: str, options: Sequence[str]) -> str | None:
    """The letter that NExT-QA's rule finds (the last one), or None: the harness draws one.

    Only the first kind of sign that occurs is looked at. `options` are the bare texts.

    >>> nextqa_letter("Not (C), it is (D), says B.", ["v", "w", "x", "y", "z"])
    'D'
    """
    text = _padded(output)
    for sign, place in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        letters = [letter for letter in LETTERS if sign.format(letter) in text]
        if letters:
            return max(letters, key=lambda letter: text.rfind(place.format(letter)))
    found = _option_texts(text, options)
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _padded(output: str) -> str:
    """Without punctuation at the ends, one kind after the other, and between two spaces."""
    for symbol in _EDGE_PUNCTUATION:
        output = output.strip(symbol)
    return f" {output} "


def _option_texts(text: str, options: Sequence[str]) -> list[tuple[int, str]]:
    """(last place, letter) of each option whose text occurs in a long enough output."""
    if len(text.split()) <= _WORDS_OF_A_SENTENCE:
        return []
    lower = text.lower()
    places = [lower.rfind(option.strip().lower()) for option in options[: len(LETTERS)]]
    return [(place, LETTERS[i]) for i, place in enumerate(places) if place >= 0]


def perceptiontest_index(output: str) -> int:
    """Index 0 to 3 of the first capital A to D that stands alone, or -1.

    >>> perceptiontest_index("Option (B)"), perceptiontest_index("b")
    (1, -1)
    """
    letter = _PERCEPTION_LETTER.search(output)
    return LETTERS.index(letter[0]) if letter else -1
