"""`mobile-videogpt bench` on the built-in model, end to end, and what it refuses."""

import json

import pytest

from mobile_videogpt.benchmark.ours import OPENING

KEYS = ("ttft_s", "decode_tok_s", "followup_ttft_s", "peak_rss_gb", "visual_tokens", "parts")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("MOBILE_VIDEOGPT_BENCH_CACHE", str(tmp_path_factory.mktemp("bench")))


def test_the_built_in_model_is_measured(run, clip_file, tmp_path):
    target = tmp_path / "report.json"
    code, out, err = run(
        *("bench", "--video", clip_file, "--runs", 1, "--new-tokens", 4, "--threads", 1),
        *("--output", target),
    )
    assert code == 0, err
    table, document = out.rstrip().rsplit("\n", 1)
    report = json.loads(document)
    assert report == json.loads(target.read_text(encoding="utf-8"))
    assert all(report[key] for key in KEYS)
    assert {"versions", "device", "commit", "command", "machine"} <= report.keys()
    assert set(report["parts"]) == {*OPENING, "prefill", "decode_token"}
    assert report["threads"] == 1 and report["peers"] == {}
    opened = sum(report["parts"][part]["seconds"] for part in (*OPENING, "prefill"))
    assert 0.5 * report["ttft_s"] < opened <= 1.01 * report["ttft_s"]
    assert report["clips"][clip_file.name]["decode_s"] > 0
    assert "image encoder" in table and "of ceiling" in table


def test_json_is_one_document_alone_and_random_weights_do(run, clip_file):
    code, out, err = run(
        *("bench", "--model", "moving-shapes", "--random", "--num-frames", 8, "--runs", 1),
        *("--video", clip_file, "--new-tokens", 2, "--json", "--window"),
    )
    assert code == 0, err
    report = json.loads(out)
    assert report["random"] and report["num_frames"] == 8
    assert report["window"]["share"] > 0
    assert report["merge_tokens"] is None


def test_the_exported_model_is_measured(run, clip_file, monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("MOBILE_VIDEOGPT_ONNX", str(tmp_path))
    code, out, err = run(
        *("bench", "--engine", "onnx", "--video", clip_file, "--runs", 1, "--new-tokens", 2),
        *("--threads", 1, "--json"),
    )
    assert code == 0, err
    report = json.loads(out)
    assert report["engine"] == "OnnxEngine" and report["ttft_s"] > 0
    assert len(list(tmp_path.iterdir())) == 1, "exported once, for all processes"


def refusal(run, *arguments):
    code, out, err = run("bench", *arguments)
    assert code == 1 and not out
    return err


def test_options_that_do_not_go_together_are_refused_before_anything_is_measured(run, tmp_path):
    assert "add --random" in refusal(run, "--num-frames", 8)
    assert "several numbers" in refusal(run, "--random", "--plot", tmp_path / "x.png")
    several = ("--random", "--num-frames", 8, 16)
    assert "leave out --peer" in refusal(run, *several, "--peer", "smolvlm2-500m")
    assert "no such video" in refusal(run, "--video", tmp_path / "missing.mp4")
    assert "does not exist" in refusal(run, "--output", tmp_path / "no" / "x.json")


def test_a_share_of_tokens_lies_between_nothing_and_all(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run("bench", "--merge-tokens", "1.5")
    assert stop.value.code == 2 and "not a share" in capsys.readouterr().err
