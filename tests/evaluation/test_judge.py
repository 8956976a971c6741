"""Open answers: what a judge says of them, and what their words say without one."""

import json
import math
from pathlib import Path

import pytest
from fake_endpoint import in_turn, serve

from mobile_videogpt.evaluation.endpoint import Endpoint, EndpointError
from mobile_videogpt.evaluation.judge import judge_predictions
from mobile_videogpt.evaluation.predictions import Prediction
from mobile_videogpt.evaluation.task import Item, VideoRef, get_task
from mobile_videogpt.evaluation.word_overlap import exact_match, token_overlap, word_scores

RECORDED = Path(__file__).parents[1] / "data" / "evaluation" / "judge" / "activitynetqa.json"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def recorded():
    return json.loads(RECORDED.read_text())


@pytest.fixture(scope="module")
def task():
    return get_task("activitynetqa")


def item(row):
    video = VideoRef(Path(f"v_{row['video_name']}.mp4"))
    return Item(row["question_id"], row, video, row["question"], (), row["answer"])


def prediction(row, output, error=None):
    return Prediction(
        task="activitynetqa",
        id=row["question_id"],
        sub_task=None,
        group=None,
        prompt="",
        output=output,
        prediction=output,
        answer=row["answer"],
        score=None if error is None else 0.0,
        options=(),
        video="v.mp4",
        error=error,
    )


ROWS = [
    {
        "video_name": "made_up",
        "question": f"what is thing {n}",
        "question_id": f"v_made_up_{n}",
        "answer": f"thing {n}",
        "type": "8",
    }
    for n in range(4)
]


def judge(task, server, outputs, tmp_path=None, predictions=None, **settings):
    items = [item(row) for row in ROWS[: len(outputs)]]
    predictions = predictions or [
        prediction(row, output) for row, output in zip(ROWS, outputs, strict=False)
    ]
    settings = {"wait_s": 0.01, "tries": 2, "cache_dir": tmp_path, **settings}
    return judge_predictions(task, items, predictions, Endpoint(server.url, "judge", **settings))


def test_the_recorded_requests_are_what_the_judge_is_sent(task, recorded):
    for case in recorded["requests"]:
        row, said = case["doc"], case["prediction"]
        model = case["request"]["json"]["model"]
        with serve(in_turn("{'pred': 'yes', 'score': 4}")) as server:
            (judged,) = judge_predictions(
                task, [item(row)], [prediction(row, said)], Endpoint(server.url, model)
            )
        assert server.requests == [case["request"]["json"]]
        assert (judged.score, judged.judge) == (1.0, model)
        assert judged.verdict == {"Correctness": "yes", "score": 4}


def test_verdicts_become_scores_in_the_order_of_the_answers(task):
    replies = {
        "0": "{'pred': 'yes', 'score': 5}",
        "1": "{'pred': 'no', 'score': 1}",
        "2": "{'pred': 'maybe', 'score': 2}",
        "3": "{'pred': 'Yes', 'score': 3}",
    }

    def answer(body):
        return replies[body["messages"][1]["content"].split("thing ")[1][0]]

    with serve(answer) as server:
        judged = judge(task, server, ["a", "b", "c", "d"])
    assert [p.score for p in judged] == [1.0, 0.0, None, 1.0]
    assert [p.verdict["score"] for p in judged] == [5, 1, 2, 3]


def test_a_judged_answer_is_not_judged_again_unless_by_another_judge(task, tmp_path):
    with serve(in_turn("{'pred': 'yes', 'score': 5}")) as server:
        judged = judge(task, server, ["a", "b"], tmp_path)
        again = judge(task, server, ["a", "b"], predictions=judged)
        assert again == judged and len(server.requests) == 2
        other = Endpoint(server.url, "stricter judge")
        items = [item(row) for row in ROWS[:2]]
        assert {p.judge for p in judge_predictions(task, items, judged, other)} == {
            "stricter judge"
        }
    assert len(server.requests) == 4


def test_an_answer_without_a_verdict_says_why_and_is_tried_again(task):
    def answer(body):
        return "I cannot say." if "thing 1" in body["messages"][1]["content"] else FINE

    FINE = "{'pred': 'yes', 'score': 5}"
    with serve(answer) as server:
        judged = judge(task, server, ["a", "b", "c"])
        assert len(server.requests) == 4  # the second one twice
    assert [p.score for p in judged] == [1.0, None, 1.0]
    assert "I cannot say" in judged[1].judge_error and judged[0].judge_error is None
    with serve(in_turn(FINE)) as server:
        again = judge(task, server, ["a", "b", "c"], predictions=judged)
        assert len(server.requests) == 1
    assert [p.score for p in again] == [1.0, 1.0, 1.0] and again[1].judge_error is None


def test_an_unreadable_video_is_wrong_without_asking(task):
    predictions = [prediction(ROWS[0], "", error="cannot be read"), prediction(ROWS[1], "b")]
    with serve(in_turn("{'pred': 'yes', 'score': 5}")) as server:
        judged = judge(task, server, ["", "b"], predictions=predictions)
    assert [p.score for p in judged] == [0.0, 1.0] and len(server.requests) == 1


def test_a_judge_that_is_not_there_is_one_sentence(task):
    endpoint = Endpoint("http://127.0.0.1:9/v1", "judge", tries=1)
    with pytest.raises(EndpointError, match="no connection"):
        judge_predictions(task, [item(ROWS[0])], [prediction(ROWS[0], "a")], endpoint)


@pytest.mark.parametrize(
    ("output", "answer", "exact", "overlap"),
    [
        ("The dog.", "dog", 1, 1),
        ("a dog", "A  DOG!", 1, 1),
        ("big dog", "dog", 0, 2 / 3),
        ("dog dog", "dog", 0, 2 / 3),
        ("cat", "dog", 0, 0),
        ("", "dog", 0, 0),
        ("the", "a", 1, 1),
        ("ein Fluß", "EIN FLUSS", 1, 1),
    ],
)
def test_words_are_compared_without_case_articles_and_punctuation(output, answer, exact, overlap):
    assert exact_match(output, answer) == exact
    assert math.isclose(token_overlap(output, answer), overlap)


def test_word_scores_are_means_and_say_that_they_cannot_be_compared():
    answers = [
        prediction(row, said) for row, said in zip(ROWS, ["thing 0", "thing 7"], strict=False)
    ]
    scores = word_scores(answers)
    assert (scores["items"], scores["exact_match"], scores["token_overlap"]) == (2, 50, 75)
    assert scores["comparable"] is False
    assert word_scores([]) is None
