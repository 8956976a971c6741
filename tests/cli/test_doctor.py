"""`doctor`: its self-tests pass here, notice a wrong result, and its tables match the package."""

import json
import re
from pathlib import Path

import pytest

from mobile_videogpt.cli import doctor, self_test
from mobile_videogpt.cli.main import main

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
QUICK = {name: check for name, check in self_test.CHECKS.items() if name != "built-in model"}


@pytest.fixture
def without_checkpoint(monkeypatch):
    """Leave out the built-in model, which has tests of its own."""
    monkeypatch.setattr(self_test, "CHECKS", QUICK)


def test_doctor_finds_this_machine_healthy(without_checkpoint, capsys):
    assert main(["doctor", "--device", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] and all(test["ok"] for test in report["self_tests"].values())
    assert set(report["self_tests"]) == set(QUICK)
    assert report["packages"]["torch"] and report["devices"]["cpu"]["cores"]


def test_doctor_is_readable(without_checkpoint, capsys):
    assert main(["doctor", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"test: selective scan +ok", out) and "extra: onnx" in out


def test_a_failed_self_test_is_exit_code_1(without_checkpoint, capsys, monkeypatch):
    logits = (self_test.RECORDED_LOGITS[0] + 0.01, *self_test.RECORDED_LOGITS[1:])
    monkeypatch.setattr(self_test, "RECORDED_LOGITS", logits)
    assert main(["doctor", "--device", "cpu", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["self_tests"]["model"]["ok"] is False
    assert captured.err == "mobile-videogpt: self-test failed: model\n"


def test_the_scan_test_notices_a_wrong_scan(monkeypatch):
    from mobile_videogpt.models import selective_scan as room

    right = room.selective_scan
    monkeypatch.setattr(room, "selective_scan", lambda *a, **k: right(*a, **k) * 1.001)
    with pytest.raises(self_test.SelfTestError, match="off by"):
        self_test.check_scan("cpu")


def test_the_fingerprint_notices_a_slightly_wrong_encoder(monkeypatch):
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

    right = MobileVideoGPTForConditionalGeneration.encode_video_frames
    monkeypatch.setattr(
        MobileVideoGPTForConditionalGeneration,
        "encode_video_frames",
        lambda self, pixels: right(self, pixels) * 1.01,
    )
    with pytest.raises(self_test.SelfTestError, match="logits are off"):
        self_test.check_model("cpu")


def test_missing_packages_are_named(without_checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "CORE", ("torch", "no-such-package"))
    assert main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert "MISSING" in captured.out and "missing: no-such-package" in captured.err


def test_an_unknown_device_is_one_line(without_checkpoint, capsys):
    assert main(["doctor", "--device", "tpu"]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "unknown device 'tpu'" in captured.err


def test_the_tables_of_packages_are_those_of_pyproject():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]

    def names(requirements):
        return tuple(re.match(r"[\w.-]+", text).group().lower() for text in requirements)

    assert names(project["dependencies"]) == doctor.CORE
    extras = {k: names(v) for k, v in project["optional-dependencies"].items() if k != "dev"}
    assert extras == doctor.EXTRAS
