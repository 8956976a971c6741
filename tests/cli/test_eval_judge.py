"""`eval activitynetqa`: answers first, then the judge, who may be late, absent or replaced."""

import json

import pytest
from fake_endpoint import in_turn, serve

from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.dataset import write_clip

FINE = "{'pred': 'yes', 'score': 4}"
NUMBER = 3


@pytest.fixture(autouse=True)
def chat(lively_chat, monkeypatch):
    """Every `VideoChat` that a command makes is this one; no charts, no proxy."""
    monkeypatch.setattr("mobile_videogpt.chat.VideoChat", lambda *args, **options: lively_chat)
    monkeypatch.setattr("mobile_videogpt.evaluation.report._add_charts", lambda report: {})
    monkeypatch.setattr("mobile_videogpt.evaluation.endpoint.time.sleep", lambda seconds: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "activitynetqa"
    (folder / "all_test").mkdir(parents=True)
    write_clip(make_clip(4), folder / "all_test" / "v_made_up_one.mp4")
    ids = [f"v_made_up_one_{n}" for n in range(NUMBER)]
    questions = [
        {"video_name": "made_up_one", "question": f"what is thing {n}", "question_id": name}
        for n, name in enumerate(ids)
    ]
    answers = [{"answer": f"thing {n}", "type": n, "question_id": k} for n, k in enumerate(ids)]
    (folder / "test_q.json").write_text(json.dumps(questions))
    (folder / "test_a.json").write_text(json.dumps(answers))
    return folder.parent


@pytest.fixture
def evaluate(run, data_dir, tmp_path):
    def evaluate_with(*options):
        return run(
            "eval", "activitynetqa", "--data-dir", data_dir, "--output", tmp_path / "run", *options
        )

    return evaluate_with


def judging(server, model="judge"):
    return ("--judge-url", server.url, "--judge-model", model)


def scores(tmp_path):
    lines = (tmp_path / "run" / "activitynetqa" / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line)["score"] for line in lines]


def test_without_a_judge_words_are_compared_and_labelled(evaluate, tmp_path):
    code, out, err = evaluate()
    assert code == 0 and "not comparable" in err and "report.md" in out
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    (benchmark,) = report["benchmarks"]
    assert benchmark["words"]["items"] == NUMBER and benchmark["words"]["comparable"] is False
    assert benchmark["overall"]["accuracy"] is None
    assert scores(tmp_path) == [None] * NUMBER


def test_a_judge_may_come_later_and_is_asked_once_about_each_answer(
    evaluate, tmp_path, monkeypatch
):
    evaluate()
    monkeypatch.setattr(
        "mobile_videogpt.evaluation.run.answer_items", lambda chat, task, items, **o: iter(items)
    )
    with serve(in_turn(FINE, "{'pred': 'no', 'score': 1}", FINE)) as server:
        code, _, err = evaluate(*judging(server), "--judge-concurrency", 1)
        assert code == 0 and "judged by judge: 3 questions, 66.7 % right" in err
        assert scores(tmp_path) == [1.0, 0.0, 1.0]
        code, _, err = evaluate(*judging(server))
        assert code == 0 and "not comparable" not in err and "judged by" not in err
        assert evaluate()[0] == 0
        assert len(server.requests) == NUMBER
        assert scores(tmp_path) == [1.0, 0.0, 1.0]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["judge"] == "judge"
    assert len(list((tmp_path / "run" / "activitynetqa" / "judge-cache").rglob("*.json"))) == NUMBER


def test_answers_without_a_verdict_end_in_failure_and_are_judged_by_the_next_run(
    evaluate, tmp_path
):
    def stubborn(body):
        return "no idea" if "thing 1" in body["messages"][1]["content"] else FINE

    with serve(stubborn) as server:
        code, out, err = evaluate(*judging(server))
    assert code == 1 and "1 answers have no verdict" in err and "report.md" in out
    assert scores(tmp_path) == [1.0, None, 1.0]
    with serve(in_turn(FINE)) as server:
        assert evaluate(*judging(server))[0] == 0
        assert len(server.requests) == 1
    assert scores(tmp_path) == [1.0] * NUMBER


def test_a_judge_that_refuses_costs_the_verdicts_but_not_the_answers(evaluate, tmp_path):
    with serve(in_turn((401, {"error": "who are you"}))) as server:
        code, out, err = evaluate(*judging(server))
    assert code == 1 and "OPENAI_API_KEY" in err and "report.md" in out
    assert scores(tmp_path) == [None] * NUMBER


def test_the_harnesss_judge_is_asked_unless_another_is_named(evaluate, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "secret")
    with serve(in_turn(FINE)) as server:
        evaluate("--judge-url", server.url, "--judge-key-variable", "JUDGE_KEY")
    assert {body["model"] for body in server.requests} == {"gpt-4o-2024-11-20"}
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer secret"}
