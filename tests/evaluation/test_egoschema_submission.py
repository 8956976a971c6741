"""The full set's submission: the file, and the server that answers, fails, or sleeps."""

import json
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from recorded_cases import fixture, recorded

from mobile_videogpt.evaluation import get_task
from mobile_videogpt.evaluation.egoschema_submission import (
    SubmissionError,
    submit,
    write_submission,
)

CASES = recorded("egoschema_submission")["head"]
ANSWERS = CASES[0]["first_post"]["json"]


class Server:
    """Gives the recorded replies in order and keeps what it was sent."""

    def __init__(self, replies):
        self.replies, self.posts, self.sleeps = list(replies), [], []

    def post(self, url, body, headers, timeout_s):
        sent = {"url": url, "headers": dict(headers), "json": json.loads(body)}
        self.posts.append({**sent, "timeout": timeout_s})
        reply = self.replies.pop(0)
        if isinstance(reply, str):
            raise TimeoutError(reply)
        return reply["status"], reply["text"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_server_is_asked_as_recorded(case):
    server = Server(case["server_replies"])
    if case["raised"]:
        with pytest.raises(RuntimeError) as error:
            submit(ANSWERS, post=server.post, sleep=server.sleeps.append)
        assert type(error.value) is SubmissionError
    else:
        value = submit(ANSWERS, post=server.post, sleep=server.sleeps.append)
        assert value == pytest.approx(case["returned"])
    assert len(server.posts) == case["n_posts"]
    assert server.posts[0] == case["first_post"]
    assert server.sleeps == case["sleeps"]


def test_the_file_is_written_as_recorded(tmp_path):
    path = write_submission(ANSWERS, tmp_path, datetime(2026, 1, 2, 3, 4, 5))
    name = "submissions/inference_results_egoschema_MC_2026-01-02-03-04-05.json"
    assert path == tmp_path / name
    assert path.read_text() == CASES[0]["file_text"]


def test_the_task_writes_an_index_for_each_answered_question(tmp_path):
    task = get_task("egoschema")
    rows = fixture("egoschema/hf_GENERATION_test.json")
    lines = [
        {"id": row["video_idx"], "output": said, "prediction": task.parse(row, said), "score": None}
        for row, said in zip(rows, ["B", "(A)", "E.", "D", ""], strict=True)
    ]
    lines[3] |= {"prediction": None, "error": "cannot be read"}
    (path,) = task.write_files(tmp_path, lines)
    answers = json.loads(path.read_text())
    expected = {rows[0]["video_idx"]: 1, rows[1]["video_idx"]: 0, rows[2]["video_idx"]: 4}
    assert answers.items() >= expected.items()
    assert rows[3]["video_idx"] not in answers
    assert answers[rows[4]["video_idx"]] in range(5)  # drawn: the harness never leaves one out
    result = task.aggregate(lines)
    assert (result["value"], result["answered"]) == (None, 4)


def test_the_subset_writes_no_submission(tmp_path):
    assert get_task("egoschema_subset").write_files(tmp_path, []) == []
    assert not any(tmp_path.iterdir())


class _Handler(BaseHTTPRequestHandler):
    replies = (
        (500, "boom"),
        (200, "Total result: 2 correct, 1 wrong, 0 missing, 0 invalid, accuracy: 0.6667"),
    )
    bodies: list = []

    def do_POST(self):
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, text = self.replies[len(self.bodies) - 1]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


def test_a_real_server_is_asked_over_http():
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/api/upload/"
        sleeps: list[float] = []
        assert submit(ANSWERS, url=url, sleep=sleeps.append) == pytest.approx(66.67)
    finally:
        server.shutdown()
        server.server_close()
    assert _Handler.bodies == [ANSWERS, ANSWERS]
    assert sleeps == [5]


def test_a_run_sends_its_answers_only_when_it_is_told_to(tmp_path, monkeypatch):
    from mobile_videogpt.evaluation.tasks import egoschema

    sent = []
    monkeypatch.setattr(egoschema, "submit", lambda answers: sent.append(answers) or 63.14)
    lines = [{"id": "u1", "prediction": "C", "score": None}]
    task = get_task("egoschema")
    task.write_files(tmp_path, lines)
    assert sent == []
    assert task.submit(lines) == 63.14
    assert sent == [{"u1": 2}]
    assert get_task("egoschema_subset").submit(lines) is None
    assert get_task("nextqa_mc_test").submit(lines) is None
    assert len(sent) == 1
