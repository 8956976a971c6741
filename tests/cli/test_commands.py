"""The subcommands on a real file, with a random model: what goes to stdout, to stderr, to files."""

import io
import json
import re
import signal
import sys

import pytest
from PIL import Image

from mobile_videogpt.chat.asking import Asking
from mobile_videogpt.cli import chat as chat_command
from mobile_videogpt.engines.base import PARTS

QUESTION = "What happens in the video?"
SHORT = ["--max-new-tokens", "6"]


@pytest.fixture(autouse=True)
def chat(lively_chat, monkeypatch):
    """Every `VideoChat` that a command makes is this one."""
    lively_chat.forget()
    monkeypatch.setattr("mobile_videogpt.chat.VideoChat", lambda *args, **options: lively_chat)
    return lively_chat


@pytest.fixture
def broken_file(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"this is no video at all")
    return path


# ask


def test_ask_prints_the_answer_and_nothing_else(run, chat, clip_file):
    expected = chat.ask(clip_file, QUESTION, max_new_tokens=6).text
    assert run("ask", clip_file, QUESTION, *SHORT) == (0, f"{expected}\n", "")


def test_ask_json_is_one_document_with_timings_and_tokens(run, chat, clip_file):
    code, out, err = run("ask", clip_file, QUESTION, *SHORT, "--json", "--start", "0.5")
    document = json.loads(out)
    assert code == 0 and err == ""
    assert document["question"] == QUESTION and document["start"] == 0.5
    assert (document["device"], document["dtype"]) == ("cpu", "float32")
    assert set(document["timings"]) == {*PARTS, "total"}
    assert document["timings"]["decode"] > 0 and document["timings"]["prefill"] > 0
    assert document["tokens"]["visual"] == chat.config.num_visual_tokens
    assert len(document["kept_frames"]) == 8 and len(document["frame_times"]) == 16


def test_ask_with_options_chooses_the_likeliest(run, chat, clip_file):
    options = ["left", "right", "up"]
    scores = chat.choose(clip_file, QUESTION, options)
    arguments = [part for option in options for part in ("--option", option)]
    assert run("ask", clip_file, QUESTION, *arguments)[1] == f"{scores.best.option}\n"
    document = json.loads(run("ask", clip_file, QUESTION, *arguments, "--json")[1])
    assert document["answer"] == scores.best.option
    found = [row["log_likelihood"] for row in document["options"]]
    assert found == pytest.approx([score.sum for score in scores], abs=1e-4)


def test_ask_reads_the_question_from_standard_input(run, clip_file, monkeypatch):
    expected = run("ask", clip_file, QUESTION, *SHORT)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{QUESTION}\n"))
    assert run("ask", clip_file, "-", *SHORT) == expected


def test_ask_works_with_unicode_names(run, clip_file, tmp_path):
    path = tmp_path / "fête 動画 [1].mp4"
    path.write_bytes(clip_file.read_bytes())
    code, out, _ = run("ask", path, "où est-il? 動画", *SHORT, "--json")
    assert code == 0 and json.loads(out)["video"] == str(path) and "動画" in out


@pytest.mark.parametrize("command", ["ask", "chat", "keyframes"])
def test_an_unreadable_file_is_one_line_and_exit_code_1(run, command, broken_file):
    question = [QUESTION] if command == "ask" else []
    code, out, err = run(command, broken_file, *question)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1 and "broken.mp4" in err and "Traceback" not in err


def test_a_start_past_the_end_is_told(run, clip_file):
    code, out, err = run("ask", clip_file, QUESTION, "--start", "100")
    assert (code, out) == (1, "") and "100" in err and err.count("\n") == 1


def test_an_interrupted_run_exits_with_130_and_one_line(run, clip_file, chat, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(chat, "open", interrupt)
    assert run("ask", clip_file, QUESTION) == (130, "", "mobile-videogpt: interrupted\n")


def test_a_bug_is_one_line_that_asks_for_a_report(run, clip_file, chat, monkeypatch):
    monkeypatch.setattr(chat, "open", lambda *args, **options: {}["nothing"])
    code, out, err = run("ask", clip_file, QUESTION)
    assert (code, out) == (1, "") and "KeyError" in err and "--debug" in err


# chat


def talk(run, monkeypatch, text, *arguments):
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return run("chat", *arguments, *SHORT)


def test_chat_answers_piped_lines_with_history(run, chat, clip_file, monkeypatch):
    conversation = chat.conversation(clip_file)
    first = conversation.ask("Which shape is red?", max_new_tokens=6)
    second = conversation.ask("Where does it go?", max_new_tokens=6)
    code, out, err = talk(
        run, monkeypatch, "Which shape is red?\n\n  Where does it go?  \n", clip_file
    )
    assert (code, out, err) == (0, f"{first}\n{second}\n", "")


def test_chat_reset_and_quit(run, chat, clip_file, monkeypatch):
    alone = chat.ask(clip_file, "Where does it go?", max_new_tokens=6)
    text = "Which shape is red?\n/reset\nWhere does it go?\n/quit\nnever asked\n"
    _, out, err = talk(run, monkeypatch, text, clip_file)
    assert out.splitlines()[1:] == [str(alone)]
    assert "forgotten" in err


def test_chat_json_is_one_document_per_line(run, clip_file, monkeypatch):
    _, out, _ = talk(run, monkeypatch, "One?\nTwo?", clip_file, "--json")
    documents = [json.loads(line) for line in out.splitlines()]
    assert [document["question"] for document in documents] == ["One?", "Two?"]
    assert all(document["tokens"]["generated"] for document in documents)


def test_chat_without_any_input_leaves_cleanly(run, clip_file, monkeypatch):
    assert talk(run, monkeypatch, "", clip_file) == (0, "", "")


class Terminal(io.StringIO):
    """Standard input that claims to be a terminal; `^C` in it is Ctrl-C."""

    def isatty(self):
        return True

    def readline(self, *args):
        line = super().readline(*args)
        if line.strip() == "^C":
            raise KeyboardInterrupt
        return line


def test_chat_on_a_terminal_prompts_on_stderr_and_leaves_on_ctrl_c(run, clip_file, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal("Where?\n^C\nnever asked\n"))
    code, out, err = run("chat", clip_file, *SHORT)
    assert code == 0 and out.count("\n") == 1
    assert err.count(chat_command.PROMPT) == 2 and "/quit" in err


def test_ctrl_c_stops_an_answer_and_keeps_the_conversation(run, chat, clip_file, monkeypatch):
    model_decode = Asking.decode
    calls = []

    def interrupting_decode(self, token_ids):
        calls.append(len(token_ids))
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return model_decode(self, token_ids)

    monkeypatch.setattr(Asking, "decode", interrupting_decode)
    monkeypatch.setattr(sys, "stdin", Terminal("Where?\nWhat?\n"))
    # A shell starts background jobs with SIGINT ignored, and Python then leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code, out, err = run("chat", clip_file, *SHORT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 0 and "stopped" in err and len(out.splitlines()) == 2


# describe


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_describe_prints_one_text_per_video(run, clip_file, tmp_path):
    code, out, err = run("describe", clip_file, *SHORT)
    assert (code, err) == (0, "") and out.count("\n") == 1 and "clip.mp4" not in out
    (tmp_path / "b.mp4").write_bytes(clip_file.read_bytes())
    _, out, _ = run("describe", clip_file, tmp_path / "b.mp4", *SHORT)
    assert [line.split(": ")[0] for line in out.splitlines()] == [
        str(clip_file),
        str(tmp_path / "b.mp4"),
    ]


def test_describe_goes_on_after_a_bad_file_and_takes_up_where_it_stopped(
    run, chat, clip_file, broken_file, tmp_path, monkeypatch
):
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.mp4", "deep/c.MP4"):
        (folder / name).write_bytes(clip_file.read_bytes())
    (folder / "b.mp4").write_bytes(broken_file.read_bytes())
    (folder / "notes.txt").write_text("no video")
    output = tmp_path / "out.jsonl"

    code, out, err = run("describe", folder, "--output", output, *SHORT)
    records = read_lines(output)
    assert code == 1 and out == ""
    assert [record["video"][len(str(folder)) + 1 :] for record in records] == [
        "a.mp4",
        "b.mp4",
        "deep/c.MP4",
    ]
    assert ["error" in record for record in records] == [False, True, False]
    assert records[0]["description"] and records[0]["timings"]["prefill"] > 0
    assert len(err.splitlines()) == 3 and "1 of 3 failed" in err
    assert re.search(r"3 videos, [\d.]+ per minute", err)

    (folder / "b.mp4").write_bytes(clip_file.read_bytes())
    asked = []
    ask = chat.ask
    monkeypatch.setattr(
        chat,
        "ask",
        lambda video, *rest, **options: asked.append(video) or ask(video, *rest, **options),
    )
    code, _, err = run("describe", folder, "--output", output, *SHORT)
    assert code == 0 and len(asked) == 1 and "2 of 3 already described" in err
    assert read_lines(output)[-1]["video"].endswith("b.mp4")

    code, _, _ = run("describe", folder, "--output", output, *SHORT)
    assert code == 0 and len(asked) == 1 and len(read_lines(output)) == 4


def test_describe_takes_a_folder_of_pictures_as_one_video(run, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(20):
        Image.new("RGB", (64, 48), (10 * index, 0, 0)).save(folder / f"{index:03}.png")
    code, out, _ = run("describe", folder, "--json", *SHORT)
    assert code == 0 and [r["video"] for r in json.loads(out)["videos"]] == [str(folder)]


def test_describe_reports_a_folder_without_videos(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, out, err = run("describe", tmp_path / "empty")
    assert (code, out) == (1, "") and "empty" in err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is Linux")
def test_a_full_disk_ends_the_run_with_one_line(run, clip_file):
    code, out, err = run("describe", clip_file, "--output", "/dev/full", *SHORT)
    assert (code, out) == (1, "") and "No space left" in err and err.count("\n") == 1


# keyframes


def test_keyframes_writes_a_picture_and_prints_its_path(run, clip_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("keyframes", clip_file)
    assert code == 0 and out == "clip.keyframes.png\n" and "kept 8 of 16 frames" in err
    assert Image.open(tmp_path / "clip.keyframes.png").size[0] > 640
    assert [path.name for path in tmp_path.iterdir()] == ["clip.keyframes.png"]


def test_keyframes_json_has_times_scores_and_choice(run, chat, clip_file, tmp_path):
    output = tmp_path / "sheet.png"
    code, out, _ = run("keyframes", clip_file, "--json", "--output", output)
    document = json.loads(out)
    video = chat.open(clip_file)
    assert code == 0 and output.is_file() and document["picture"] == str(output)
    assert [frame["time"] for frame in document["frames"]] == video.frame_times
    assert [frame["score"] for frame in document["frames"]] == video.frame_scores
    kept = [frame["index"] for frame in document["frames"] if frame["kept"]]
    assert kept == document["kept_frames"] == video.kept_frames


# info, doctor


@pytest.mark.parametrize(
    ("preset", "visual", "millions"),
    [("0.5b", 2402, 656.6), ("1.5b", 2402, 1710.3), ("0.5b-paper", 2696, 656.6)],
)
def test_info_counts_tokens_and_parameters(run, preset, visual, millions):
    code, out, _ = run("info", preset, "--json")
    document = json.loads(out)
    assert code == 0 and document["tokens"]["visual"] == visual
    assert document["parameters"]["total"] / 1e6 == pytest.approx(millions, abs=0.5)


def test_info_is_readable(run):
    code, out, _ = run("info", "0.5b")
    assert code == 0 and "2402 = 2304 image + 98 video" in out


def test_info_names_an_unknown_model(run):
    code, out, err = run("info", "nothing-of-this-name")
    assert (code, out) == (1, "") and "nothing" in err and err.count("\n") == 1
