"""The command `watch`: its lines, its subtitles, how it ends, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from live_camera import rtsp_camera

from mobile_videogpt.cli.main import main
from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.dataset import write_clip


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    write_clip(make_clip(3, "test"), path)
    return path


def test_a_film_gives_json_lines_and_subtitles(run, film, tmp_path):
    srt = tmp_path / "film.srt"
    options = ["--window", "2", "--every", "1", "--max-new-tokens", "4", "--srt", srt]
    code, out, err = run("watch", film, *options, "--ask", "What happens?", "--ask", "Is it red?")
    assert code == 0
    events = [json.loads(line) for line in out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "connected" and kinds[-1] == "end" and set(kinds[1:-1]) == {"answer"}
    assert {event["question"] for event in events[1:-1]} == {"What happens?", "Is it red?"}
    assert events[-2]["end_s"] == pytest.approx(3.75, abs=0.3)
    first = srt.read_text(encoding="utf-8").splitlines()
    assert first[0] == "1" and first[1].startswith("00:00:00,000 --> 00:00:0")
    assert first[2].startswith("What happens? ") and first[3].startswith("Is it red? ")
    assert "film.mp4" in err


def test_lines_for_people(run, film):
    options = ["--window", "4", "--text", "--max-new-tokens", "4"]
    code, out, _ = run("watch", film, *options, "--when", "Is there a red circle?", "--is", "yes")
    assert code == 0
    assert "Is there a red circle? yes: " in out and " %" in out


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(sign, tmp_path):
    srt = tmp_path / "live.srt"
    film = rtsp_camera.encode(list(make_clip(3, "test").frames()))
    with rtsp_camera.RtspCamera(film) as camera:
        options = f"watch {camera.url} --window 1 --max-new-tokens 4 --srt {srt}".split()
        process = subprocess.Popen(
            [sys.executable, "-m", "mobile_videogpt", *options, "--ask", "What happens?"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        seen = 0
        for line in process.stdout:
            seen += json.loads(line)["event"] == "answer"
            if seen == 2:
                process.send_signal(sign)
                break
        rest, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert all(json.loads(line) for line in rest.splitlines())
    assert "Traceback" not in err and "windows, at most" in err
    assert srt.read_text(encoding="utf-8").endswith("\n\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere.mp4"], "no such source: 'nowhere.mp4'"),
        (["rtsp://"], "names no host"),
        (["FILM", "--ask", " "], "the question is empty"),
        (["FILM", "--when", "Is it?"], "has no --is"),
        (["FILM", "--when", "Where?", "--is", "left"], "no other to tell it from; add --not"),
        (["FILM", "--when", "?", "--is", "yes", "--run", "no-such-thing"], "there is no program"),
        (["FILM", "--settle", "1"], "--settle is for --on-change"),
        (["FILM", "--srt", "no/such/folder/a.srt"], "does not exist"),
    ],
)
def test_what_cannot_be_is_said_before_a_model_is_loaded(options, message, run, film, monkeypatch):
    monkeypatch.setattr("mobile_videogpt.cli.watch.load_chat", None)
    code, out, err = run("watch", *(str(film) if o == "FILM" else o for o in options))
    assert (code, out) == (1, "")
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "options", [["--is", "yes"], ["--window", "0"], ["--when", "?", "--sure", "2"], ["--for", "1"]]
)
def test_wrong_usage(options, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["watch", "camera", *options])
    assert exit_.value.code == 2


def test_options_belong_to_the_condition_before_them():
    from mobile_videogpt.cli.main import build_parser
    from mobile_videogpt.cli.watch import watch_settings

    words = (
        "watch camera --when A? --is left --not right --not up --for 3 --when B? --is yes --sure .9"
    )
    settings = watch_settings(build_parser().parse_args(words.split()))
    first, second = settings.conditions
    assert (first.others, first.windows, first.least_probability) == (("right", "up"), 3, 0.5)
    assert (second.others, second.windows, second.least_probability) == (("no",), 2, 0.9)
    assert settings.questions == () and settings.every_s == 4.0


def test_without_a_question_it_describes():
    from mobile_videogpt.cli.main import build_parser
    from mobile_videogpt.cli.watch import watch_settings

    settings = watch_settings(build_parser().parse_args(["watch", "camera", "--on-change"]))
    assert settings.questions == ("Describe the video.",)
    assert settings.every_s is None
