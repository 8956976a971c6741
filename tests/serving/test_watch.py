"""Watching: when questions are asked, about which frames, and what the answers name."""

from __future__ import annotations

import json
import sys
import time

import pytest
from live_camera import rtsp_camera, wait_until
from scripted_reader import ScriptedReader, grey_frames

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.serving.live.conditions import Condition
from mobile_videogpt.serving.live.settings import WatchSettings
from mobile_videogpt.serving.live.watch import Watch, frame_rate
from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.world import COLORS, SHAPES
from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.live.address import find_source
from mobile_videogpt.video.live.reader import LiveReader

RATE = 4.0  # a window of four seconds holds the sixteen frames that the model looks at
QUESTION = "What happens?"


@pytest.fixture
def chat(miniature):
    return VideoChat.from_model(miniature.model, miniature.processor, max_open_videos=1)


def watch(chat, reader, **settings):
    """All events of a watch with one question, every two seconds unless it says otherwise."""
    options = {"questions": (QUESTION,), "window_s": 4.0, "every_s": 2.0, **settings}
    options["generation"] = {"max_new_tokens": 2}
    return list(Watch(chat, reader, WatchSettings(**options)).events())


def scripted(frames, **options):
    return ScriptedReader(frames, RATE, 16, **options)


def answers(events):
    return [event for event in events if event["event"] == "answer"]


def test_a_full_window_is_asked_about_then_one_every_so_often_and_what_is_left(chat):
    reader = scripted(grey_frames(29))  # 0 to 7 s
    events = watch(chat, reader)
    spans = [(a["start_s"], a["end_s"], a["trigger"]) for a in answers(events)]
    assert spans == [(0.0, 3.75, "interval"), (2.0, 5.75, "interval"), (3.25, 7.0, "end")]
    assert events[0]["event"] == "connected" and events[-1]["event"] == "end"
    assert events[-1]["windows"] == 3
    assert reader.is_closed


def test_a_frame_is_encoded_once_however_many_windows_it_is_in(chat):
    events = watch(chat, scripted(grey_frames(40)))
    encoded = [a["frames"]["encoded"] for a in answers(events)]
    assert encoded[0] == 16
    assert set(encoded[1:-1]) == {8}
    assert events[-1]["frames"]["encoded"] == 40


def test_all_questions_are_about_the_same_window(chat):
    questions = (QUESTION, "How many objects move?")
    found = answers(watch(chat, scripted(grey_frames(16)), questions=questions))
    assert [a["question"] for a in found] == list(questions)
    assert len({a["end_s"] for a in found}) == 1


def test_a_model_that_is_too_slow_answers_less_often_about_what_is_newest(chat):
    # Twelve frames, three seconds, pass while each answer is computed.
    events = watch(chat, scripted(grey_frames(80), steps=[16] + [12] * 5), every_s=1.0)
    ends = [a["end_s"] for a in answers(events)]
    assert ends[:5] == [3.75, 6.75, 9.75, 12.75, 15.75]


def test_frames_that_no_window_held_are_counted(chat):
    events = watch(chat, scripted(grey_frames(60), steps=[16, 40]))
    assert answers(events)[1]["frames"]["dropped"] == 40 - 16


def test_a_film_shorter_than_a_window_is_asked_about_once(chat):
    (found,) = answers(watch(chat, scripted(grey_frames(3))))
    assert (found["trigger"], found["frames"]["window"]) == ("end", 3)


def test_a_source_without_frames_has_no_answers(chat):
    assert answers(watch(chat, scripted([]))) == []


def test_a_change_of_the_scene_is_a_reason_to_ask(chat):
    scenes = [make_clip(seed, "test").frames()[0] for seed in (0, 3)]
    frames = [scenes[0]] * 30 + [scenes[1]] * 30
    found = answers(watch(chat, scripted(frames), every_s=None, on_change=True, settle_s=1.0))
    assert [a["trigger"] for a in found] == ["interval", "change", "end"]
    assert found[1]["end_s"] == pytest.approx(30 / RATE + 1.0)


def test_a_still_scene_has_no_changes(chat):
    frame = make_clip(0, "test").frames()[0]
    noisy = [(frame.astype(int) + n % 3 - 1).clip(0, 255).astype("uint8") for n in range(80)]
    found = answers(watch(chat, scripted(noisy), every_s=None, on_change=True))
    assert [a["trigger"] for a in found] == ["interval", "end"]


def test_the_end_of_the_time_ends_the_watching(chat):
    events = watch(chat, scripted(grey_frames(400)), stop_after_s=10.0)
    assert 10.0 <= events[-1]["seconds"] < 11.0


def test_a_source_that_fails_is_an_error_after_what_it_gave(chat):
    reader = scripted(grey_frames(20), failure=VideoError("it is gone"))
    seen = []
    with pytest.raises(VideoError, match="it is gone"):
        for event in Watch(
            chat,
            reader,
            WatchSettings(questions=(QUESTION,), generation={"max_new_tokens": 2}),
        ).events():
            seen.append(event["event"])
    assert "answer" in seen and reader.is_closed


def test_a_condition_that_holds_runs_its_command_once_with_the_facts(chat, tmp_path):
    clip = make_clip(0, "test")
    name = clip.shapes[0].name
    out = tmp_path / "facts.txt"
    code = (
        "import os, sys; f = open(sys.argv[1], 'a');"
        "f.write(sys.stdin.read() + '\\n' + os.environ['MOBILE_VIDEOGPT_IS'] + '\\n')"
    )
    script = tmp_path / "note it.py"
    script.write_text(code)
    condition = Condition(
        f"Is there a {name}?", "yes", ("no",), f'"{sys.executable}" "{script}" "{out}"'
    )
    frames = [*clip.frames()[::2]] * 4
    events = watch(chat, scripted(frames), questions=(), conditions=(condition,))
    found = [e for e in events if e["event"] == "condition"]
    assert [e["is_true"] for e in found] == [False] + [True] * (len(found) - 1)
    assert all(e["probability"] > 0.5 for e in found)
    met = [e for e in events if e["event"] == "met"]
    assert len(met) == 1 and met[0]["started"]
    wait_until(out.exists)
    wait_until(lambda: out.read_text().count("\n") == 2)
    facts, answer = out.read_text().splitlines()
    assert json.loads(facts)["question"] == condition.question
    assert json.loads(facts)["source"] == "the script"
    assert answer == "yes"


def test_answers_about_a_stream_name_what_was_in_the_window(chat):
    """Two clips, each over and over for a while, from a camera that is cut in between."""
    clips = [make_clip(seed, "test") for seed in (1, 4)]
    times_shown, fps = 3, 16  # twice as fast as life: two seconds a clip
    shown_s = times_shown * 32 / fps
    film = rtsp_camera.encode(
        [f for c in clips for _ in range(times_shown) for f in c.frames()], 16
    )
    settings = WatchSettings(
        questions=(QUESTION,), window_s=2.0, every_s=1.0, generation={"max_new_tokens": 48}
    )
    counts = {"named": 0, "right": 0}
    seen, connections = set(), 0
    with rtsp_camera.RtspCamera(film, fps) as camera:
        reader = LiveReader(find_source(camera.url), frame_rate(chat, 2.0), 16)
        watching = Watch(chat, reader, settings)
        deadline = time.monotonic() + 90
        for event in watching.events():
            connections += event["event"] == "connected"
            if event["event"] == "answer":
                began = reader._began  # the window on the camera's clock
                first, last = (
                    camera.position(began + event[name] + edge) / shown_s
                    for name, edge in (("start_s", -0.3), ("end_s", 0.3))
                )
                if int(first) == int(last):
                    clip = clips[int(first)]
                    judge(event["answer"], clip, counts)
                    seen.add(clip.seed)
                if len(seen) == 1 and camera.connections == 1:
                    camera.cut()
                    camera.restore()
            if (len(seen) == 2 and connections > 1) or time.monotonic() > deadline:
                break
    assert len(seen) == 2 and connections > 1
    assert counts["named"] >= 4
    assert counts["right"] >= 0.8 * counts["named"], counts


def judge(answer, clip, counts):
    """Count the objects that an answer names, and those of them that the clip shows."""
    named = {f"{c} {s}" for c in COLORS for s in SHAPES if f"{c} {s}" in answer}
    shown = {s.name for s in clip.shapes}
    shown |= {f"{s.event.color} {s.shape}" for s in clip.shapes if s.event.color}
    counts["named"] += len(named)
    counts["right"] += len(named & shown)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "nothing to ask"), ({"questions": ("?",), "every_s": None}, "no occasion to ask")],
)
def test_settings_that_make_no_sense_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        WatchSettings(**settings)
