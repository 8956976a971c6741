"""Answers follow from the script; options are fair; every family can be asked."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from mobile_videogpt.synthetic.captions import ask_caption, ask_objects
from mobile_videogpt.synthetic.motions import Motion
from mobile_videogpt.synthetic.questions import FAMILIES, ask_dialogue, ask_questions
from mobile_videogpt.synthetic.vocabulary import build_tokenizer
from mobile_videogpt.synthetic.world import Background, Clip, Event, Shape, make_clip

BACKDROP = Background("plain", (20, 20, 20), (40, 40, 40))
LEFT = Motion("straight", ((0.0, 0.8, 0.2), (1.0, 0.3, 0.2)), "left", "left")
REST = Motion("still", ((0.0, 0.5, 0.7),))
BOUNCE = Motion("bounce", ((0.0, 0.2, 0.5), (0.5, 0.7, 0.5), (1.0, 0.2, 0.5)), bounces=1)


def answers(*shapes: Shape) -> dict[str, set[str]]:
    """Question text -> answers given over many draws."""
    clip = Clip(0, "test", shapes, BACKDROP)
    found: dict[str, set[str]] = defaultdict(set)
    for seed in range(60):
        for question in ask_questions(clip, np.random.default_rng(seed), per_family=3):
            found[question.text].add(question.answer)
    return found


def test_answers_follow_from_the_script():
    found = answers(
        Shape("red", "circle", "small", LEFT),
        Shape("blue", "square", "large", REST, Event("recolor", 0.5, "green")),
        Shape("white", "star", "small", BOUNCE),
    )
    assert found["Which direction does the red circle move?"] == {"left"}
    assert found["What happens to the blue square?"] == {"it changes color"}
    assert found["What color does the blue square become?"] == {"green"}
    assert found["How many objects move?"] == {"two"}
    assert found["How many times does the white star bounce?"] == {"one"}
    assert found["Is there a red circle?"] == {"yes"}
    # The star bounces to and fro, which is leftward too: the question would have two answers.
    assert "What shape is the object that moves left?" not in found
    assert found["If the red circle were not there, how many objects would move?"] == {"one"}


def test_every_question_has_one_answer_per_clip():
    for seed in range(30):
        clip = make_clip(seed, "test")
        texts: dict[str, str] = {}
        for draw in range(10):
            for question in ask_questions(clip, np.random.default_rng(draw), per_family=3):
                if question.needs_options:
                    continue
                assert texts.setdefault(question.text, question.answer) == question.answer


@pytest.mark.parametrize("seed", range(25))
def test_options_hold_the_answer_once_and_the_letter_points_at_it(seed):
    clip = make_clip(seed)
    for question in ask_questions(clip, np.random.default_rng(seed), per_family=3):
        assert question.options.count(question.answer) == 1
        assert len(set(question.options)) == len(question.options) >= 2
        shown = question.with_options().splitlines()[1 + question.options.index(question.answer)]
        assert shown == f"{question.letter}. {question.answer}"


def test_no_family_has_a_letter_or_an_answer_that_wins_by_itself():
    letters: dict[str, Counter[str]] = defaultdict(Counter)
    given: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(800):
        for question in ask_questions(make_clip(seed, "test"), np.random.default_rng(seed)):
            letters[question.family][question.letter] += 1
            given[question.family][question.answer] += 1
    assert set(given) == set(FAMILIES)
    for family in FAMILIES:
        assert max(given[family].values()) / given[family].total() < 0.6
        assert letters[family]["A"] / letters[family].total() < 0.6


def test_the_tokenizer_knows_every_word():
    tokenizer = build_tokenizer()
    rng = np.random.default_rng(0)
    for seed in range(300):
        clip = make_clip(seed, "test")
        asked = [*ask_questions(clip, rng, 3), ask_caption(clip, rng), ask_objects(clip, rng)]
        dialogue = ask_dialogue(clip, rng)
        for question in [*asked, *([dialogue] if dialogue else [])]:
            for text in (question.with_options(), question.answer, *sum(question.history, ())):
                assert tokenizer.unk_token_id not in tokenizer(text).input_ids, text


def test_the_tokenizer_reads_back_an_answer_and_reads_option_letters():
    tokenizer = build_tokenizer()
    text = "the red circle moves left, the blue star grows."
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    ids = tokenizer("Which?\nA. red\nB. a star").input_ids
    assert tokenizer.convert_ids_to_tokens(ids)[2:5] == ["A.", "red", "B."]
