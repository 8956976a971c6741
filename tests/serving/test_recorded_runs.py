"""The recorded runs say what the page about serving says, and prove what they should."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


def recorded(name):
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    if not path.exists():
        pytest.skip(f"{name} is not recorded in this checkout")
    return json.loads(path.read_text(encoding="utf-8"))


def test_more_clients_get_more_done():
    rows = recorded("serving-load")["clips_per_minute"]
    assert [row["clients"] for row in rows] == [1, 4, 16]
    speeds = [row["clips_per_minute"] for row in rows]
    assert speeds == sorted(speeds)
    assert not any(row["wrong_answers"] for row in rows)
    for row in rows:
        line = (
            f"| {row['clients']} | {row['clips_per_minute']:.0f} | {row['tokens_per_second']:.0f}"
        )
        assert f"{line} | {row['tokens_per_decoding_step']:.1f} |" in PAGE


def test_many_streams_were_all_right_in_flat_memory():
    streams = recorded("serving-load")["streams"]
    assert streams["clients"] >= 200 and streams["seconds"] >= 120
    assert streams["right_answers"] > 1000 and not streams["wrong_answers"]
    assert not streams["other_outcomes"] and not streams["log"]
    _, second, third = streams["rss_mb_of_thirds"]
    assert third < 1.05 * second
    assert f"{streams['right_answers']} answers" in PAGE
    assert f"{second:.0f} and {third:.0f} MB" in PAGE


def test_overload_was_answered_with_429():
    overload = recorded("serving-load")["overload"]
    assert overload["refused"] > 0 and overload["right_answers"] > 0
    assert not overload["wrong_answers"] and not overload["other_outcomes"]


def test_a_stream_goes_on_while_videos_come_in():
    run = recorded("serving-gaps")
    waits = []
    for kind in ("in_one_go", "in_pieces"):
        beside = run[kind]["stream_beside_newcomers"]
        computed, clock = (max(beside[f"longest_of_each_{name}"]) for name in ("cpu_s", "s"))
        assert f"| {computed:.1f} s | {clock:.1f} s | {sum(beside['pieces'])} |" in PAGE
        waits.append(computed)
    assert waits[1] < waits[0] / 4


def test_start_up_and_idle_memory_are_told():
    server = recorded("serving-load")["server"]
    assert f"{server['start_up_s']:.1f} s" in PAGE and f"{server['rss_mb']:.0f} MB" in PAGE


def test_nothing_hostile_failed():
    run = recorded("serving-hostile")
    assert run["requests"] / run["rounds"] >= 500
    assert not run["failed"] and run["same_answer_afterwards"]
    assert not run["tracebacks_in_log"] and run["exit_code"] == 0
    memory = [row["rss_mb"] for row in run["after_each_round"]]
    assert memory[-1] < 1.1 * memory[-2]
    assert f"{run['requests'] // run['rounds']} broken and hostile requests" in PAGE


def test_schemathesis_found_nothing():
    run = recorded("serving-schemathesis")
    assert run["requests"] > 1000 and not run["failures"]
    assert not run["tracebacks_in_log"] and not any(run["exit_codes"].values())
    assert f"{run['requests']} requests of" in PAGE
