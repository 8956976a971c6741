"""--cache-dir, its environment variable, --no-cache and --merge-tokens on the command line."""

import json
from argparse import Namespace

import pytest

from mobile_videogpt.cli.arguments import CACHE_VARIABLE, cache_options

ASK = ("How many objects move?", "--max-new-tokens", "4", "--json")


@pytest.fixture(autouse=True)
def no_cache_of_the_user(monkeypatch):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)


def given(**values):
    return Namespace(**{"cache_dir": None, "cache_gb": 2.0, "no_cache": False, **values})


def test_nothing_is_kept_by_default():
    assert cache_options(given()) == {}


def test_the_environment_names_a_folder_and_the_option_another(monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, "/from/environment")
    assert cache_options(given())["cache_dir"] == "/from/environment"
    found = cache_options(given(cache_dir="/from/option", cache_gb=0.5))
    assert found == {"cache_dir": "/from/option", "cache_bytes": 500_000_000}
    assert cache_options(given(no_cache=True)) == {}


def test_commands_without_the_options_have_no_cache(monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, "/from/environment")
    assert cache_options(Namespace()) == {}


def test_the_second_question_finds_the_video_encoded(run, clip_file, tmp_path):
    folder = tmp_path / "cache"
    timings = []
    for _ in range(2):
        code, out, _ = run("ask", clip_file, *ASK, "--cache-dir", folder)
        assert code == 0
        timings.append(json.loads(out)["timings"])
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 2
    assert timings[0]["image_encoder"] > 0
    assert timings[1]["image_encoder"] == timings[1]["video_encoder"] == 0


def test_merging_leaves_fewer_tokens(run, clip_file):
    tokens = []
    for options in ((), ("--merge-tokens", "0.5")):
        code, out, _ = run("ask", clip_file, *ASK, *options)
        assert code == 0
        tokens.append(json.loads(out)["tokens"]["visual"])
    assert tokens == [136, 104]  # 64 image tokens and 72 video tokens; 32 and 72


def test_a_share_above_one_is_wrong_usage(run, clip_file, capsys):
    with pytest.raises(SystemExit) as ended:
        run("ask", clip_file, *ASK, "--merge-tokens", "1.5")
    assert ended.value.code == 2
    assert "not above 0 and at most 1" in capsys.readouterr().err


def test_a_described_video_is_not_taken_for_one_with_merged_tokens(run, clip_file, tmp_path):
    output = tmp_path / "out.jsonl"
    for options in ((), (), ("--merge-tokens", "0.5"), ("--merge-tokens", "0.5")):
        code, _, _ = run(
            "describe", clip_file, "--output", output, "--max-new-tokens", "2", *options
        )
        assert code == 0
    assert len(output.read_text().splitlines()) == 2
