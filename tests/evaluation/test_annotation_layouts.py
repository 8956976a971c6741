"""Both published layouts of each benchmark are read, and give the same rows."""

import json
import logging
import shutil

import pytest
from recorded_cases import FIXTURES, fixture

from mobile_videogpt.evaluation import get_task
from mobile_videogpt.evaluation.task import (
    MVBENCH_SUB_TASKS,
    AnnotationError,
    MissingDataError,
    expand_names,
)
from mobile_videogpt.evaluation.tasks.mlvu import FILES

MADE_UP_POINTS = ["a dog barks", "the door opens"]


def put(source, folder):
    """Copy a fixture (file or folder) to where a user would have it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = FIXTURES / source
    if path.is_dir():
        shutil.copytree(path, folder, dirs_exist_ok=True)
    else:
        shutil.copy(path, folder)


def rows(task, data_dir):
    """The rows of all items."""
    return [item.row for item in get_task(task).items(data_dir)]


def without(row, *names):
    """A row without some fields."""
    return {key: value for key, value in row.items() if key not in names}


@pytest.mark.parametrize("sub_task", MVBENCH_SUB_TASKS)
def test_mvbench_reads_both_forms(sub_task, tmp_path):
    put("mvbench/json", tmp_path / "a" / "mvbench" / "json")
    put("mvbench/hf_video_revision", tmp_path / "b" / "mvbench" / "video")
    task = f"mvbench_{sub_task}"
    original, cut = rows(task, tmp_path / "a"), rows(task, tmp_path / "b")
    assert original == fixture(f"mvbench/json/{sub_task}.json")
    assert cut == fixture(f"mvbench/hf_video_revision/{sub_task}.json")
    assert [without(r, "video") for r in original] == [without(r, "video") for r in cut]


def test_egoschema_subset_reads_both_forms(tmp_path):
    put("egoschema/raw", tmp_path / "a" / "egoschema")
    put("egoschema/hf_Subset_test.json", tmp_path / "b")
    assert rows("egoschema_subset", tmp_path / "a") == fixture("egoschema/hf_Subset_test.json")
    assert rows("egoschema_subset", tmp_path / "b") == fixture("egoschema/hf_Subset_test.json")


def test_egoschema_full_set_keeps_its_answers_secret(tmp_path):
    put("egoschema/raw", tmp_path / "egoschema")
    items = get_task("egoschema").items(tmp_path)
    assert [item.row for item in items] == fixture("egoschema/hf_GENERATION_test.json")
    assert {item.answer for item in items} == {None}
    assert items[0].options[0] == "C repairs the loom frame with glue and clamps."


def test_egoschema_subset_leaves_out_questions_without_an_answer(tmp_path):
    put("egoschema/raw", tmp_path)
    uid = fixture("egoschema/raw/questions.json")[3]["q_uid"]
    (tmp_path / "subset_answers.json").write_text(json.dumps({uid: 4}))
    items = get_task("egoschema_subset").items(tmp_path)
    assert [(item.id, item.answer) for item in items] == [(uid, "E")]


def test_mlvu_reads_both_forms(tmp_path):
    put("mlvu/raw_json", tmp_path / "a" / "mlvu" / "data")
    put("mlvu/hf_dev_test.json", tmp_path / "b" / "mlvu")
    original, hub = rows("mlvu_dev", tmp_path / "a"), rows("mlvu_dev", tmp_path / "b")
    assert [without(r, "question_id") for r in original] == [without(r, "question_id") for r in hub]
    assert hub == fixture("mlvu/hf_dev_test.json")


def test_mlvu_questions_are_bare_in_items_and_whole_in_prompts(tmp_path):
    put("mlvu/hf_dev_test.json", tmp_path)
    item = get_task("mlvu_dev").items(tmp_path)[4]
    assert item.question.endswith("(4) waving a scarf.")
    assert item.options[1] == "4->1->3->2"
    assert item.answer == "B"


def test_mlvu_test_reads_six_options(tmp_path):
    put("mlvu/hf_test_test.json", tmp_path / "mlvu_test")
    items = get_task("mlvu_test").items(tmp_path)
    assert [len(item.options) for item in items] == [6, 6]
    assert [item.answer for item in items] == ["E", "B"]
    assert {item.sub_task for item in items} == {"sportsQA", "tutorialQA"}


def test_mlvu_answer_that_is_no_candidate_is_never_right(tmp_path):
    put("mlvu/raw_json", tmp_path / "data")
    path = tmp_path / "data" / "2_needle.json"
    document = json.loads(path.read_text())
    document[0]["answer"] = "something else"
    path.write_text(json.dumps(document))
    task = get_task("mlvu_dev")
    needle = next(item for item in task.items(tmp_path) if item.sub_task == "needle")
    assert [task.score(needle.row, said) for said in ("A", "", None)] == [0.0, 0.0, 0.0]


def test_mlvu_names_the_kinds_whose_file_is_missing(tmp_path, caplog):
    put("mlvu/raw_json", tmp_path / "mlvu" / "data")
    (tmp_path / "mlvu" / "data" / "4_count.json").unlink()
    with caplog.at_level(logging.WARNING):
        items = get_task("mlvu_dev").items(tmp_path)
    assert len(items) == len(FILES) - 1
    assert "4_count.json" in caplog.text
    report = get_task("mlvu_dev").check(tmp_path)
    assert [name.rsplit("/", 1)[1] for name in report.missing_annotations] == ["4_count.json"]
    assert not report.is_complete


def test_mlvu_generation_reads_reference_and_points(tmp_path):
    row = {"video": "v.mp4", "duration": 9, "question": "What happens?", "answer": "A dog barks."}
    data = tmp_path / "mlvu" / "data"
    data.mkdir(parents=True)
    sub_scene = {**row, "question_type": "subPlot", "scoring_points": MADE_UP_POINTS}
    (data / "8_sub_scene.json").write_text(json.dumps([sub_scene]))
    (data / "9_summary.json").write_text(json.dumps([{**row, "question_type": "summary"}]))
    scene, summary = (
        get_task(name).items(tmp_path)[0] for name in expand_names(["mlvu_generation"])
    )
    assert (scene.sub_task, scene.options, scene.answer) == ("sub_scene", (), "A dog barks.")
    assert scene.row["scoring_points"] == MADE_UP_POINTS
    assert (summary.id, summary.row["scoring_points"]) == ("summary-000", None)


def test_nextqa_reads_both_forms(tmp_path):
    put("nextqa/raw", tmp_path / "a" / "nextqa")
    put("nextqa/hf_MC_test.json", tmp_path / "b")
    original, hub = rows("nextqa_mc_test", tmp_path / "a"), rows("nextqa_mc_test", tmp_path / "b")
    assert original == hub == fixture("nextqa/hf_MC_test.json")


def test_perceptiontest_reads_both_forms(tmp_path):
    put("perceptiontest/raw", tmp_path / "a")
    put("perceptiontest/hf_mc_question_val_validation.json", tmp_path / "b")
    original = rows("perceptiontest_val_mc", tmp_path / "a")
    assert original == rows("perceptiontest_val_mc", tmp_path / "b")
    assert original == fixture("perceptiontest/hf_mc_question_val_validation.json")


def test_activitynetqa_joins_questions_and_answers_by_id(tmp_path):
    put("activitynetqa/raw", tmp_path / "a" / "activitynetqa")
    put("activitynetqa/hf_test.json", tmp_path / "b")
    original = rows("activitynetqa", tmp_path / "a")
    assert original == rows("activitynetqa", tmp_path / "b")
    assert original == fixture("activitynetqa/hf_test.json")


def test_activitynetqa_says_which_kind_a_question_is_and_whether_it_is_free(tmp_path):
    put("activitynetqa/hf_test.json", tmp_path)
    items = get_task("activitynetqa").items(tmp_path)
    assert [item.sub_task for item in items[:3]] == ["yes/no", "motion", "spatial relation"]
    assert [item.group for item in items[:3]] == ["free", None, None]


def test_numbers_and_digits_mean_the_same(tmp_path):
    document = fixture("perceptiontest/hf_mc_question_val_validation.json")
    for row in document:
        row["answer_id"] = int(row["answer_id"])
    (tmp_path / "mc_question_val").mkdir()
    (tmp_path / "mc_question_val" / "validation.json").write_text(json.dumps(document))
    items = get_task("perceptiontest_val_mc").items(tmp_path)
    assert [item.answer for item in items] == ["ABC"[row["answer_id"]] for row in document]


def test_json_lines_are_read_whatever_the_ending(tmp_path):
    lines = "\n".join(json.dumps(row) for row in fixture("nextqa/hf_MC_test.json"))
    for name in ("MC_test.jsonl", "hf_MC_test.json"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_text(f"{lines}\n\n")
        assert rows("nextqa_mc_test", folder) == fixture("nextqa/hf_MC_test.json")


def test_shards_of_parquet_are_read_where_the_hub_keeps_them(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    document = fixture("egoschema/hf_Subset_test.json")
    snapshot = tmp_path / "hub" / "datasets--lmms-lab--egoschema" / "snapshots" / "abc" / "Subset"
    snapshot.mkdir(parents=True)
    for i, part in enumerate((document[:2], document[2:])):
        table = pyarrow.Table.from_pylist(part)
        parquet.write_table(table, snapshot / f"test-0000{i}-of-00002.parquet")
    assert rows("egoschema_subset", tmp_path) == document


def test_ids_are_unique_and_the_same_in_both_forms(tmp_path):
    put("perceptiontest/raw", tmp_path / "a")
    document = fixture("perceptiontest/hf_mc_question_val_validation.json")
    ids = [item.id for item in get_task("perceptiontest_val_mc").items(tmp_path / "a")]
    assert ids == [f"{row['video_name']}_{row['question_id']}" for row in document]
    (tmp_path / "b").mkdir()
    lines = "\n".join(json.dumps(row) for row in [*document, document[0]])
    (tmp_path / "b" / "mc_question_val_validation.jsonl").write_text(lines)
    again = [item.id for item in get_task("perceptiontest_val_mc").items(tmp_path / "b")]
    assert again == [*ids, f"{ids[0]}#2"]


@pytest.mark.parametrize("task", expand_names(["mvbench", "egoschema", "egoschema_subset", "mlvu"]))
def test_missing_annotation_is_named_with_how_to_get_it(task, tmp_path):
    with pytest.raises(MissingDataError, match=r"json \(original\).*; (get|download) ") as error:
        get_task(task).items(tmp_path)
    assert str(tmp_path / task.split("_")[0]) in str(error.value)
    report = get_task(task).check(tmp_path)
    assert str(tmp_path) in report.missing_annotations[0]
    assert not report.is_complete and report.how_to_get


def test_missing_data_folder_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="nowhere"):
        get_task("activitynetqa").items(tmp_path / "nowhere")


def test_damaged_annotation_is_named_with_its_fault(tmp_path):
    (tmp_path / "test_q.json").write_text('[{"video_name": "x", "question"')
    (tmp_path / "test_a.json").write_text("[]")
    with pytest.raises(AnnotationError, match=r"test_q\.json is not JSON"):
        get_task("activitynetqa").items(tmp_path)
    put("activitynetqa/raw/test_q.json", tmp_path)
    with pytest.raises(AnnotationError, match="no answer to question v_madeUp_vid01_1"):
        get_task("activitynetqa").items(tmp_path)


@pytest.mark.parametrize(
    ("task", "folder", "part"),
    [
        ("activitynetqa", "activitynetqa/raw", "test_a.json"),
        ("egoschema_subset", "egoschema/raw", "subset_answers.json"),
    ],
)
def test_answers_in_a_file_of_their_own_are_named_where_they_are_missing(
    task, folder, part, tmp_path
):
    put(folder, tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(MissingDataError, match=f"{part} is missing"):
        get_task(task).items(tmp_path)
    report = get_task(task).check(tmp_path)
    assert report.missing_annotations == (str(tmp_path / part),)
    assert not report.is_complete


def test_row_without_a_field_is_named_with_what_it_has(tmp_path):
    (tmp_path / "action_count.json").write_text('[{"video": "x.mp4", "question": "q"}]')
    with pytest.raises(AnnotationError, match="lacks candidates, answer; it has video, question"):
        get_task("mvbench_action_count").items(tmp_path)


def test_mvbench_answer_that_is_no_candidate_is_an_error_as_in_the_harness(tmp_path):
    row = {"video": "x.mp4", "question": "q", "candidates": ["1", "2"], "answer": "3"}
    (tmp_path / "action_count.json").write_text(json.dumps([row]))
    with pytest.raises(AttributeError, match="'3' is none of the candidates '1', '2'"):
        get_task("mvbench_action_count").items(tmp_path)
