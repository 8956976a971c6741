"""Conditions that hold, commands that run, scenes that change, subtitles that are always whole."""

from __future__ import annotations

import sys
import time

import pytest
import torch
from live_camera import wait_until

from mobile_videogpt.serving.live.actions import Action
from mobile_videogpt.serving.live.changes import ChangeDetector
from mobile_videogpt.serving.live.conditions import Condition, Debounce
from mobile_videogpt.serving.live.subtitles import SubtitleFile


def due(debounce, windows):
    """Places of the windows after which a command is due; windows are a second apart."""
    return [n for n, is_met in enumerate(windows) if debounce.add(bool(is_met), float(n))]


def test_a_condition_counts_after_some_windows_in_a_row():
    assert due(Debounce(3), [1, 1, 0, 1, 1, 1, 1, 1]) == [5]
    assert due(Debounce(1), [0, 1, 1]) == [1]


def test_it_is_due_again_only_after_it_was_untrue_for_as_long():
    assert due(Debounce(2), [1, 1, 0, 1, 1, 1]) == [1]
    assert due(Debounce(2), [1, 1, 0, 0, 1, 1]) == [1, 5]


def test_it_may_be_due_again_while_it_stays_true():
    assert due(Debounce(1, again_after_s=3.0), [1] * 8) == [0, 3, 6]
    assert due(Debounce(2, again_after_s=3.0), [1, 1, 1, 1, 0, 1]) == [1, 5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"others": ()}, "no other to tell it from"),
        ({"others": ("yes",)}, "stands twice"),
        ({"others": (" ",)}, "must not be empty"),
        ({"question": " "}, "must not be empty"),
        ({"least_probability": 0.0}, "give 0 < P <= 1"),
        ({"windows": 0}, "at least 1"),
    ],
)
def test_conditions_that_make_no_sense_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        Condition(**{"question": "Is it?", "answer": "yes", "others": ("no",), **values})


def script(tmp_path, code):
    path = tmp_path / "command.py"
    path.write_text(code)
    return f'"{sys.executable}" "{path}"'


def test_no_shell_reads_a_command(tmp_path):
    code = "import sys; open(sys.argv[2], 'w').write(sys.argv[1])"
    out = tmp_path / "out"
    Action(f'{script(tmp_path, code)} "$(touch x); `id` | *" "{out}"').start({})
    wait_until(lambda: out.exists() and out.read_text() != "")
    assert out.read_text() == "$(touch x); `id` | *"


def test_a_command_that_still_runs_is_not_started_again(tmp_path, caplog):
    stop = tmp_path / "stop"
    code = f"import os, time\nwhile not os.path.exists({str(stop)!r}): time.sleep(0.02)"
    action = Action(script(tmp_path, code))
    assert action.start({})
    assert not action.start({})
    assert "still running" in caplog.text
    stop.touch()
    action.wait(30)
    assert action.start({})
    action.wait(30)


def test_a_command_that_takes_too_long_is_ended(tmp_path, caplog):
    action = Action(script(tmp_path, "import time; time.sleep(600)"), timeout_s=0.5)
    began = time.monotonic()
    action.start({})
    action.wait(60)
    assert time.monotonic() - began < 60
    assert "took longer than 0.5 s" in caplog.text


def test_a_command_that_fails_is_reported_and_outlived(tmp_path, caplog):
    action = Action(script(tmp_path, "raise SystemExit(3)"))
    action.start({})
    action.wait(30)
    assert "ended with exit code 3" in caplog.text


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "empty"),
        ("no-such-program-here -x", "no program 'no-such"),
        ("'open", "cannot be read"),
    ],
)
def test_commands_that_cannot_be_run_are_named(command, message):
    with pytest.raises(ValueError, match=message):
        Action(command)


def changes(features):
    detector = ChangeDetector()
    return [n for n, row in enumerate(features) if detector.add(row) is not None]


def test_another_scene_is_a_change_and_noise_is_none():
    torch.manual_seed(0)
    scenes = torch.randn(3, 256)
    frames = [scenes[n // 20] + 0.02 * torch.randn(256) for n in range(60)]
    assert changes(frames) == [20, 40]


def test_what_is_usual_for_a_restless_source_is_no_change():
    torch.manual_seed(0)
    scene, other = torch.randn(2, 256)
    restless = [scene + 0.8 * torch.randn(256) for _ in range(40)]
    slight = scene + 0.3 * other
    found = changes([*restless, slight + 0.8 * torch.randn(256)])
    assert [n for n in found if n > 8] == []  # once it knows what is usual
    assert changes([scene] * 10 + [slight]) == [10]


def test_a_slow_drift_is_no_change():
    a, b = torch.eye(2, 64)
    assert changes([a + n / 200 * (b - a) for n in range(200)]) == []


def cues(path):
    return path.read_text(encoding="utf-8").split("\n\n")


def test_cues_are_numbered_and_do_not_overlap(tmp_path):
    srt = SubtitleFile(tmp_path / "a.srt")
    srt.add(0.0, 3.75, "a red circle")
    srt.add(2.0, 5.75, "a blue square\n\nmoves --> left")
    assert cues(srt.path) == [
        "1\n00:00:00,000 --> 00:00:03,750\na red circle",
        "2\n00:00:03,750 --> 00:00:05,750\na blue square\nmoves -> left",
        "",
    ]
    srt.close()


def test_equal_answers_become_one_cue_and_the_file_is_whole_after_each(tmp_path):
    srt = SubtitleFile(tmp_path / "a.srt")
    for n in range(5):
        srt.add(n, n + 1, "nothing")
        assert cues(srt.path) == [f"1\n00:00:00,000 --> 00:00:0{n + 1},000\nnothing", ""]
    srt.add(5, 6, "something")
    assert [cue.split("\n")[0] for cue in cues(srt.path)] == ["1", "2", ""]
    srt.close()


def test_cues_without_text_or_time_are_left_out(tmp_path):
    srt = SubtitleFile(tmp_path / "a.srt")
    srt.add(0, 1, " \n ")
    srt.add(1, 1, "no time")
    srt.close()
    assert not srt.path.exists()


def test_a_file_that_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "a.srt").write_text("precious")
    with pytest.raises(ValueError, match="is there already"):
        SubtitleFile(tmp_path / "a.srt")
    assert (tmp_path / "a.srt").read_text() == "precious"
