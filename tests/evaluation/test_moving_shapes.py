"""The benchmark's own arithmetic, and one run over real files with random weights."""

import pytest

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.chat.answers import letter_options
from mobile_videogpt.evaluation.moving_shapes import Result, report, run_questions
from mobile_videogpt.synthetic.questions import FAMILIES, Question


def result(answer: str, given: str, letter: str | None, family: str = "moving_count") -> Result:
    question = Question(family, "How many?", answer, ("one", "two"))
    return Result(question, given, letter, "A", is_file=False)


def test_accuracies_are_means_over_families():
    results = [
        result("one", "one", "A"),
        result("one", "two", "B"),
        result("two", "Two", "B", family="state_change"),
    ]
    summary = report(results)
    assert summary["families"]["moving_count"]["multiple_choice"] == 0.5
    assert summary["families"]["moving_count"]["majority"] == 1.0
    assert summary["families"]["moving_count"]["chance"] == 0.5
    assert summary["families"]["moving_count"]["blind"] == 1.0
    assert summary["multiple_choice_accuracy"] == 0.75
    assert summary["open_accuracy"] == 0.75
    assert summary["questions"] == 3


def test_dialogues_and_descriptions_are_reported_outside_the_means():
    extra = Result(Question("description", "Describe.", "a.", ()), "a.", None, None, False)
    summary = report([result("one", "two", "B"), extra])
    assert summary["questions"] == 1
    assert summary["extras"] == {"description": {"open": 1.0, "n": 1}}
    assert summary["open_accuracy"] == 0.0


def test_multiple_choice_is_asked_as_training_asked_it():
    question = Question("moving_count", "How many?", "one", ("one", "two"))
    assert letter_options(question.text, question.options) == question.with_options()


@pytest.fixture(scope="module")
def results():
    return list(run_questions(VideoChat.random("moving-shapes"), seed=1, limit=10))


def test_a_run_asks_as_many_questions_as_told_through_real_files(results):
    counted = [r for r in results if r.question.family in FAMILIES]
    assert len(counted) == 10
    assert all(r.is_file for r in results)
    assert all(r.letter in "ABCDE" and r.blind_letter in "ABCDE" for r in counted)


def test_a_run_is_repeatable(results):
    again = list(run_questions(VideoChat.random("moving-shapes"), seed=1, limit=10))
    assert [(r.question, r.open_answer, r.letter) for r in again] == [
        (r.question, r.open_answer, r.letter) for r in results
    ]
