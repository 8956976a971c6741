"""The front page and docs/performance.md show what was recorded, and nothing else."""

import json
from pathlib import Path

from mobile_videogpt.benchmark import markdown, rows

ROOT = Path(__file__).parents[2]


def test_rows_of_a_recorded_report_follow_from_its_figures():
    path = ROOT / "benchmarks" / "results" / "speed-0.5b.json"
    if path.exists():
        report = json.loads(path.read_text(encoding="utf-8"))
        assert report["rows"] == rows.table_rows(report)
        assert "+changes" not in report["commit"]


def test_what_was_not_measured_is_said_to_be_not_run():
    report = {"rows": rows.table_rows({})}
    lines = markdown.rows_table(report).splitlines()
    assert len(lines) == 2 + len(rows.ROWS)
    assert all(line.count("not run") == 2 for line in lines[2:])


def test_a_miss_stands_out():
    table = markdown.rows_table({"rows": rows.table_rows({"followup_share": 0.5})})
    assert "| 0.5 | **no** |" in table


def test_peers_stand_beside_ours():
    ours = {"model": "0.5b", "engine": "OnnxEngine", "ttft_s": 9.87, "formats": {}}
    peers = {"a": {"ttft_s": 2000.0, "dtype": "float32"}, "b": {"not_offered": "no package"}}
    table = markdown.contestants_table({**ours, "peers": peers})
    assert (
        "9.87" in table and "| a | float32 |  |  | 2000 |" in table and "| b | not run |" in table
    )
