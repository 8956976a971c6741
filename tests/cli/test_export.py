"""`mobile-videogpt export`."""

import json
import subprocess
import sys

import pytest

from mobile_videogpt.cli.export import TYPES
from mobile_videogpt.cli.main import main


def test_a_qwen2_folder(run, tmp_path):
    code, out, err = run("export", "moving-shapes", tmp_path / "lm", "--format", "qwen2")
    assert (code, out.strip()) == (0, str(tmp_path / "lm"))
    assert "1.6 MB, values as they were" in err
    assert json.loads((tmp_path / "lm" / "config.json").read_text())["model_type"] == "qwen2"


def test_a_gguf_file_says_how_far_it_is_from_the_weights(run, tmp_path):
    pytest.importorskip("gguf")
    path = tmp_path / "model.gguf"
    options = ("--format", "gguf", "--type", "q8_0", "--json")
    code, out, err = run("export", "moving-shapes", path, *options)
    document = json.loads(out)
    assert code == 0 and document["bytes"] == path.stat().st_size
    assert document["type"] == "q8_0" and document["parameters"] == 813184
    assert 0 < document["relative_errors"]["Q8_0"] < 0.012
    assert "largest relative error of a tensor: Q8_0 0.00" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("out", "--format", "qwen2", "--type", "f16"), "--type f16 is for --format gguf"),
        (("out", "--format", "gguf"), "does not end in .gguf"),
    ],
)
def test_options_that_do_not_fit(run, in_tmp_path, arguments, message):
    code, out, err = run("export", "moving-shapes", *arguments)
    assert (code, out) == (1, "") and message in err


def test_a_destination_in_use_is_left_alone(run, tmp_path):
    (tmp_path / "mine.gguf").write_text("mine")
    code, _, err = run("export", "moving-shapes", tmp_path, "--format", "qwen2")
    assert code == 1 and "not an empty folder" in err
    pytest.importorskip("gguf")
    code, _, err = run("export", "moving-shapes", tmp_path / "mine.gguf", "--format", "gguf")
    assert code == 1 and "exists already" in err
    assert (tmp_path / "mine.gguf").read_text() == "mine"


def test_without_the_package_it_says_what_to_install(run, tmp_path, monkeypatch):
    from mobile_videogpt.checkpoints import gguf_file

    monkeypatch.setattr(gguf_file.importlib.util, "find_spec", lambda name: None)
    code, _, err = run("export", "moving-shapes", tmp_path / "m.gguf", "--format", "gguf")
    assert code == 1 and "pip install 'mobile-videogpt[export]'" in err


def test_a_target_is_required(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["export", "moving-shapes", "out"])
    assert stop.value.code == 2


def test_the_types_on_the_command_line_are_those_that_are_written():
    from mobile_videogpt.checkpoints.gguf_file import GGUF_TYPES

    assert tuple(GGUF_TYPES) == TYPES


def test_help_imports_no_torch():
    code = (
        "import sys\nfrom mobile_videogpt.cli.main import main\n"
        "try:\n    main(['export', '--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
