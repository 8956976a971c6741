"""The fixed test set as a task: asked by its letters, answered by a letter or by the words."""

import pytest

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.chat.answers import letter_options
from mobile_videogpt.evaluation import aggregate, build_prompt, get_task, parse_answer
from mobile_videogpt.evaluation.runner import answer_items
from mobile_videogpt.synthetic.test_set import draw_questions, read_rows, write_test_set

TASK = "moving-shapes-test"


@pytest.fixture(scope="module")
def items():
    return get_task(TASK).items("")


def test_items_are_the_questions_of_the_set(items):
    assert [item.id for item in items] == [fixed.id for fixed in draw_questions()]
    assert all(item.options[ord(item.answer) - ord("A")] for item in items)
    assert [i.id for i in get_task(TASK).first_items("", 3)] == [i.id for i in items[:3]]
    assert get_task(TASK, seed=5).items("")[0] == items[0]


def test_the_prompt_letters_the_options_as_multiple_choice_does(items):
    for item in items[:20]:
        assert build_prompt(TASK, item.row) == letter_options(item.question, item.options)


@pytest.mark.parametrize("said", ["B", "b)", "(B) the second", "Answer: B", "SECOND option", "B."])
def test_an_answer_counts_by_its_letter_or_by_the_words(said):
    row = {"family": "f", "question": "?", "options": ["first option", "second option", "none"]}
    row |= {"answer": "B"}
    said = said.replace("the second", "second option")
    assert parse_answer(TASK, row, said) == "B"
    assert get_task(TASK).score(row, "B") == 1.0 and get_task(TASK).score(row, None) == 0.0


def test_a_sentence_with_an_article_names_no_option():
    row = {"family": "f", "question": "?", "options": ["left", "right"], "answer": "A"}
    assert parse_answer(TASK, row, "I see a circle.") is None


def test_the_score_is_the_mean_over_the_families(items):
    rows = [{"row": item.row, "output": item.answer} for item in items]
    result = aggregate(TASK, rows)
    assert result["value"] == 100.0 and result["items"] == len(items) == 1800
    result = aggregate(TASK, [(item.row, "A") for item in items])
    right = sum(item.answer == "A" for item in items)
    assert result["value"] == pytest.approx(100 * right / len(items))
    assert len(result["by_sub_task"]) == 9
    few = [(item.row, item.answer) for item in items[:4]] + [(items[4].row, "Z")]
    families = aggregate(TASK, few)["by_sub_task"]
    shares = [row["value"] for row in families.values()]
    assert aggregate(TASK, few)["value"] == pytest.approx(sum(shares) / len(shares))


def test_the_clip_as_asked_about_is_the_clip_in_the_file(items, tmp_path):
    chat = VideoChat("moving-shapes", device="cpu")
    folder = write_test_set(tmp_path / "set", limit=6)
    painted = [p.output for p in answer_items(chat, get_task(TASK), items[:6], is_blind=False)]
    read = [
        str(chat.ask(folder / row["video"], build_prompt(TASK, row), max_new_tokens=16))
        for row in read_rows(folder)
    ]
    assert painted == read
