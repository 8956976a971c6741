"""Answers of a given form: one of several choices, or JSON of a schema.

Choices are compared by likelihood, and so is JSON whose every value is one of a few (enumerations,
truth values, constants): nothing is written freely, so nothing can be wrong in form, and any
vocabulary will do. Any other schema guides the decoding token by token (`json_guides`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mobile_videogpt.chat.answers import letter_options
from mobile_videogpt.serving.errors import bad_request

_LARGEST_SCHEMA = 20_000
_LONGEST_CHOICE = 1000
_MOST_CHOICES = 256
_MOST_FIELDS = 64
_DEEPEST = 8
_LETTERS = 26

Score = Callable[[str, Sequence[str]], int]
"""Asks the model: (question, options) -> the position of the likeliest."""


@dataclass(frozen=True)
class Choice:
    """One value that the model chooses."""

    values: tuple[Any, ...]
    texts: tuple[str, ...]
    """How the values are said."""
    question: str | None = None
    """Instead of the user's own."""
    name: str | None = None
    """Of the field, where there are several."""


@dataclass(frozen=True)
class OptionForm:
    """A form that is filled in by comparing options.

    Attributes:
        parts: a `Choice`, or a dictionary of such forms by field.
        is_json: the answer is written as JSON, and not as the choice's own text.
    """

    parts: Any
    is_json: bool

    def fill_in(self, question: str, score: Score) -> str:
        """The answer's text."""
        value = _fill(self.parts, question, score, self._count() > 1)
        return json.dumps(value, ensure_ascii=False) if self.is_json else str(value)

    def _count(self) -> int:
        return sum(1 for _ in _choices(self.parts))


def choice_form(choices: Sequence[str]) -> OptionForm:
    """One of several texts.

    Raises:
        ApiError: there are none or too many, an empty or a long one, or one twice.
    """
    if not 1 <= len(choices) <= _MOST_CHOICES:
        raise bad_request(
            f"there are {len(choices)} choices: give 1 to {_MOST_CHOICES}", "response_format"
        )
    if not all(text.strip() for text in choices) or len(set(choices)) < len(choices):
        raise bad_request("a choice is empty or there twice: give each once", "response_format")
    if max(map(len, choices)) > _LONGEST_CHOICE:
        raise bad_request(
            f"a choice has more than {_LONGEST_CHOICE} characters: make it shorter",
            "response_format",
        )
    return OptionForm(Choice(tuple(choices), tuple(choices)), is_json=False)


def option_form(schema: Mapping[str, Any]) -> OptionForm | None:
    """A form for a JSON schema of few values, None for any other schema.

    A field's `description` is asked as its question; without one the user's question is, with the
    field's name.
    """
    parts = _read(schema, None, 0)
    if parts is None or not 1 <= sum(1 for _ in _choices(parts)) <= _MOST_FIELDS:
        return None
    return OptionForm(parts, is_json=True)


def check_schema(schema: Any) -> None:
    """Refuse what would take too long to work with.

    Raises:
        ApiError: the schema is no object, too large or too deep.
    """
    if not isinstance(schema, Mapping):
        raise bad_request("the schema must be an object", "response_format")
    try:
        length = len(json.dumps(schema))
    except RecursionError:
        raise bad_request("the schema is nested too deeply", "response_format") from None
    if length > _LARGEST_SCHEMA:
        raise bad_request(
            f"the schema takes more than {_LARGEST_SCHEMA} characters: make it smaller",
            "response_format",
        )


def _read(schema: Any, name: str | None, depth: int) -> Any:
    """A `Choice`, a dictionary of fields, or None for what is neither."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    question = schema.get("description")
    question = question if isinstance(question, str) and question.strip() else None
    values = _values(schema)
    if values is not None:
        texts = tuple(_said(value) for value in values)
        is_clear = len(set(texts)) == len(texts)
        is_clear &= all(text.strip() and len(text) <= _LONGEST_CHOICE for text in texts)
        return Choice(tuple(values), texts, question, name) if is_clear else None
    if schema.get("type") != "object" or set(schema) & {"anyOf", "oneOf", "allOf", "not", "if"}:
        return None
    fields = schema.get("properties")
    if not isinstance(fields, Mapping) or not fields:
        return None
    if set(schema.get("required") or []) - set(fields):
        return None
    parts = {str(key): _read(value, str(key), depth + 1) for key, value in fields.items()}
    return None if None in parts.values() else parts


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    if isinstance(values, list) and 0 < len(values) <= _MOST_CHOICES:
        return values
    return [True, False] if schema.get("type") == "boolean" else None


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _choices(parts: Any) -> Iterator[Choice]:
    if isinstance(parts, Choice):
        yield parts
        return
    for part in parts.values():
        yield from _choices(part)


def _fill(parts: Any, question: str, score: Score, is_one_of_several: bool) -> Any:
    if isinstance(parts, dict):
        return {key: _fill(part, question, score, is_one_of_several) for key, part in parts.items()}
    choice: Choice = parts
    if len(choice.values) == 1:
        return choice.values[0]
    asked = choice.question
    if asked is None:
        asked = f"{question}\n{choice.name}:" if is_one_of_several and choice.name else question
    if len(choice.texts) <= _LETTERS:
        asked = letter_options(asked, choice.texts)
    return choice.values[score(asked, choice.texts)]
