"""`--scoring strict`: read with care, never drawn; and what every rule of the harness gives."""

import random
from string import ascii_lowercase, ascii_uppercase

import pytest
from recorded_cases import recorded, scoring_task

from mobile_videogpt.evaluation import aggregate, get_task, parse_answer
from mobile_videogpt.evaluation.parsing import (
    LETTERS,
    egoschema_letter,
    mvbench_label,
    nextqa_letter,
    perceptiontest_index,
)
from mobile_videogpt.evaluation.parsing_mlvu import mlvu_answer
from mobile_videogpt.evaluation.parsing_strict import strict_letter
from mobile_videogpt.evaluation.task import MLVU_ERAS

OPTIONS = [
    "Folded the green towel.",
    "Opened the tin box.",
    "A brass key",
    "the kettle",
    "not sure",
]
BENCHMARKS = ["mvbench", "egoschema", "mlvu", "nextqa", "perceptiontest"]

SAYINGS = [
    "{X}",
    "({X})",
    "{X}.",
    "{X})",
    "({X}",
    "{X}:",
    " {X}\n",
    "**{X}**",
    "`{X}`",
    "[{X}]",
    '"{X}"',
    "\\boxed{{{X}}}",
    "{X}. {text}",
    "({X}) {text}",
    "{X}: {text}",
    "{X}\n{text}",
    "{x}",
    "({x})",
    "{x}. {text}",
    "({x}) {text}",
    "{text}",
    "Answer: {X}",
    "answer: {x}",
    "Answer:{X}",
    "The answer is {X}",
    "The answer is {X}.",
    "The answer is ({X}) {text}",
    "The correct answer is: **{X}**",
    "The best option is ({X}).",
    "Best option: ({X}",
    "Option {X}",
    "option {x}",
    "I choose {X}",
    "I'd say {X}",
    "I'd go with ({x}).",
    "It might be {X}",
    "{X} is the answer",
    "({X}) is correct because the others never happen.",
    "Not {Y}, it is {X}",
    "I pick {X}, not {Y}",
    "I pick {X} rather than {Y}",
    "The answer is not {Y}; the answer is {X}.",
    "Looking at options {Y} and {X}, the best is {X}",
    "Both ({X}) and ({Y}) are possible, but ({X}) is best.",
    "<think>maybe {Y}</think>{X}",
    "<think>{Y}. {X}.</think>\n\nAnswer: {X}<|im_end|>",
    "ASSISTANT: {X}</s>",
    "（{X}）",
    "答案是{X}",
    "3.5 apples, 1,000 people, {X}",
    "Based on the video, I think that it is: {text}",
    '{{"answer": "{X}"}}',
]
SILENCES = [
    "",
    " \n",
    "None of the above",
    "I don't know",
    "a man is walking",
    "A man is walking a dog in the park near the big house.",
    "It is a bee.",
    "The person picks up a cup and then puts it down.",
    "C washes the dish.",
    "c picks the cup.",
    "The DNA is visible here",
    "At 3 a.m. the person leaves.",
    "Z",
    "(F)",
    "The answer is G.",
    "A and B",
    "A/B",
    "A, B, C",
    "A B C D",
    "ABCD",
    "(A) or (B)",
    "neither A nor B",
    "not (C)",
    "<think>A",
]


@pytest.mark.parametrize("saying", SAYINGS)
def test_every_option_is_read_however_it_is_said(saying):
    for right, text in zip(ascii_uppercase, OPTIONS, strict=False):
        for other in LETTERS:
            if other != right:
                said = saying.format(X=right, x=right.lower(), Y=other, text=text)
                assert strict_letter(said, OPTIONS) == right, said


@pytest.mark.parametrize("saying", SILENCES)
def test_what_settles_on_no_option_gives_none(saying):
    assert strict_letter(saying, OPTIONS) is None


def test_text_of_an_option_that_begins_with_an_article_is_not_the_letter_a():
    assert strict_letter("A brass key", OPTIONS) == "C"
    assert strict_letter("The answer is a brass key.", OPTIONS) == "C"
    assert strict_letter("brass key", OPTIONS) == "C"


def test_letter_of_the_camera_wearer_is_not_an_option():
    options = ["C weaves a band.", "C paints the loom.", "C sings."]
    assert strict_letter("C paints the loom.", options) == "B"
    assert strict_letter("In this video, C paints the loom.", options) == "B"
    assert strict_letter("C. C sings.", options) == "C"


def test_letter_inside_the_text_of_the_labelled_option_is_no_second_answer():
    assert strict_letter("B. Vitamin C", ["Vitamin A", "Vitamin C", "none"]) == "B"


def test_option_that_is_part_of_another_is_meant_only_alone():
    options = ["yes", "yes, twice", "no"]
    assert strict_letter("I believe yes, twice", options) == "B"
    assert strict_letter("I believe yes", options) == "A"


def test_options_of_one_letter_are_read_as_text_unless_a_capital_label_is_given():
    options = ["q", "b", "m"]
    assert strict_letter("b", options) == "B"
    assert strict_letter("q", options) == "A"
    assert strict_letter("B", options) == "B"
    assert strict_letter("Q", options) is None


def test_denied_text_is_not_an_answer():
    assert strict_letter("It is surely not the kettle", OPTIONS) is None


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_strict_scoring_never_draws_and_never_leaves_the_options(benchmark):
    document = recorded(f"scoring/{benchmark}")
    for case in document["cases"]:
        item = document["items"][case["item"]]
        task = get_task(scoring_task(benchmark, item), scoring="strict")
        parsed = task.read(item["doc"], case["output"])
        assert not parsed.is_random
        letters = ascii_uppercase[: len(task.options(item["doc"]))]
        assert parsed.value is None or parsed.value in letters


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_strict_scoring_agrees_with_the_harness_on_plain_letters(benchmark):
    document = recorded(f"scoring/{benchmark}")
    for item in document["items"].values():
        task = get_task(scoring_task(benchmark, item), scoring="strict")
        right = task.answer_letter(item["doc"])
        for said in (right, f"({right})", f"{right}.", f"The answer is {right}."):
            prediction = task.parse(item["doc"], said)
            assert prediction == right
            assert task.score(item["doc"], prediction) == 1.0


def test_strict_scoring_can_get_the_options_that_the_harness_cannot():
    row = {
        "question": "q",
        "candidates": ["a", "b", "c", "d", "e", "f"],
        "answer": "E",
        "task_type": "ego",
    }
    harness, strict = get_task("mlvu_test"), get_task("mlvu_test", scoring="strict")
    assert harness.score(row, harness.parse(row, "(E)")) == 0.0
    assert strict.score(row, strict.parse(row, "(E)")) == 1.0


def test_strict_aggregates_count_empty_answers_and_only_kinds_that_were_asked():
    records = [{"output": "B", "prediction": "B", "score": 1}, {"output": "", "score": 0}]
    assert aggregate("mvbench_action_count", records)["value"] == 100
    assert aggregate("mvbench_action_count", records, scoring="strict")["value"] == 50
    kinds = [{"task_type": "ego", "score": 1}, {"task_type": "order", "score": 0}]
    assert aggregate("mlvu_dev", kinds)["value"] == pytest.approx(100 / 7)
    assert aggregate("mlvu_dev", kinds, scoring="strict")["value"] == 50


def test_drawn_letters_depend_on_seed_and_item_only():
    def draw(video, seed):
        row = {"video_idx": video, "option": [f"{letter}. x{letter}" for letter in LETTERS]}
        return parse_answer("egoschema_subset", row, "", seed=seed)

    drawn = [draw(f"u{i}", 0) for i in range(400)]
    assert drawn == [draw(f"u{i}", 0) for i in range(400)]
    assert drawn != [draw(f"u{i}", 1) for i in range(400)]
    for letter in LETTERS:
        assert 50 < drawn.count(letter) < 110  # a fair draw lies outside once in ten thousand


def random_outputs(count, seed=0):
    """Strings that look a little like answers, the same in every run."""
    draw = random.Random(seed)
    pieces = [*"ABCDEFabcdef", " ", "(", ")", ".", ",", ":", "\n", "'", '"', "the answer is ", "x"]
    pieces += ["Option ", "I'd", "1,000", "é", "答案是", "Opened the tin box.", "not ", "-", "3.5"]
    return ["".join(draw.choices(pieces, k=draw.randrange(1, 14))) for _ in range(count)]


@pytest.mark.parametrize(
    "output", ["", "'", "()", ")", "\n", ".", "\x00", "İ", "ß ", "((((", "A" * 5000]
)
def test_no_output_breaks_a_parser(output):
    labelled = [f"{x}. {text}" for x, text in zip(LETTERS, OPTIONS, strict=True)]
    mvbench_label(output), egoschema_letter(output, labelled), nextqa_letter(output, OPTIONS)
    perceptiontest_index(output), strict_letter(output, OPTIONS)
    for era in MLVU_ERAS:
        mlvu_answer(output, era)


def test_parsers_give_only_what_they_can_give():
    labelled = [f"{x}. {text}" for x, text in zip(LETTERS, OPTIONS, strict=True)]
    for output in (said.strip() for said in random_outputs(3000)):
        assert egoschema_letter(output, labelled) in (*LETTERS, None)
        assert nextqa_letter(output, OPTIONS) in (*LETTERS, None)
        assert perceptiontest_index(output) in range(-1, 4)
        assert strict_letter(output, OPTIONS) in (*LETTERS, None)
        assert mlvu_answer(output, "head") in (*"ABCD", "")
        assert mlvu_answer(output, "regex") in (*"ABCD", "")
        paren = mlvu_answer(output, "paren")
        assert paren in output and (len(paren) <= 1 or ")" not in output)
        label = mvbench_label(output)
        assert label in LETTERS or label == label.lower()


def test_harness_letters_come_from_the_output_or_from_an_option_text():
    """Where no capital A to E is written, EgoSchema and NExT-QA can only read option texts."""
    labelled = [f"{x}. {text}" for x, text in zip(LETTERS, OPTIONS, strict=True)]
    for output in (said.strip().lower() for said in random_outputs(2000, seed=1)):
        has_text = any(text.strip().lower() in output for text in OPTIONS)
        if not has_text:
            assert nextqa_letter(output, OPTIONS) is None
            assert egoschema_letter(output, labelled) is None
        assert perceptiontest_index(output) == -1
        assert mlvu_answer(output, "regex") == ""
        assert mlvu_answer(output, "head") == ""


def test_first_letter_wins_in_egoschema_and_last_in_nextqa():
    for first in LETTERS:
        for last in LETTERS:
            said = f"({first}) or ({last})"
            expected_first = first
            assert egoschema_letter(said, [f"{x}. z{x}" for x in LETTERS]) == expected_first
            assert nextqa_letter(said, [f"z{x}" for x in LETTERS]) == last


def test_mvbench_reads_the_first_lone_letter_between_other_words():
    draw = random.Random(3)
    for _ in range(500):
        words = ["".join(draw.choices(ascii_lowercase, k=draw.randrange(2, 6))) for _ in range(6)]
        place, letter = draw.randrange(6), draw.choice("abcdeABCDE")
        said = " ".join([*words[:place], letter, *words[place:]])
        assert mvbench_label(said) == letter.upper(), said
