"""Means, intervals and differences of variants, and the table that shows them."""

import numpy as np
import pytest

from mobile_videogpt.evaluation.ablation.summary import REFERENCE, summarise
from mobile_videogpt.evaluation.ablation.table import (
    GROUPS,
    columns,
    render_differences,
    render_table,
)

FAMILIES = ("moving_direction", "object_existence")


def answers(share: float, seed: int, clips: int = 60) -> list[dict]:
    """Two questions a clip, right with a chance of `share`."""
    rng = np.random.default_rng(seed)
    rows = []
    for clip in range(clips):
        for family in FAMILIES:
            right = bool(rng.random() < share)
            letter = "A" if right else "B"
            row = {"clip": clip, "family": family, "true": "A", "letter": letter}
            rows.append({**row, "open": right, "options": 4 if family == FAMILIES[0] else 2})
    return rows


@pytest.fixture(scope="module")
def variants():
    runs = {
        REFERENCE: {seed: answers(0.8, seed) for seed in range(3)},
        "random": {seed: answers(0.5, 10 + seed) for seed in range(3)},
        "mlp": {0: answers(0.8, 0)},
        "uniform": {},
    }
    return summarise(runs)


def test_a_score_is_the_mean_over_families_and_seeds(variants):
    score = variants["random"]["multiple_choice"]
    assert score["value"] == pytest.approx(np.mean(score["seeds"]))
    assert score["interval"]["low"] < score["value"] < score["interval"]["high"]
    by_family = [row["multiple_choice"]["value"] for row in variants["random"]["families"].values()]
    assert score["value"] == pytest.approx(np.mean(by_family))
    assert variants["random"]["chance"] == pytest.approx((1 / 4 + 1 / 2) / 2)


def test_a_mean_over_families_does_not_weigh_questions():
    few = [row for row in answers(1.0, 0) if row["family"] == FAMILIES[0]]
    many = [{**row, "letter": "B"} for row in answers(1.0, 0) if row["family"] == FAMILIES[1]]
    found = summarise({REFERENCE: {0: few[:5] + many}})[REFERENCE]
    assert found["multiple_choice"]["value"] == pytest.approx(0.5)


def test_a_difference_is_to_the_same_seeds_of_the_reference(variants):
    gap = variants["random"]["difference"]["open"]
    assert gap["value"] == pytest.approx(np.mean(gap["seeds"]))
    assert gap["value"] < -0.15 and gap["interval"]["high"] < 0 and gap["p_value"] < 0.01
    low, high = gap["over_seeds"]
    assert low < gap["value"] < high
    assert "difference" not in variants[REFERENCE]


def test_equal_runs_do_not_differ_and_one_seed_has_no_interval_over_seeds(variants):
    gap = variants["mlp"]["difference"]["multiple_choice"]
    assert (gap["value"], gap["p_value"], gap["over_seeds"]) == (0, 1, None)


def test_a_variant_without_runs_is_left_out(variants):
    assert "uniform" not in variants


def test_other_questions_are_refused():
    with pytest.raises(ValueError, match="variant random, seed 1 answered other questions"):
        summarise({REFERENCE: {0: answers(0.5, 0)}, "random": {1: answers(0.5, 1, clips=59)}})


def test_the_table_has_the_papers_layout_and_numbers_and_says_what_was_not_run(variants):
    speed = {"random": {"tokens_per_second": 10.0, "decode_per_second": 20.0, "ttft_s": 0.5}}
    text = render_table({"variants": variants, "speed": speed, "visual_tokens": {"random": 136}})
    lines = text.splitlines()
    assert {line.count("|") for line in lines} == {len(columns()) + 2}
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in lines
    }
    place = {(c.title, c.variant): i for i, c in enumerate(columns())}
    random = place["Random", "random"]
    assert rows["**Visual tokens**"][random] == "136"
    assert rows["**Time to first token**, ms"][random] == "500.0"
    share = 100 * variants["random"]["multiple_choice"]["value"]
    assert rows["**Multiple choice**"][random].startswith(f"{share:.1f} (")
    assert rows["**Multiple choice**"][place["Uniform", "uniform"]] == "–"
    assert rows["Average Accuracy"][place["Image", "image-only"]] == "49.0"
    assert rows["Throughput (Tokens/second)"][place["MLP", "mlp"]] == "39.2"
    assert rows["Average Accuracy"][random] == ""


def test_the_reference_stands_once_in_every_group():
    for group in GROUPS.values():
        assert [column.variant for column in group].count(REFERENCE) == 1


def test_differences_have_both_intervals_where_there_are_seeds(variants):
    lines = render_differences({"variants": variants}).splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in lines[2:]}
    assert set(rows) == {"`random`", "`mlp`"}
    gap = variants["random"]["difference"]["multiple_choice"]
    assert rows["`random`"][0].strip().startswith(f"{100 * gap['value']:+.1f} (")
    assert rows["`random`"][1].count(",") == 2
    assert rows["`mlp`"][2].strip() == "–"
