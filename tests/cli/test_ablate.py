"""`ablate --report`: what is made of the runs that are there, without training any."""

import json
from pathlib import Path

import pytest
import yaml

from mobile_videogpt.evaluation.ablation.summary import REFERENCE

COMMITTED = Path(__file__).parents[2] / "configs"


def answers(right: int) -> list[dict]:
    rows = [(clip, family) for clip in range(4) for family in ("moving_count", "action_count")]
    return [
        {
            **{"clip": clip, "family": family, "true": "A", "letter": "AB"[number >= right]},
            **{"open": number < right, "options": 4},
        }
        for number, (clip, family) in enumerate(rows)
    ]


@pytest.fixture
def config(tmp_path):
    """The committed ablation, with a folder of its own and nothing done."""
    raw = yaml.safe_load((COMMITTED / "ablations.yaml").read_text())
    raw["output"] = str(tmp_path / "out")
    raw["stages"] = [str(COMMITTED / stage) for stage in raw["stages"]]
    path = tmp_path / "ablations.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


@pytest.fixture
def finished(config):
    """Two variants with two seeds, and what was measured of them."""
    out = config.parent / "out"
    for variant, right in ((REFERENCE, 6), ("image-only", 3)):
        for seed in (0, 1):
            folder = out / variant / f"seed-{seed}"
            (folder / "stage3-instruct").mkdir(parents=True)
            (folder / "stage3-instruct" / "done.json").write_text('{"seconds": 61.25}')
            (folder / "answers.json").write_text(json.dumps(answers(right + seed)))
    (out / "run.json").write_text('{"commit": "abc", "machine": {}, "versions": {}}')
    times = {"tokens_per_second": 300.0, "decode_per_second": 500.0, "ttft_s": 0.05}
    (out / "speed.json").write_text(json.dumps({REFERENCE: times}))
    share = {"value": 0.5, "interval": {"low": 0.4, "high": 0.6}}
    probed = {"recall": share, "both": share, "missed": share, "difference": share}
    kinds = {"touch": {"recall": share, "missed": 0.1, "happenings": 9}}
    probed |= {"kinds": kinds, "kept_at": {"-1": 0.5, "1": 0.5}, "happenings": 9}
    probe = {"frames": 16, "methods": {"attention": probed, "random": probed}}
    (out / "selection.json").write_text(json.dumps(probe))
    return config


def test_the_report_is_the_table_on_stdout_and_files_beside_the_runs(run, finished):
    pytest.importorskip("matplotlib")
    code, out, _ = run("ablate", finished, "--report")
    assert code == 0
    assert "| **Multiple choice** |" in out and "Average Accuracy" in out
    folder = finished.parent / "out"
    results = json.loads((folder / "results.json").read_text())
    assert set(results["variants"]) == {REFERENCE, "image-only"}
    assert results["variants"]["image-only"]["difference"]["open"]["value"] == pytest.approx(-3 / 8)
    assert results["visual_tokens"]["image-only"] == 64
    assert results["training"]["seconds"][REFERENCE] == [{"stage3-instruct": 61.2}] * 2 + [{}]
    assert results["commit"] == "abc"
    assert (folder / "table.md").read_text().count("event frames kept") == 1
    for name in ("ablations.png", "selection.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_json_is_one_document(run, finished):
    pytest.importorskip("matplotlib")
    code, out, _ = run("ablate", finished, "--report", "--json")
    assert code == 0
    assert json.loads(out)["settings"]["mlp"] == {"projector_type": "mlp"}


def test_nothing_to_report_is_one_sentence(run, config):
    code, out, err = run("ablate", config, "--report")
    assert (code, out) == (1, "")
    assert "no run of" in err and "leave --report out" in err and err.count("\n") == 1


def test_a_missing_ablation_is_named(run, tmp_path):
    code, _, err = run("ablate", tmp_path / "none.yaml")
    assert code == 1 and "no such ablation" in err


def test_a_start_that_was_never_trained_says_what_to_run(run, config):
    text = config.read_text().replace("runs/moving-shapes", str(config.parent / "nowhere"))
    config.write_text(text)
    code, _, err = run("ablate", config)
    assert code == 1
    assert (
        "train the built-in model first (mobile-videogpt train configs/moving-shapes.yaml)" in err
    )
