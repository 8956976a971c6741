"""`eval TASK...` on a small benchmark with real videos: dry runs, runs, kills, shards, refusals."""

import json
import shutil

import pytest
import small_benchmark
from small_benchmark import BROKEN, MISSING, READABLE, TASK

from mobile_videogpt.cli.evaluate.arguments import process_device, process_shard, shard
from mobile_videogpt.evaluation import predictions as prediction_files

TIMES = ("seconds", "ttft_s", "decode_s", "is_first")


@pytest.fixture(autouse=True)
def chat(lively_chat, monkeypatch):
    """Every `VideoChat` that a command makes is this one; no launcher, no charts."""
    # Where it is imported from when asked for, and where it was imported when the module was read.
    for place in ("chat", "evaluation.moving_shapes"):
        monkeypatch.setattr(f"mobile_videogpt.{place}.VideoChat", lambda *_, **__: lively_chat)
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MOBILE_VIDEOGPT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(
        "mobile_videogpt.evaluation.report._add_charts", lambda report: {}, raising=True
    )
    return lively_chat


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return small_benchmark.write_benchmark(tmp_path_factory.mktemp("data"))


@pytest.fixture
def evaluate(run, data_dir):
    def evaluate_small(output, *options):
        return run("eval", TASK, "--data-dir", data_dir, "--output", output, *options)

    return evaluate_small


def lines(output, name="predictions.jsonl"):
    text = (output / TASK / name).read_text()
    return [json.loads(line) for line in text.splitlines()]


def told(output):
    """The merged predictions without how long they took."""
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines(output)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data_dir, lively_chat):
    """The folder of a run that nothing interrupted; `whole()` runs it once."""
    return tmp_path_factory.mktemp("whole") / "run"


@pytest.fixture
def uninterrupted(whole, evaluate):
    if not whole.exists():
        assert evaluate(whole)[0] == 0
    return told(whole)


# what is there


def test_a_dry_run_names_what_is_missing_and_asks_nothing(run, data_dir, chat, monkeypatch):
    monkeypatch.setattr("mobile_videogpt.chat.VideoChat", None)
    code, out, _ = run("eval", TASK, "--data-dir", data_dir, "--dry-run")
    assert code == 1 and f"{MISSING}.mp4" in out and "15 questions about 5 videos" in out
    code, out, _ = run("eval", TASK, "--data-dir", data_dir, "--dry-run", "--json")
    report = json.loads(out)
    assert (code, report["complete"]) == (1, False)
    (task,) = report["tasks"]
    assert [path.endswith(f"{MISSING}.mp4") for path in task["missing_videos"]] == [True]
    assert task["annotations"] and "NExTVideo" in task["how_to_get"]


def test_a_dry_run_of_complete_data_succeeds(run, tmp_path):
    data = small_benchmark.write_benchmark(tmp_path, READABLE[:1])
    code, out, err = run("eval", TASK, "moving-shapes", "--data-dir", data, "--dry-run")
    assert (code, err) == (0, "") and out.count(": complete") == 4


def test_missing_annotations_are_one_sentence_that_says_how_to_get_them(run, tmp_path):
    code, out, err = run("eval", TASK, "--data-dir", tmp_path, "--output", tmp_path / "run")
    assert (code, out) == (1, "") and err.count("\n") == 1
    assert "test.csv" in err and "github.com/doc-doc/NExT-QA" in err
    assert not (tmp_path / "run").exists()


def test_a_benchmark_without_any_video_is_refused_before_a_model_is_loaded(
    run, tmp_path, monkeypatch
):
    monkeypatch.setattr("mobile_videogpt.chat.VideoChat", None)
    data = small_benchmark.write_benchmark(tmp_path, (MISSING,))
    code, _, err = run("eval", TASK, "--data-dir", data, "--output", tmp_path / "run")
    assert code == 1 and f"{MISSING}.mp4" in err and err.count("\n") == 1


def test_an_unknown_task_is_wrong_usage_and_the_nearest_names_are_told(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run("eval", "mvbensh", "--dry-run")
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out) == (2, "")
    assert captured.err.splitlines()[-1].endswith("did you mean mvbench")


# a run


def test_a_run_answers_everything_and_reports(evaluate, whole, uninterrupted, data_dir):
    assert [line["id"] for line in uninterrupted] == [
        f"{video}_{number}" for number in range(3) for video in (*READABLE, BROKEN, MISSING)
    ]
    report = json.loads((whole / "report.json").read_text())
    (benchmark,) = report["benchmarks"]
    assert benchmark["overall"]["questions"] == 15
    right = sum(line["score"] for line in uninterrupted)
    assert benchmark["overall"]["accuracy"] == pytest.approx(right / 15)
    assert {entry["questions"] for entry in report["unreadable"]} == {3}
    run = json.loads((whole / "run.json").read_text())
    assert run["scoring"] == "lmms-eval" and len(run["weights"]) == 64
    assert run["tasks"][TASK]["published_as"] == "NextQA" and run["command"]
    assert (whole / "report.md").exists() and (whole / "report.html").exists()


def test_a_finished_run_asks_nothing_and_says_what_could_not_be_answered(
    evaluate, whole, uninterrupted, monkeypatch
):
    monkeypatch.setattr("mobile_videogpt.evaluation.run.answer_items", only_nothing)
    code, out, err = evaluate(whole)
    assert code == 0 and "report.md" in out
    assert f"{BROKEN}.mp4" in err and "6 without an answer" in err
    assert told(whole) == uninterrupted


def only_nothing(chat, task, items, **options):
    assert not list(items)
    return iter(())


@pytest.mark.parametrize("answered", range(0, 15, 2))
def test_a_run_killed_anywhere_and_resumed_equals_one_that_ran_through(
    evaluate, uninterrupted, tmp_path, monkeypatch, answered
):
    out = tmp_path / "run"
    append = prediction_files.JsonLinesFile.append
    left = [answered]

    def append_until_killed(self, line):
        left[0] -= 1
        if left[0] < 0:
            torn = line.encode()[: len(line) // 3]
            with self.path.open("ab") as file:
                file.write(torn)
            raise KeyboardInterrupt
        append(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(prediction_files.JsonLinesFile, "append", append_until_killed)
        code, _, err = evaluate(out)
        assert code == 130 and "the same command goes on" in err
    assert not (out / "report.json").exists()
    code, _, err = evaluate(out)
    assert code == 0 and told(out) == uninterrupted
    assert not answered or f"{answered} of 15 questions are answered already" in err


def test_a_larger_limit_goes_on_and_a_smaller_one_loses_nothing(evaluate, uninterrupted, tmp_path):
    out = tmp_path / "run"
    assert evaluate(out, "--limit", 4)[0] == 0
    assert [line["id"] for line in lines(out)] == [line["id"] for line in uninterrupted[:4]]
    assert evaluate(out)[0] == 0
    assert told(out) == uninterrupted
    assert evaluate(out, "--limit", 2)[0] == 0
    assert {line["id"] for line in lines(out)} == {line["id"] for line in uninterrupted}


def test_what_failed_is_asked_again_only_when_told_to(
    run, tmp_path, uninterrupted, monkeypatch, data_dir
):
    data, out = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data_dir, data)
    arguments = ("eval", TASK, "--data-dir", data, "--output", out, "--no-blind")
    run(*arguments)
    folder = data / "nextqa" / "NExTVideo"
    shutil.copy(folder / f"{READABLE[0]}.mp4", folder / f"{BROKEN}.mp4")
    run(*arguments)
    assert sum(line["error"] is not None for line in lines(out)) == 6
    run(*arguments, "--retry-errors")
    assert {line["id"] for line in lines(out) if line["error"]} == {
        f"{MISSING}_{n}" for n in range(3)
    }
    assert [line["id"] for line in lines(out)] == [line["id"] for line in uninterrupted]


# several processes


def test_shards_in_any_order_are_merged_to_the_run_of_one_process(
    evaluate, uninterrupted, tmp_path
):
    out = tmp_path / "run"
    code, printed, err = evaluate(out, "--shard", "2/2")
    assert (code, printed) == (0, "") and "shard 2/2 is done; 6 of 15" in err
    assert not (out / "report.json").exists()
    code, printed, _ = evaluate(out, "--shard", "1/2", "--json")
    assert code == 0 and json.loads(printed)["benchmarks"]
    assert told(out) == uninterrupted
    assert [path.name for path in (out / TASK).iterdir()] == ["predictions.jsonl"]


def test_an_unfinished_shard_says_so_in_json(evaluate, tmp_path):
    _, printed, _ = evaluate(tmp_path / "run", "--shard", "3/5", "--json")
    assert json.loads(printed) == {"complete": False, "answered": 3, "questions": 15}


def test_a_launcher_shares_the_videos(evaluate, uninterrupted, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in ("1", "0", "2"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert evaluate(out)[0] == 0
    assert told(out) == uninterrupted
    code, _, err = evaluate(out, "--shard", "1/2")
    assert code == 1 and "--shard" in err


@pytest.mark.parametrize(
    ("text", "meant"), [("1/4", (0, 4)), ("4/4", (3, 4)), ("0/4", (3, 4)), ("1/1", (0, 1))]
)
def test_shards_count_from_one_and_whoever_counts_from_zero_misses_nothing(text, meant):
    assert shard(text) == meant


@pytest.mark.parametrize("text", ["5/4", "-1/4", "0/0", "1", "a/b", "1/", "/4", "1.5/4", ""])
def test_what_is_no_shard_is_wrong_usage(run, text):
    with pytest.raises(SystemExit) as stop:
        run("eval", TASK, f"--shard={text}")
    assert stop.value.code == 2


def test_a_process_alone_asks_everything_on_the_device_it_is_told(monkeypatch):
    assert process_shard(None) == (0, 1) and process_shard((1, 2)) == (1, 2)
    assert process_device("auto") == "auto"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert process_device("cpu") == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert process_device("auto") == process_device("cuda") == "cuda:1"
    assert process_device("cuda:0") == "cuda:0"


# refusals


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--scoring", "strict"), "scoring"),
        (("--answer-by", "likelihood"), "answer by"),
        (("--no-blind",), "blind"),
        (("--seed", "3"), "seed"),
        (("--mlvu-era", "paren"), "mlvu era"),
    ],
)
def test_a_run_is_not_continued_with_other_settings(evaluate, whole, uninterrupted, options, named):
    code, out, err = evaluate(whole, *options)
    assert (code, out) == (1, "")
    assert named in err and "--output" in err and err.splitlines()[-1].startswith("mobile-")
    assert told(whole) == uninterrupted


def test_a_run_is_not_continued_with_other_weights(
    chat, evaluate, whole, uninterrupted, monkeypatch
):
    other = type(chat).random("moving-shapes", seed=5)
    monkeypatch.setattr("mobile_videogpt.chat.VideoChat", lambda *args, **options: other)
    code, _, err = evaluate(whole)
    assert code == 1 and "weights" in err and "another --output" in err


@pytest.mark.parametrize("content", ["[]", "{}", "not JSON", '{"weights": 1}'])
def test_a_foreign_run_file_is_refused(evaluate, tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    code, _, err = evaluate(tmp_path)
    assert code == 1 and "run.json" in err and err.splitlines()[-1].count("error") == 1


def test_a_file_as_output_is_refused(evaluate, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = evaluate(tmp_path / "file")
    assert code == 1 and "needs a folder" in err


# answers by likelihood, judged answers, MovingShapes


def test_likelihood_writes_the_likeliest_letter(evaluate, tmp_path):
    assert evaluate(tmp_path, "--answer-by", "likelihood", "--limit", 2)[0] == 0
    for line in lines(tmp_path):
        best = max(range(5), key=lambda place: line["log_likelihoods"][place])
        assert line["output"] == "ABCDE"[best] and line["tokens"] == 0


def test_moving_shapes_with_a_folder_gives_the_recorded_report_and_can_be_resumed(run, tmp_path):
    arguments = ("eval", "moving-shapes", "--seed", 3, "--limit", 6, "--json")
    expected = json.loads(run(*arguments)[1])
    out = tmp_path / "run"
    assert json.loads(run(*arguments, "--output", out)[1]) == expected
    again = run(*arguments, "--output", out)
    assert again[0] == 0 and json.loads(again[1]) == expected
    assert {path.name for path in out.iterdir() if path.is_dir()} >= {
        "moving-shapes",
        "moving-shapes-open",
    }


def test_moving_shapes_without_a_folder_refuses_what_needs_one(run, monkeypatch):
    for option in (("--shard", "1/2"), ("--retry-errors",)):
        code, _, err = run("eval", "moving-shapes", "--limit", 2, *option)
        assert code == 1 and "--output" in err
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    code, _, err = run("eval", "moving-shapes", "--limit", 2)
    assert code == 1 and "--output" in err
