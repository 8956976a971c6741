"""Two runs compared: pairs found by id, differences with their sign, and what was left out."""

import json
import random
from dataclasses import replace

import pytest
from made_runs import made_up, prediction, write_run

from mobile_videogpt.evaluation.compare import compare, read_answers
from mobile_videogpt.evaluation.report import write_report


def compared(tmp_path, first, second, **settings):
    a = write_run(tmp_path / "a", first, model="first")
    b = write_run(tmp_path / "b", second, model="second", **settings)
    return compare(read_answers(a), read_answers(b))


def test_the_better_run_is_found(tmp_path):
    first = made_up(300, 0.8, seed=1, kinds=("CW", "TN"))
    second = made_up(300, 0.5, seed=2, kinds=("CW", "TN"))
    found = compared(tmp_path, first, second)
    (row,) = found["benchmarks"]
    whole = row["overall"]
    assert whole["a"] == pytest.approx(sum(r.score for r in first) / 300)
    assert whole["difference"]["value"] == pytest.approx(whole["a"] - whole["b"])
    assert whole["difference"]["p_value"] < 0.001
    low, high = (whole["difference"]["interval"][end] for end in ("low", "high"))
    assert 0.15 < low < whole["difference"]["value"] < high < 0.45
    assert [kind["name"] for kind in row["sub_tasks"]] == ["CW", "TN"]
    assert found["a"]["model"] == "first" and found["remarks"] == []


def test_a_run_equals_itself(tmp_path):
    rows = made_up(100, 0.5)
    (row,) = compared(tmp_path, rows, rows)["benchmarks"]
    assert row["overall"]["difference"]["value"] == 0
    assert row["overall"]["difference"]["p_value"] == 1
    assert row["overall"]["only_a_right"] == row["overall"]["only_b_right"] == 0


def test_pairs_are_found_by_id_whatever_the_order(tmp_path):
    first, second = made_up(80, 0.7, seed=3), made_up(80, 0.5, seed=4)
    straight = compared(tmp_path / "x", first, second)
    shuffled = random.Random(0).sample(second, len(second))
    crossed = compared(tmp_path / "y", first, shuffled)
    assert straight["benchmarks"] == crossed["benchmarks"]
    wins = sum(a.score > b.score for a, b in zip(first, second, strict=True))
    assert straight["benchmarks"][0]["overall"]["only_a_right"] == wins


def test_swapping_the_runs_swaps_the_sign(tmp_path):
    first, second = made_up(80, 0.7, seed=3), made_up(80, 0.5, seed=4)
    one = compared(tmp_path / "x", first, second)["benchmarks"][0]["overall"]
    other = compared(tmp_path / "y", second, first)["benchmarks"][0]["overall"]
    assert one["difference"]["value"] == -other["difference"]["value"]
    assert one["difference"]["p_value"] == other["difference"]["p_value"]
    assert one["difference"]["interval"]["low"] == -other["difference"]["interval"]["high"]


def test_only_questions_that_both_scored_count_and_the_rest_is_said(tmp_path):
    first = made_up(100, 0.6)
    second = [replace(r, score=None) if i < 10 else r for i, r in enumerate(made_up(90, 0.6))]
    found = compared(tmp_path, first, second)
    (row,) = found["benchmarks"]
    assert row["overall"]["questions"] == 80
    assert row["left_out"] == {"a": 20, "b": 10}
    assert any("20 questions of A and 10 of B left out" in r for r in found["remarks"])


def test_mvbench_is_averaged_over_its_sub_tasks_here_too(tmp_path):
    def run(share):
        rows = made_up(60, share, task="mvbench_moving_count", sub_task="moving_count")
        return rows + made_up(20, 1.0, task="mvbench_action_count", sub_task="action_count")

    (row,) = compared(tmp_path, run(1.0), run(0.0))["benchmarks"]
    assert row["title"] == "MVBench" and row["overall"]["difference"]["value"] == 0.5


def test_p_values_of_kinds_are_corrected_for_their_number(tmp_path):
    kinds = ("a", "b", "c", "d")
    first = made_up(400, 0.65, seed=1, kinds=kinds)
    second = made_up(400, 0.55, seed=2, kinds=kinds)
    (row,) = compared(tmp_path, first, second)["benchmarks"]
    for kind in row["sub_tasks"]:
        found = kind["difference"]
        assert found["p_value_holm"] >= found["p_value"]
    smallest = min(row["sub_tasks"], key=lambda k: k["difference"]["p_value"])["difference"]
    assert smallest["p_value_holm"] == pytest.approx(min(1, 4 * smallest["p_value"]))


def test_settings_that_differ_are_said(tmp_path):
    rows = made_up(60, 0.5)
    found = compared(tmp_path, rows, rows, scoring="strict", dtype="int8")
    assert any("scoring" in r and "strict" in r for r in found["remarks"])
    assert any("dtype" in r for r in found["remarks"])


def test_tasks_of_one_run_only_are_said(tmp_path):
    rows = made_up(60, 0.5)
    found = compared(tmp_path, rows, rows + made_up(10, 0.5, task="perceptiontest_val_mc"))
    assert "in one run only: perceptiontest_val_mc" in found["remarks"]
    assert len(found["benchmarks"]) == 1


def test_few_videos_are_said(tmp_path):
    rows = made_up(12, 0.5)
    assert any("only 6 videos" in r for r in compared(tmp_path, rows, rows)["remarks"])


def test_a_report_alone_is_as_good_as_the_folder(tmp_path):
    a = write_run(tmp_path / "a", made_up(60, 0.7, seed=1), model="first")
    b = write_run(tmp_path / "b", made_up(60, 0.4, seed=2), model="second")
    write_report(a)
    alone = tmp_path / "kept" / "report.json"
    alone.parent.mkdir()
    alone.write_bytes((a / "report.json").read_bytes())
    from_folder = compare(read_answers(a), read_answers(b))
    for path in (alone, alone.parent):
        found = compare(read_answers(path), read_answers(b))
        assert found["benchmarks"] == from_folder["benchmarks"]
        assert found["a"]["model"] == "first"
    assert json.dumps(from_folder, allow_nan=False)


def test_runs_without_a_common_question_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no scored question in common"):
        compared(tmp_path / "x", made_up(9, 0.5), made_up(9, 0.5, task="perceptiontest_val_mc"))
    other = [prediction(i, right=True) for i in range(100, 120)]
    with pytest.raises(ValueError, match="no scored question in common"):
        compared(tmp_path / "y", made_up(9, 0.5), other)


@pytest.mark.parametrize("content", ["[]", "{", '{"run": {}}', '{"a": 1}'])
def test_a_file_that_is_no_report_is_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="no report of"):
        read_answers(path)


def test_a_path_that_is_no_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ValueError, match="is no run; give a run's folder"):
            read_answers(path)
