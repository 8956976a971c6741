"""docs/ablations.md shows what is recorded, and its figures and settings are there."""

import importlib.util
import json
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]


def script():
    spec = importlib.util.spec_from_file_location("ablations", ROOT / "benchmarks" / "ablations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recorded():
    return json.loads((ROOT / "benchmarks" / "results" / "ablations.json").read_text("utf-8"))


def test_every_table_of_the_page_is_that_of_the_record():
    page = (ROOT / "docs" / "ablations.md").read_text("utf-8")
    assert page.count("<!-- begin") == 3
    assert script().fill(page, recorded()) == page


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
