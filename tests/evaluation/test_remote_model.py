"""Another model behind an address answers the questions of a task; here it is our own."""

import base64
import io
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_endpoint import serve
from PIL import Image

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.evaluation.endpoint import Endpoint
from mobile_videogpt.evaluation.remote_model import (
    INSTRUCTION,
    RemoteModel,
    answer_items_remotely,
    file_of,
)
from mobile_videogpt.evaluation.runner import answer_items
from mobile_videogpt.evaluation.task import VideoRef, get_task
from mobile_videogpt.synthetic.dataset import write_clip
from mobile_videogpt.synthetic.test_set import draw_questions
from mobile_videogpt.synthetic.world import make_clip
from mobile_videogpt.video.source import read_video

TASK = get_task("moving-shapes-test")
ITEMS = TASK.items("")[:8]


def remote(server, **settings):
    endpoint = Endpoint(server.url, "some-model", tries=2, wait_s=0.01)
    return RemoteModel(endpoint, **settings)


def media_of(body):
    """What a request shows: decoded pictures, or the bytes of a video."""
    shown = []
    for part in body["messages"][0]["content"]:
        if part["type"] != "text":
            _, _, data = part[part["type"]]["url"].partition(";base64,")
            content = base64.b64decode(data)
            is_picture = part["type"] == "image_url"
            shown.append(np.array(Image.open(io.BytesIO(content))) if is_picture else content)
    return shown


def text_of(body):
    return body["messages"][0]["content"][-1]["text"]


class BuiltIn:
    """Answers chat completions with the built-in model."""

    def __init__(self) -> None:
        self.chat = VideoChat("moving-shapes", device="cpu")
        self.lock = threading.Lock()

    def __call__(self, body):
        shown = media_of(body)
        video = shown[0] if isinstance(shown[0], bytes) else np.stack(shown)
        with self.lock:
            self.chat.forget()
            return str(self.chat.ask(video, text_of(body), max_new_tokens=body["max_tokens"]))


@pytest.fixture(scope="module")
def built_in():
    return BuiltIn()


def in_order(predictions):
    found = {prediction.id: prediction for prediction in predictions}
    return [found[item.id] for item in ITEMS]


def test_over_http_the_same_model_gives_the_same_answers(built_in):
    with serve(built_in) as server:
        model = remote(server, instruction="", max_tokens=16)
        over_http = in_order(answer_items_remotely(model, TASK, ITEMS))
    directly = in_order(answer_items(built_in.chat, TASK, ITEMS, is_blind=False))
    for ours, theirs in zip(directly, over_http, strict=True):
        assert (ours.output, ours.prediction, ours.score) == (
            theirs.output,
            theirs.prediction,
            theirs.score,
        )
        assert (ours.prompt, ours.options, ours.answer) == (
            theirs.prompt,
            theirs.options,
            theirs.answer,
        )
    assert sum(p.score for p in over_http) >= len(ITEMS) / 2


def test_a_request_shows_the_very_pixels_and_asks_the_prompt():
    with serve(lambda body: "A") as server:
        list(answer_items_remotely(remote(server), TASK, ITEMS[:1]))
        (body,) = server.requests
    painted = draw_questions()[0].clip.frames()
    shown = media_of(body)
    assert len(shown) == 16
    assert all(np.array_equal(frame, painted[2 * i]) for i, frame in enumerate(shown))
    assert text_of(body) == f"{TASK.prompt(ITEMS[0].row)}\n{INSTRUCTION}"
    assert body["model"] == "some-model" and body["temperature"] == 0


def test_fewer_frames_are_spread_over_the_video():
    with serve(lambda body: "A") as server:
        list(answer_items_remotely(remote(server, num_frames=4), TASK, ITEMS[:1]))
        shown = media_of(server.requests[0])
    painted = draw_questions()[0].clip.frames()
    assert all(np.array_equal(frame, painted[8 * i]) for i, frame in enumerate(shown))


def test_the_video_may_be_sent_as_a_file(built_in):
    with serve(built_in) as server:
        model = remote(server, media="video", instruction="")
        predictions = in_order(answer_items_remotely(model, TASK, ITEMS))
        sent = media_of(server.requests[0])[0]
    assert all(p.error is None for p in predictions)
    first = next(i for i in ITEMS if text_of(server.requests[0]) == TASK.prompt(i.row))
    painted = make_clip(first.video.number, "test").frames()
    seen = read_video(sent)
    assert len(seen.frames) == 16  # lossy, but the same clip
    error = np.abs(seen.frames[0].astype(int) - painted[0].astype(int)).mean()
    assert error < 4


def test_only_whole_files_can_be_sent(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(make_clip(3), path)
    assert file_of(VideoRef(path)) == path.read_bytes()
    for video in (VideoRef(path, start=1.0), VideoRef(tmp_path), VideoRef(tmp_path / "none.mp4")):
        with pytest.raises(ValueError, match="send frames"):
            file_of(video)


def test_the_blind_question_has_no_video():
    with serve(lambda body: "B" if media_of(body) else "A") as server:
        predictions = in_order(answer_items_remotely(remote(server), TASK, ITEMS, is_blind=True))
    assert len(server.requests) == 2 * len(ITEMS)
    for item, prediction in zip(ITEMS, predictions, strict=True):
        assert prediction.prediction == "B" and prediction.blind.prediction == "A"
        assert prediction.score == (item.answer == "B")
        assert prediction.blind.score == (item.answer == "A")


def test_what_cannot_be_asked_counts_as_wrong_and_stops_nothing(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 32)
    items = [replace(ITEMS[0], video=VideoRef(broken)), *ITEMS[1:3]]

    def answer(body):
        return (400, "no") if ITEMS[1].question in text_of(body) else "A"

    with serve(answer) as server:
        predictions = {p.id: p for p in answer_items_remotely(remote(server), TASK, items)}
    assert [predictions[i.id].score for i in items[:2]] == [0.0, 0.0]
    assert "broken.mp4" in predictions[items[0].id].error
    assert "status 400" in predictions[items[1].id].error
    assert predictions[items[2].id].error is None and len(predictions) == 3


def test_unreadable_videos_alone_end_too(tmp_path):
    items = [replace(ITEMS[0], video=VideoRef(Path("nowhere.mp4")))]
    with serve(lambda body: "A") as server:
        (prediction,) = answer_items_remotely(remote(server), TASK, items)
    assert prediction.score == 0.0 and not server.requests


def test_fields_are_added_to_and_taken_from_a_request():
    body = {"temperature": None, "max_tokens": None, "max_completion_tokens": 9}
    with serve(lambda body: "A") as server:
        model = remote(server, body=body)
        list(answer_items_remotely(model, TASK, ITEMS[:1]))
        (sent,) = server.requests
    assert sent["max_completion_tokens"] == 9
    assert not {"temperature", "max_tokens"} & sent.keys()
    assert model.settings["body"] == body and model.name.startswith("some-model at http://127")


def test_impossible_settings_are_refused():
    endpoint = Endpoint("http://localhost:1/v1", "m")
    with pytest.raises(ValueError, match="media is 'audio'"):
        RemoteModel(endpoint, media="audio")
    with pytest.raises(ValueError, match="at least 1 frame"):
        RemoteModel(endpoint, num_frames=0)
