"""A whole report put together from contestants that only pretend to work."""

import importlib.util
from dataclasses import replace

import pytest

from mobile_videogpt.benchmark import run as bench_run
from mobile_videogpt.benchmark.contestant import NotOfferedError
from mobile_videogpt.benchmark.rows import MERGED, ONNX
from mobile_videogpt.benchmark.settings import Settings

CEILING = {"matmul_gflops": {"float32": 100.0, "int8": 100.0}, "memory_gb_s": 10.0, "threads": 2}
SETTINGS = Settings(model="0.5b", is_random=True, clip="clip.mp4")


class Pretender:
    """Stands in for `turns.Worker`: ours takes 10 s, merged 7 s, LLaVA 150 s; llama.cpp is not."""

    def __init__(self, name, settings):
        self.name, self.settings = name, settings
        self.is_running, self.peak_rss_gb, self.wanted_gb = False, 2.0, 0.0

    def ask(self, order):
        self.is_running = True
        return getattr(self, order)()

    def leave(self):
        self.is_running = False

    def prepare(self):
        if self.settings.engine == "onnx":
            raise ValueError("nothing to export with")

    def ceiling(self):
        return CEILING

    def load(self):
        if self.name == "llama.cpp":
            raise NotOfferedError("no package")
        if self.settings.device == "cuda":
            raise NotOfferedError("no card")
        return {"formats": {"language_model": "float32"}, "num_frames": 16}

    def warm_up(self):
        pass

    def run(self):
        ttft_s = {"ours": 10.0, MERGED: 7.0}.get(self.name, 150.0)
        found = {"ttft_s": ttft_s, "decode_tok_s": 30.0 if ttft_s < 100 else 6.0}
        if self.settings.kind == "ours":
            found |= {"followup_ttft_s": 0.1, "visual_tokens": 2402}
            found |= {"part:prefill": 5.0, "part:decode_tokens": 1.0}
        return found

    def extras(self):
        if self.settings.kind != "ours":
            return {}
        return {"costs": {"prefill": [1e9, 1.0, 0.0]}, "video_encoder": {"ratio": 2.0}}


@pytest.fixture(autouse=True)
def pretenders(monkeypatch):
    monkeypatch.setattr(bench_run, "Worker", Pretender)
    monkeypatch.setattr(bench_run, "measure_startup", lambda: {"seconds": 3.0})


def test_peers_stand_beside_ours_with_ratios_and_rows(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    report = bench_run.run_benchmark(
        replace(SETTINGS, engine="torch"),
        ["llava-onevision-0.5b", "llama.cpp"],
        runs=2,
        with_rows=True,
    )
    assert report["ttft_s"] == 10.0 and report["runs"] == 2
    assert report["followup_share"] == 0.01
    assert report["ratios"]["llava-onevision-0.5b"] == {
        "ttft": 15.0,
        "decode": 5.0,
        "peak_rss": 1.0,
    }
    assert report["peers"]["llama.cpp"] == {"not_offered": "no package"}
    assert report["variants"][ONNX] == {"not_offered": "nothing to export with"}
    assert report["variants"][MERGED]["ttft_s"] == 7.0
    met = {row["what"]: row["met"] for row in report["rows"]}
    assert met["first token, beside LLaVA-OneVision-0.5B"]
    assert met["the same with merged tokens, LLaVA-OneVision-0.5B"]
    assert met["video encoder"] and met["built-in model, process start to answer printed"]
    assert met["decode, beside llama.cpp Q4_0 on the same language model"] is None


def test_alone_there_are_no_rows_and_no_variants():
    report = bench_run.run_benchmark(SETTINGS, runs=1)
    assert "rows" not in report and report["variants"] == {} and report["peers"] == {}
    assert {"versions", "commit", "machine", "command", "date"} <= report.keys()


def test_without_our_own_model_there_is_no_report():
    with pytest.raises(NotOfferedError, match="no card"):
        bench_run.run_benchmark(Settings(clip="clip.mp4", device="cuda"), runs=1)


@pytest.mark.parametrize(("is_installed", "device", "engine"), [
    (True, "auto", "onnx"), (True, "cuda", "torch"), (False, "cpu", "torch"),
])  # fmt: skip
def test_the_fastest_engine_is_onnx_where_it_is_installed(
    monkeypatch, is_installed, device, engine
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: is_installed or None)
    assert bench_run._fastest_engine(device) == engine


def test_new_random_weights_run_on_the_fastest_engine_that_can_be_had(monkeypatch):
    monkeypatch.setattr(bench_run, "_fastest_engine", lambda device: "onnx")
    said = []
    chosen = bench_run._choose_engine(SETTINGS, said.append)
    assert chosen.engine == "torch"
    assert any("engine onnx: not measured: nothing to export with" in line for line in said)
    monkeypatch.setattr(Pretender, "prepare", lambda self: None)
    assert bench_run._choose_engine(SETTINGS, said.append).engine == "onnx"


def test_only_new_weights_without_a_wish_are_exported_unasked():
    assert bench_run._has_no_export_yet(SETTINGS)
    assert not bench_run._has_no_export_yet(replace(SETTINGS, dtype="int8"))
    assert not bench_run._has_no_export_yet(replace(SETTINGS, is_random=False))
