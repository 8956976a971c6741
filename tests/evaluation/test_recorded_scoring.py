"""Prompts, predictions, scores and aggregates equal those that lmms-eval gave."""

import pytest
from recorded_cases import fixture, recorded, scoring_task

from mobile_videogpt.evaluation import aggregate, build_prompt, get_task, parse_answer
from mobile_videogpt.evaluation.parsing import LETTERS
from mobile_videogpt.evaluation.tasks.activitynetqa import exact_match_accuracies
from mobile_videogpt.evaluation.tasks.activitynetqa_judge import harness_verdict
from mobile_videogpt.evaluation.tasks.nextqa import original_accuracies

ERAS = ("regex", "paren", "head")
PROMPT_ERAS = {
    "HEAD and since 2025-04-17": "head",
    "2025-03-16..2025-04-16": "paren",
    'up to 2025-03-15 (task "mlvu")': "regex",
}


@pytest.mark.parametrize("benchmark", ["mvbench", "egoschema", "nextqa", "perceptiontest"])
def test_predictions_and_scores_equal_the_recorded_ones(benchmark):
    document = recorded(f"scoring/{benchmark}")
    for case in document["cases"]:
        item = document["items"][case["item"]]
        name, row = scoring_task(benchmark, item), item["doc"]
        prediction = parse_answer(name, row, case["output"])
        if case.get("random"):
            assert prediction in LETTERS
            continue
        expected = case["pred_id"] if benchmark == "perceptiontest" else case["parsed"]
        assert prediction == expected, case
        assert get_task(name).score(row, prediction) == case["score"], case


@pytest.mark.parametrize("era", ERAS)
def test_mlvu_predictions_and_scores_equal_the_recorded_ones_of_each_era(era):
    document = recorded("scoring/mlvu")
    for case in document["cases"]:
        item = document["items"][case["item"]]
        task = get_task(scoring_task("mlvu", item), mlvu_era=era)
        prediction = task.parse(item["doc"], case["output"])
        assert prediction == case[era]["parsed"], case
        assert task.score(item["doc"], prediction) == case[era]["score"], case


def test_only_outputs_without_any_sign_draw_a_letter():
    for benchmark in ("egoschema", "nextqa"):
        document = recorded(f"scoring/{benchmark}")
        for case in document["cases"]:
            task = get_task(scoring_task(benchmark, {}))
            row = document["items"][case["item"]]["doc"]
            assert task.read(row, case["output"]).is_random is case["random"], case


@pytest.mark.parametrize("benchmark", ["egoschema", "mlvu", "nextqa", "perceptiontest"])
def test_prompts_equal_the_recorded_ones(benchmark):
    names = {"nextqa": "nextqa_mc_test", "perceptiontest": "perceptiontest_val_mc"}
    for case in recorded(f"prompts/{benchmark}")["cases"]:
        row = fixture(case["fixture"])[case["index"]]
        settings = {"prompt_variant": case.get("variant", "default")}
        if "era" in case:
            settings["mlvu_era"] = PROMPT_ERAS[case["era"]]
        name = case.get("task") or names[benchmark]
        assert build_prompt(name, row, **settings) == case["prompt"]


def test_mvbench_prompts_and_right_letters_equal_the_recorded_ones():
    for case in recorded("prompts/mvbench")["cases"]:
        row = fixture(case["fixture"])[case["index"]]
        task = get_task("mvbench_" + case["fixture"].rsplit("/", 1)[1].removesuffix(".json"))
        assert task.prompt(row) == case["prompt"]
        assert task.answer_letter(row) == case["target_letter"]


def test_activitynetqa_prompts_equal_the_recorded_ones():
    for case in recorded("prompts/activitynetqa")["cases"]:
        row = fixture(case["fixture"])[case["index"]]
        assert build_prompt("activitynetqa", row) == case["prompt"]


def test_the_old_mlvu_task_asks_and_reads_as_it_did_unless_told_otherwise():
    row = fixture("mlvu/hf_dev_test.json")[0]
    assert build_prompt("mlvu", row).startswith("\n")
    assert parse_answer("mlvu", row, "Correct: B") == "C"
    assert parse_answer("mlvu", row, "Correct: B", mlvu_era="head") == "B"


def _mvbench_records(counts):
    """As the harness hands them to its own aggregation."""
    right, empty = counts["correct"], counts["empty_predictions"]
    wrong = counts["n"] - right - empty
    outputs = [("B", 1)] * right + [("", 0)] * empty + [("C", 0)] * wrong
    return [{"pred_answer": said, "gt_answer": "B", "score": score} for said, score in outputs]


def test_mvbench_aggregates_equal_the_recorded_ones():
    for case in recorded("aggregates")["mvbench"]:
        everything = []
        for sub_task, counts in case["sub_tasks"].items():
            records = _mvbench_records(counts)
            value = aggregate(f"mvbench_{sub_task}", records)["mvbench_accuracy"]
            assert value == pytest.approx(counts["harness"], abs=1e-9)
            everything += [{**record, "sub_task": sub_task} for record in records]
        whole = aggregate("mvbench", everything)
        key = "unweighted_mean_of_20 (arithmetic, not a harness output)"
        assert whole["value"] == pytest.approx(case[key], abs=1e-9)
        assert whole["sub_tasks_missing"] == []


def test_mvbench_without_any_output_is_zero():
    document = recorded("aggregates")
    empty = [{"pred_answer": "", "gt_answer": "B", "score": 0}] * 3
    name = "mvbench_action_count"
    assert aggregate(name, empty)["value"] == document["mvbench_all_predictions_empty"]
    assert aggregate(name, [])["value"] == document["mvbench_no_items"]


@pytest.mark.parametrize("name", ["mlvu_dev", "mlvu_test"])
def test_mlvu_aggregates_equal_the_recorded_ones(name):
    for case in recorded("aggregates")[name]:
        records = [
            {"task_type": kind, "pred_answer": "A" if i < case["correct"][kind] else "B"}
            for kind, size in case["sizes"].items()
            for i in range(size)
        ]
        result = aggregate(name, [{**record, "answer": "A"} for record in records])
        expected = case.get("harness", case.get("macro_over_7_types (since 2025-02-27)"))
        assert result["value"] == pytest.approx(expected, abs=1e-9)
        if name == "mlvu_dev":
            over_items = case["micro_over_items (until 2025-02-26)"]
            assert result["over_items"] == pytest.approx(over_items, abs=1e-9)


def test_mlvu_names_a_kind_that_it_does_not_have():
    with pytest.raises(KeyError, match="findNeedle"):
        aggregate("mlvu_dev", [{"task_type": "findNeedle", "score": 1}])


def test_egoschema_subset_aggregates_equal_the_recorded_ones():
    for case in recorded("aggregates")["egoschema_subset"]:
        value = aggregate("egoschema_subset", case["results"])["score"]
        assert value == pytest.approx(case["harness_fraction"], abs=1e-9)
    with pytest.raises(ZeroDivisionError):
        aggregate("egoschema_subset", [])


def test_plain_means_equal_the_recorded_ones():
    document = recorded("aggregates")
    for case in document["perceptiontest_val_mc"]:
        value = aggregate("perceptiontest_val_mc", case["correct_flags"])["accuracy"]
        assert value == pytest.approx(case["harness_fraction"], abs=1e-9)
    for case in document["nextqa_mc_test"]:
        value = aggregate("nextqa_mc_test", case["exact_match"])["exact_match"]
        assert value == pytest.approx(case["harness_fraction"], abs=1e-9)


def test_nextqa_accuracies_of_the_original_repository_equal_the_recorded_ones():
    for case in recorded("aggregates")["nextqa_original_repository_eval_mc"]:
        accuracies = original_accuracies(case["items"])
        printed = {name: value for name, value in case["printed"].items() if name}
        printed["Acc"] = case["overall_printed"].removeprefix("Acc: ")
        assert {name: f"{value:.2f}" for name, value in accuracies.items()} == printed


def test_activitynetqa_exact_match_of_the_original_repository_equals_the_recorded_one():
    key = "activitynetqa_original_repository_exact_match"
    for case in recorded("aggregates")[key]:
        shares = exact_match_accuracies(case["ground_truth"], case["predictions"])
        printed = {}
        for line in case["printed"].splitlines():
            name, _, value = line.strip().lower().partition(":")
            if value.strip():
                printed[name] = value.strip()
        printed["free_as_printed"] = printed.pop("free")
        shares.pop("free")
        assert {name: f"{share:.4f}" for name, share in shares.items()} == printed


def test_activitynetqa_aggregates_equal_the_recorded_ones():
    for case in recorded("aggregates")["activitynetqa_judge"]:
        result = aggregate("activitynetqa", case["results"])
        for name in ("gpt_eval_accuracy", "gpt_eval_score"):
            assert result[name] == pytest.approx(case[name], abs=1e-9), case["name"]


def test_requests_to_the_judge_equal_the_recorded_ones():
    task = get_task("activitynetqa")
    for case in recorded("judge/activitynetqa")["requests"]:
        body = task.judge_request(case["doc"], case["prediction"])
        assert body == case["request"]["json"]


def test_replies_of_the_judge_are_read_as_recorded():
    document = recorded("judge/activitynetqa")
    for case in document["replies"]:
        verdict = harness_verdict(case["reply"])
        expected = case["parse_score"]
        assert (verdict and list(verdict.values())) == expected, case["reply"]
    assert harness_verdict("") is document["parse_score_of_empty_reply"]
