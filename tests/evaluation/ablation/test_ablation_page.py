"""What docs/ablations.md shows was recorded with the committed settings."""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]


def recorded():
    return json.loads((ROOT / "benchmarks" / "results" / "ablations.json").read_text("utf-8"))


def test_the_record_is_of_the_committed_ablation():
    record = recorded()
    raw = yaml.safe_load((ROOT / "configs" / "ablations.yaml").read_text("utf-8"))
    assert record["settings"] == raw["variants"]
    assert record["training"]["test_clips"] == raw["test_clips"]
    for stage in record["training"]["stages"]:
        path = ROOT / "configs" / "ablations" / f"{stage}.yaml"
        steps = yaml.safe_load(path.read_text("utf-8"))["steps"]
        assert record["training"]["stages"][stage]["steps"] == steps
    assert {"commit", "versions", "machine", "command"} <= set(record)
