"""`mobile-videogpt eval --endpoint`: a model behind an address gets the same report as ours."""

import json
import os

import pytest
from fake_endpoint import serve

from mobile_videogpt.cli.main import main
from mobile_videogpt.evaluation.task import get_task

TASK = "moving-shapes-test"
ITEMS = get_task(TASK).first_items("", 6)
RIGHT = {item.question: item.answer for item in ITEMS}


def know_all(body):
    """Right whenever there is something to see, "A" otherwise."""
    *shown, text = body["messages"][0]["content"]
    return RIGHT[text["text"].splitlines()[0]] if shown else "A"


def evaluate(server, output, *options, name=TASK):
    words = ["eval", name, "--endpoint", server.url, "--endpoint-model", "oracle"]
    return main([*words, "--limit", "6", "--output", str(output), *options])


def test_a_report_about_another_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "secret-word")
    out = tmp_path / "run"
    with serve(know_all) as server:
        code = evaluate(server, out, "--endpoint-key-variable", "SOME_KEY", "--json")
        assert server.headers[0]["Authorization"] == "Bearer secret-word"
        assert len(server.requests) == 12  # with and without the video
    assert code == 0
    report = json.loads(capsys.readouterr().out)
    (benchmark,) = report["benchmarks"]
    assert benchmark["harness"]["value"] == 100.0
    assert benchmark["overall"]["blind"] == sum(a == "A" for a in RIGHT.values()) / 6
    assert report["run"]["model"] == "oracle" and report["run"]["engine"] == "endpoint"
    assert report["run"]["remote"]["frames"] == 16
    assert "oracle" in (out / "report.md").read_text()
    everything = "".join(p.read_text("latin-1") for p in out.rglob("*") if p.is_file())
    assert "secret-word" not in everything


def test_an_interrupted_run_asks_what_is_left(tmp_path):
    out = tmp_path / "run"
    with serve(know_all) as server:
        assert evaluate(server, out, "--no-blind") == 0
        path = out / TASK / "predictions.jsonl"
        whole = path.read_text()
        path.write_text("".join(whole.splitlines(keepends=True)[:2]))
        asked = len(server.requests)
        assert evaluate(server, out, "--no-blind") == 0
        assert len(server.requests) == asked + 4
        assert path.read_text() == whole


def test_another_way_of_asking_is_another_run(tmp_path, capsys):
    out = tmp_path / "run"
    with serve(know_all) as server:
        assert evaluate(server, out, "--no-blind") == 0
        assert evaluate(server, out, "--no-blind", "--endpoint-frames", "8") == 1
    assert "was made with remote" in capsys.readouterr().err


def test_moving_shapes_means_the_fixed_questions(tmp_path):
    with serve(know_all) as server:
        assert evaluate(server, tmp_path / "run", "--no-blind", name="moving-shapes") == 0
    assert (tmp_path / "run" / TASK / "predictions.jsonl").exists()


def test_each_option_reaches_the_request(tmp_path):
    options = ["--endpoint-instruction", "", "--endpoint-max-tokens", "5", "--no-blind"]
    options += ["--endpoint-body", '{"temperature": null, "seed": 3}', "--endpoint-media", "video"]
    with serve(know_all) as server:
        assert evaluate(server, tmp_path / "run", *options) == 0
        body = server.requests[0]
    assert body["max_tokens"] == 5 and body["seed"] == 3 and "temperature" not in body
    assert [part["type"] for part in body["messages"][0]["content"]] == ["video_url", "text"]
    asked = body["messages"][0]["content"][1]["text"]
    assert asked in [get_task(TASK).prompt(item.row) for item in ITEMS]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--endpoint", "http://localhost:1/v1"], "needs --endpoint-model"),
        (["--endpoint-model", "m"], "needs --endpoint,"),
        (["--endpoint", "localhost", "--endpoint-model", "m"], "'localhost' is no address"),
        (
            ["--endpoint", "http://x", "--endpoint-model", "m", "--answer-by", "likelihood"],
            "only writes",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, capsys, options, said):
    assert main(["eval", TASK, *options, "--output", str(tmp_path / "run")]) == 1
    assert said in capsys.readouterr().err
    assert not os.listdir(tmp_path)


def test_a_body_that_is_no_object_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["eval", TASK, "--endpoint-body", "[1]"])
    assert stop.value.code == 2 and "is no JSON object" in capsys.readouterr().err
