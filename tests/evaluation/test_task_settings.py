"""Names, settings and the forms in which scored items come; the judges of the open tasks."""

import pytest
from recorded_cases import fixture

from mobile_videogpt.evaluation import aggregate, get_task, parse_answer
from mobile_videogpt.evaluation.task import (
    SCORINGS,
    TASK_GROUPS,
    TASK_NAMES,
    JudgedTask,
    expand_names,
)


@pytest.mark.parametrize("name", TASK_NAMES)
def test_every_task_says_what_it_is(name):
    task = get_task(name)
    assert task.name == name
    assert task.title and task.metric
    assert task.unit in ("percent", "fraction")
    assert task.settings["scoring"] in SCORINGS


def test_groups_expand_in_order_and_once():
    assert expand_names(["egoschema", "mvbench", "mvbench_moving_count"]) == [
        "egoschema",
        *TASK_GROUPS["mvbench"],
    ]
    assert len(TASK_GROUPS["mvbench"]) == 20


@pytest.mark.parametrize("find", [get_task, lambda name: expand_names([name])])
def test_unknown_task_is_named_with_those_that_are_near(find):
    with pytest.raises(ValueError, match=r"no task 'mlvu_devv'; did you mean .*mlvu_dev"):
        find("mlvu_devv")


@pytest.mark.parametrize("setting", [{"scoring": "loose"}, {"mlvu_era": "2025"}])
def test_unknown_setting_is_named_with_what_is_allowed(setting):
    with pytest.raises(ValueError, match="is not one of"):
        get_task("mlvu_dev", **setting)


def test_the_era_is_part_of_mlvus_settings_only():
    assert get_task("mlvu_dev").settings["mlvu_era"] == "head"
    assert get_task("mlvu").settings["mlvu_era"] == "regex"
    assert get_task("mlvu", mlvu_era="paren").settings["mlvu_era"] == "paren"
    assert "mlvu_era" not in get_task("egoschema", mlvu_era="paren").settings


def test_missing_output_counts_as_nothing():
    row = fixture("perceptiontest/hf_mc_question_val_validation.json")[0]
    assert parse_answer("perceptiontest_val_mc", row, None) == -1


def forms_of(row, output, prediction, score):
    """The same scored item as everybody hands it over."""
    yield {**row, "output": output}
    yield {"doc": row, "output": output}
    yield {"row": row, "output": output, "prediction": prediction, "score": score}
    yield {"item": row, "prediction": prediction}
    yield (row, output)
    yield score
    yield bool(score)


@pytest.mark.parametrize(
    ("task", "path", "right", "wrong"),
    [
        ("mvbench_action_count", "mvbench/json/action_count.json", "A", "B"),
        ("egoschema_subset", "egoschema/hf_Subset_test.json", "B", "A"),
        ("nextqa_mc_test", "nextqa/hf_MC_test.json", "C", "A"),
        ("perceptiontest_val_mc", "perceptiontest/hf_mc_question_val_validation.json", "B", "A"),
    ],
)
def test_scored_items_are_understood_in_every_form(task, path, right, wrong):
    row = fixture(path)[0]
    unit = 100 if get_task(task).unit == "percent" else 1
    for output, score in ((right, 1), (wrong, 0)):
        prediction = parse_answer(task, row, output)
        for form in forms_of(row, output, prediction, score):
            assert aggregate(task, [form])["value"] == score * unit, form


def test_what_is_no_scored_item_is_refused():
    with pytest.raises(ValueError, match="a scored item is a record"):
        aggregate("nextqa_mc_test", ["B"])


def test_videos_that_could_not_be_read_stay_in_mvbenchs_denominator():
    unread = {"output": "", "prediction": None, "score": 0.0, "error": "no such file"}
    right = {"output": "A", "prediction": "A", "score": 1.0, "error": None}
    silent = {"output": "", "prediction": "", "score": 0.0, "error": None}
    result = aggregate("mvbench_action_count", [unread, right, silent])
    assert (result["value"], result["empty_outputs"]) == (50, 1)


def test_mvbench_as_a_whole_needs_to_know_the_sub_task():
    with pytest.raises(ValueError, match="names the sub-task ''"):
        aggregate("mvbench", [{"score": 1}])
    result = aggregate(
        "mvbench",
        [
            {"task": "mvbench_state_change", "score": 1, "output": "A"},
            {"sub_task": "moving_count", "score": 0, "output": "A"},
            {"sub_task": "moving_count", "score": 1, "output": "A"},
        ],
    )
    assert result["value"] == 75
    assert result["by_group"] == {"Count": 50, "Pose": 100}  # state_change is there in the paper
    assert len(result["sub_tasks_missing"]) == 18


def test_nextqa_reports_the_accuracies_of_the_original_repository():
    rows = fixture("nextqa/hf_MC_test.json")
    items = [{**row, "prediction": row["answer"] if i else 4} for i, row in enumerate(rows)]
    result = aggregate("nextqa_mc_test", items)
    assert result["value"] == 0.8
    assert result["original"] == {
        **{"Why": 0.0, "How": 100.0, "Bef&Aft": 100.0, "Cnt": 100.0, "Loc": 100.0},
        **{"Acc_C": 50.0, "Acc_T": 100.0, "Acc_D": 100.0, "Acc": 80.0},
    }


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("{'pred': 'Yes.', 'score': 4.8}", ("yes", 4)),
        ('{"pred": true, "score": 5}', ("yes", 5)),
        ("{'result': {'pred': 'no', 'score': 0}}", ("no", 0)),
        ("{'pred': 'no', 'score': 2, 'reason': 'same {thing}'}", ("no", 2)),
        ("{'pred': 'unknown', 'score': 3}", None),
        ("{'pred': 'eyes', 'score': 3}", None),
        ("{'pred': 'yes', 'score': 7}", None),
        ("{'pred': 'yes', 'score': 'high'}", None),
        ("yes, 4", None),
        ("", None),
    ],
)
def test_a_strict_reading_of_the_judge_takes_only_a_plain_verdict(reply, verdict):
    said = get_task("activitynetqa", scoring="strict").read_verdict(reply)
    assert (said and tuple(said.values())) == verdict


def test_activitynetqa_without_verdicts_has_only_exact_matches():
    lines = [
        {"prediction": "yes", "answer": "yes", "score": None},
        {"prediction": "a boat", "answer": "boat", "score": None},
    ]
    result = aggregate("activitynetqa", lines)
    assert (result["value"], result["judged"], result["exact_match"]) == (None, 0, 0.5)
    lines[0]["verdict"] = {"Correctness": "yes", "score": 5}
    result = aggregate("activitynetqa", lines)
    assert (result["value"], result["judged"], result["gpt_eval_score"]) == (100, 1, 5)


@pytest.mark.parametrize("name", TASK_GROUPS["mlvu_generation"])
def test_mlvus_open_tasks_are_marked_twice(name):
    task = get_task(name)
    assert isinstance(task, JudgedTask)
    row = {"question": "What happens?", "answer": "A dog barks.", "scoring_points": ["bark"]}
    text = task.judge_request(row, " It barks. ")["messages"][1]["content"]
    for part in ("What happens?", "A dog barks.", "bark", "Candidate answer: It barks.\n"):
        assert part in text
    first, second = task.marks
    verdict = task.read_verdict(f'```json\n{{"{first}": 5, "{second}": 3}}\n```')
    assert verdict == {first: 5, second: 3, "score": 8}
    assert task.verdict_score(verdict) == 0.75
    result = task.aggregate([{"verdict": verdict}, {"verdict": {**verdict, "score": 6}}, {}])
    assert (result["value"], result["judged"], result["items"]) == (7, 2, 3)
    for reply in ("", "8/10", f'{{"{first}": 5}}', f'{{"{first}": 5, "{second}": 6}}'):
        assert task.read_verdict(reply) is None


def test_the_old_mlvu_task_takes_the_codes_of_its_rows():
    """Until 2025-03-15 the rows named their kinds by codes."""
    codes = ("TR", "AR", "NQA", "ER", "PQA", "AO", "AC")
    records = [{"task_type": code, "score": code in ("TR", "AC")} for code in (*codes, "AC")]
    result = aggregate("mlvu", records)
    assert result["value"] == result["mlvu_perception_score"] == pytest.approx(200 / 7)
    assert result["over_items"] == pytest.approx(300 / 8)
    assert result["by_sub_task"]["count"] == {"value": 100.0, "items": 2}
    with pytest.raises(KeyError, match="'TR'; it has plotQA"):
        aggregate("mlvu_dev", records)


def test_secret_answers_have_no_score_and_no_mean():
    row = {**fixture("perceptiontest/hf_mc_question_val_validation.json")[0], "answer_id": None}
    task = get_task("perceptiontest_val_mc")
    assert task.score(row, 1) is None
    assert aggregate("perceptiontest_val_mc", [(row, "B")])["value"] is None


def test_videos_that_could_not_be_read_are_wrong_beside_judged_answers():
    unread = {"prediction": None, "score": 0.0, "error": "no such file", "verdict": None}
    yes = {"prediction": "boat", "verdict": {"Correctness": "yes", "score": 4}, "error": None}
    result = aggregate("activitynetqa", [yes, unread])
    assert (result["value"], result["gpt_eval_score"], result["judged"]) == (50, 2, 2)
    assert aggregate("activitynetqa", [unread])["value"] is None
    marked = {"verdict": {"completeness": 4, "reliability": 4, "score": 8}, "error": None}
    assert aggregate("mlvu_summary", [marked, unread])["value"] == 5
    assert aggregate("mlvu_summary", [unread])["value"] is None
