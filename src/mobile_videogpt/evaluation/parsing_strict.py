"""`--scoring strict`: an answer read the way a careful person would read it, or not at all.

Unlike the harness's rules this one knows the options. It never draws a letter; it takes neither the
article "a" nor a letter inside a word for an option; it believes a letter only if the question has
such an option; it accepts an option's own text; and where an output names several options without
settling on one it reads none. It is the same for every benchmark.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from string import ascii_uppercase

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_MARKERS = re.compile(r"<\|[^|<>]*\|>|</?s>|<(?:eos|bos|pad)>", re.IGNORECASE)
_SPEAKER = re.compile(r"\s*(?:assistant|model|bot)\s*:\s*", re.IGNORECASE)

_OPEN = r"""(?:\\boxed\{|[\s"'“‘`*_(\[{<])*"""
_CLOSE = r"""["'”’`*_)\]}>]*"""
_LETTER = rf"{_OPEN}(?P<letter>[A-Za-z])(?P<close>{_CLOSE})(?![A-Za-z0-9'’])"

_BARE = re.compile(r"[\W_]*(?:\\boxed\{)?(?P<letter>[A-Za-z])[\W_]*")
_LEADING = re.compile(r"""[\s"'`*(\[]*(?P<letter>[A-Za-z])(?:["'`*]*[.):\]](?=\W|$)|["'`*]*\n)""")
_STATEMENT = re.compile(
    r"\b(?:(?:answer|choice|option|one|best|correct|right)"
    r"(?:\s+(?:clearly|probably|therefore|definitely|most\s+likely))?"
    r"(?:\s+(?:is|must\s+be|should\s+be|would\s+be|might\s+be|could\s+be)|\s*[:=])+"
    r"|(?:choose|select|pick|say|go\s+with|going\s+with|vote\s+for))"
    rf"(?:\s+(?:option|choice|answer|letter))?{_LETTER}",
    re.IGNORECASE,
)
_VERDICT = re.compile(
    r"(?<![A-Za-z0-9'’])(?P<letter>[A-Z])(?P<close>[)\]}\"'`*]*)\s+(?:is|seems|looks|must\s+be)\s+"
    r"(?:clearly\s+|probably\s+)?(?:the\s+)?(?:best|correct|right|answer|most|true)\b"
)
_NAMED = re.compile(rf"\b(?:option|choice|answer)\s*{_LETTER}", re.IGNORECASE)
_BRACKETED = re.compile(r"[(\[{]\s*(?P<letter>[A-Za-z])(?P<close>\s*[)\]}])")
_ALONE = re.compile(r"(?<![A-Za-z0-9'’])(?P<letter>[A-Z])(?P<close>)(?![A-Za-z0-9'’])")

# "A man", "C washes": a letter before such a word is an article or a person, unless the word is
# one of these.
_WORD_AFTER = re.compile(
    r"[ \t]+(?!(?:because|since|as|and|or|but|rather|due|not|while|though|which|over)\b)[a-z]"
)
_DENIED_BEFORE = re.compile(
    r"\b(?:not|nor|neither|than|isn't|isn’t|except|unlike)\W*(?:(?:option|choice|answer)\W*)?$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\W*\s(?:is|seems|looks)\s+(?:not|wrong|incorrect|false|impossible|unlikely)\b", re.IGNORECASE
)
_ARTICLES = re.compile(r"^(?:a|an|the) (?=.)")
_ARTICLE_AT_THE_END = re.compile(r" (?:a|an|the)$")


def strict_letter(output: str | None, options: Sequence[str]) -> str | None:
    """The letter of the option that `output` settles on, or None.

    `options` are the bare texts, the first one being A.

    >>> options = ["a red ball", "a blue cube", "a green cone"]
    >>> strict_letter("I'd say (b)", options), strict_letter("A blue cube.", options)
    ('B', 'B')
    >>> print(strict_letter("A man is walking", options))
    None
    """
    text = _tidy(output or "")
    letters = ascii_uppercase[: len(options)]
    whole = _whole_text(text, options)
    bare = _BARE.fullmatch(text)
    if bare and (bare["letter"].isupper() or whole is None):
        return bare["letter"].upper() if bare["letter"].upper() in letters else None
    if whole is not None:
        return letters[whole]
    for stage in (_stated, _leading, _mentioned):
        found = [letter for letter in stage(text, options) if letter in letters]
        if found:
            return found[0] if len(set(found)) == 1 else None
    return _contained_text(text, options, letters)


def _tidy(output: str) -> str:
    """Full-width forms made plain; thinking, chat markers and the speaker's name removed."""
    text = unicodedata.normalize("NFKC", output)
    text = _MARKERS.sub("", _THINKING.sub("", text))
    return _SPEAKER.sub("", text.strip(), count=1) if _SPEAKER.match(text) else text.strip()


def _stated(text: str, options: Sequence[str]) -> Iterator[str]:
    """The letter of the last sentence that says which answer it is."""
    matches = [*_STATEMENT.finditer(text), *_VERDICT.finditer(text)]
    believed = [match for match in matches if _is_option(match, text, options)]
    if believed:
        yield max(believed, key=lambda match: match.start("letter"))["letter"].upper()


def _leading(text: str, options: Sequence[str]) -> Iterator[str]:
    """The label at the beginning ("B. text"), and the others that follow outside its text."""
    match = _LEADING.match(text)
    if not match:
        return
    letter, rest = match["letter"].upper(), text[match.end("letter") :]
    yield letter
    index = ascii_uppercase.index(letter)
    is_own_text = index < len(options) and _words(rest).startswith(_words(options[index]))
    if not is_own_text:
        yield from _mentioned(rest, options)


def _mentioned(text: str, options: Sequence[str]) -> Iterator[str]:
    """Every letter that is named, stands in brackets, or is a capital of its own."""
    for pattern in (_NAMED, _BRACKETED, _ALONE):
        for match in pattern.finditer(text):
            if _is_option(match, text, options):
                yield match["letter"].upper()


def _is_option(match: re.Match[str], text: str, options: Sequence[str]) -> bool:
    """Whether the letter names an option: neither denied, nor an article, nor someone's name."""
    before, after = text[: match.start("letter")], text[match.end("letter") :]
    opening = before.rstrip("\"'`*([{<“‘ ")
    if _DENIED_BEFORE.search(opening) or _DENIED_AFTER.match(after):
        return False
    if match["close"].strip() or match.re is _VERDICT:
        return True
    if match.re is _NAMED and match["letter"] != "a":
        return True
    is_start_of_option = any(
        _words(text[match.start("letter") :]).startswith(_words(option))
        for option in options
        if len(_words(option)) > 1
    )
    return not is_start_of_option and not _WORD_AFTER.match(after)


def _whole_text(text: str, options: Sequence[str]) -> int | None:
    """Index of the first option whose text the output is, articles and punctuation aside."""
    said = _words(text)
    return next((i for i, option in enumerate(options) if said and said == _words(option)), None)


def _contained_text(text: str, options: Sequence[str], letters: str) -> str | None:
    """The one option whose text occurs; an option inside a longer one that occurs is not meant."""
    said = f" {_words(text, keep_article=True)} "
    texts = {letter: _words(option) for letter, option in zip(letters, options, strict=True)}
    found = {
        letter: option
        for letter, option in texts.items()
        if option
        and f" {option} " in said
        and not _DENIED_BEFORE.search(
            _ARTICLE_AT_THE_END.sub("", said[: said.rfind(f" {option} ")])
        )
    }
    longest = [
        letter
        for letter, option in found.items()
        if not any(f" {option} " in f" {other} " for other in found.values() if other != option)
    ]
    return longest[0] if len({found[letter] for letter in longest}) == 1 else None


def _words(text: str, keep_article: bool = False) -> str:
    """Lower-case words with single spaces between them, without the article at the beginning."""
    words = re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return words if keep_article else _ARTICLES.sub("", words)
