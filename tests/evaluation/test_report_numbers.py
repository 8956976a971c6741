"""The figures of a report: accuracies as the harness has them, baselines counted by hand."""

import json
import random
from dataclasses import replace

import pytest
from made_runs import made_up, prediction, write_run
from recorded_cases import FIXTURES, recorded

from mobile_videogpt.evaluation.predictions import Blind
from mobile_videogpt.evaluation.report import read_run
from mobile_videogpt.evaluation.report.accuracy import accuracy_row, chance, majority
from mobile_videogpt.evaluation.report.benchmarks import CLEVRER, benchmarks_of
from mobile_videogpt.evaluation.report.build import build_report, report_text
from mobile_videogpt.evaluation.report.markdown import to_markdown
from mobile_videogpt.evaluation.report.speed import describe_speed
from mobile_videogpt.evaluation.report.tables import published_table
from mobile_videogpt.evaluation.task import MVBENCH_SUB_TASKS, TASK_NAMES, get_task


def report_on(folder, predictions, **settings):
    return build_report(read_run(write_run(folder, predictions, **settings)))


def the_only(report):
    (benchmark,) = report["benchmarks"]
    return benchmark


# --- baselines


def test_chance_is_the_mean_over_questions_with_different_numbers_of_options():
    two = prediction(0, right=True, options=("yes", "no"))
    assert chance([two, prediction(1, right=True)]) == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert chance([prediction(2, right=True, options=())]) is None


def test_majority_is_the_commonest_letter_or_the_commonest_text():
    swapped = {"options": ("no", "yes"), "answer": "B"}
    plain = {"options": ("yes", "no"), "answer": "A"}
    always_yes = [prediction(i, right=True, **(plain if i % 2 else swapped)) for i in range(6)]
    assert majority(always_yes) == 1.0, "the text yes, whatever its letter"
    by_letter = [
        prediction(i, right=True, answer="C", options=(f"a{i}", f"b{i}", f"c{i}")) for i in range(3)
    ]
    assert majority(by_letter) == 1.0, "the letter C, whatever stands there"


def test_majority_of_open_answers_ignores_case_and_the_full_stop():
    answers = ("Yes", "yes.", "no", "red")
    rows = [prediction(i, right=True, options=(), answer=a) for i, a in enumerate(answers)]
    assert majority(rows) == 0.5


def test_secret_answers_have_no_majority():
    assert majority([prediction(0, right=True, answer=None)]) is None


def test_what_lies_over_the_blind_run_is_paired():
    rows = made_up(200, 0.8, blind_share=0.3)
    row = accuracy_row("all", rows)
    gap = row["accuracy"] - row["blind"]
    assert row["over_blind"]["value"] == pytest.approx(gap)
    assert row["over_blind"]["interval"]["low"] > 0.3
    assert row["over_blind"]["p_value"] < 0.001


def test_blind_is_compared_on_the_questions_that_were_asked_blind():
    rows = [prediction(i, right=i < 10, blind=Blind("A", "A", 0.0)) for i in range(20)]
    rows += [prediction(i, right=False) for i in range(20, 60)]
    row = accuracy_row("all", rows)
    assert row["accuracy"] == pytest.approx(10 / 60)
    assert row["over_blind"]["value"] == pytest.approx(0.5)


# --- averages


def test_mvbench_is_the_mean_over_its_sub_tasks_and_equals_the_recorded_aggregate(tmp_path):
    for case in recorded("aggregates")["mvbench"]:
        rows = []
        for kind, counts in case["sub_tasks"].items():
            rows += _counted(f"mvbench_{kind}", kind, **counts)
        found = the_only(report_on(tmp_path / case["name"], rows))
        assert found["name"] == "mvbench" and found["averaged_over"] == "kinds of questions"
        for row in found["sub_tasks"]:
            harness = case["sub_tasks"][row["name"]]["harness"]
            assert 100 * (row["accuracy"] or 0) == pytest.approx(harness), row["name"]


def _counted(task, kind, *, n, correct, empty_predictions, **_):
    rows = [
        prediction(i, right=i < correct, task=task, id=f"{kind}-{i}", sub_task=kind)
        for i in range(n)
    ]
    # The empty ones are among the wrong ones.
    first = n - empty_predictions
    return [replace(r, output="", prediction="") if i >= first else r for i, r in enumerate(rows)]


def test_mlvu_is_the_mean_over_kinds_as_recorded(tmp_path):
    for case in recorded("aggregates")["mlvu_dev"]:
        rows = []
        for kind, size in case["sizes"].items():
            right = case["correct"][kind]
            rows += [
                prediction(
                    i,
                    right=i < right,
                    task="mlvu_dev",
                    id=f"{kind}{i}",
                    sub_task=kind,
                    video=f"{i}",
                )
                for i in range(size)
            ]
        if not rows:
            continue
        found = the_only(report_on(tmp_path / case["name"], rows))
        macro = case["macro_over_7_types (since 2025-02-27)"]
        assert found["harness"]["value"] == pytest.approx(macro)
        present = sum(size > 0 for size in case["sizes"].values())
        assert 100 * found["overall"]["accuracy"] * present / 7 == pytest.approx(macro)


@pytest.mark.parametrize("task", ["nextqa_mc_test", "perceptiontest_val_mc", "egoschema_subset"])
def test_other_benchmarks_are_the_mean_over_questions(tmp_path, task):
    kinds = ("x", "x", "x", "y")
    rows = made_up(80, 0.6, task=task, kinds=kinds)
    found = the_only(report_on(tmp_path / "run", rows))
    assert found["overall"]["accuracy"] == pytest.approx(sum(r.score for r in rows) / 80)
    assert found["harness"]["value"] == pytest.approx(found["overall"]["accuracy"])


def test_groups_of_mvbench_are_means_over_their_sub_tasks(tmp_path):
    rows = made_up(40, 1.0, task="mvbench_action_sequence", sub_task="action_sequence", group="A")
    rows += made_up(10, 0.0, task="mvbench_action_antonym", sub_task="action_antonym", group="A")
    (group,) = the_only(report_on(tmp_path / "run", rows))["groups"]
    assert group["accuracy"] == 0.5 and group["questions"] == 50


# --- what cannot be scored


def test_an_unreadable_video_is_listed_and_counts_as_wrong_everywhere(tmp_path):
    rows = made_up(20, 1.0, task="mvbench_moving_count", sub_task="moving_count")
    lost = [
        prediction(
            30 + i,
            right=False,
            task="mvbench_moving_count",
            sub_task="moving_count",
            video="gone.mp4",
            output="",
            prediction=None,
            error="gone.mp4 does not exist",
        )
        for i in range(5)
    ]
    report = report_on(tmp_path / "run", [*rows, *lost])
    found = the_only(report)
    assert found["overall"]["accuracy"] == pytest.approx(20 / 25)
    assert found["harness"]["value"] == pytest.approx(80)
    assert report["unreadable"] == [
        {"video": "gone.mp4", "questions": 5, "error": "gone.mp4 does not exist"}
    ]
    assert any("5 questions got no answer" in remark for remark in found["remarks"])


def test_open_answers_without_a_judge_have_no_accuracy_but_words(tmp_path):
    rows = [
        prediction(
            *(i,), right=False, task="activitynetqa", options=(), answer="a dog", output=said,
            prediction=said, score=None, sub_task="object",
        )
        for i, said in enumerate(["dog", "The dog.", "a cat", "big dog"])
    ]  # fmt: skip
    rows += [replace(rows[0], id="lost", output="", error="damaged", score=0.0)]
    found = the_only(report_on(tmp_path / "run", rows))
    assert found["overall"]["accuracy"] is None and found["overall"]["interval"] is None
    assert found["words"]["exact_match"] == pytest.approx(40)
    assert found["words"]["comparable"] is False
    assert any("No judge" in remark for remark in found["remarks"])


def test_judged_answers_count_yes_among_yes_and_no(tmp_path):
    def judged(number, said, score):
        return prediction(
            *(number,), right=False, task="activitynetqa", options=(), answer="dog", output="dog",
            prediction="dog", score=score, judge="gpt-x", verdict={"Correctness": said, "score": 3},
        )  # fmt: skip

    rows = [judged(0, "yes", 1.0), judged(1, "no", 0.0), judged(2, "maybe", None)]
    found = the_only(report_on(tmp_path / "run", rows))
    assert found["overall"]["accuracy"] == 0.5
    assert found["harness"]["value"] == pytest.approx(50)
    assert any("gpt-x" in r and "GPT-3.5" in r for r in found["remarks"])
    assert "1 answers have no verdict." in found["remarks"]


def test_secret_answers_are_said_to_be_secret(tmp_path):
    rows = [prediction(i, right=True, task="egoschema", answer=None, score=None) for i in range(30)]
    found = the_only(report_on(tmp_path / "run", rows))
    assert found["overall"]["accuracy"] is None
    assert any("secret" in remark for remark in found["remarks"])


def test_what_the_benchmarks_server_said_stands_beside_the_paper(tmp_path):
    rows = [prediction(i, right=True, task="egoschema", answer=None, score=None) for i in range(9)]
    folder = write_run(tmp_path / "run", [*rows, *made_up(9, 1.0, task="egoschema_subset")])
    (folder / "egoschema" / "server.json").write_text('{"accuracy_percent": 31.4}')
    report = build_report(read_run(folder))
    table = published_table(report)
    assert table.rows[0][table.heading.index("EgoSchema")] == "31.4*"
    assert "31.4 % right, says the benchmark's server" in to_markdown(report)


# --- remarks


def remarks(tmp_path, rows, **settings):
    return " ".join(the_only(report_on(tmp_path / "run", rows, **settings))["remarks"])


def test_a_part_of_the_questions_is_said_to_be_one(tmp_path):
    said = remarks(tmp_path, made_up(100, 0.5))
    assert "100 of 8,564 questions" in said


def test_missing_kinds_are_named(tmp_path):
    kinds = [kind for kind in MVBENCH_SUB_TASKS if kind != "action_count"]
    rows = [r for kind in kinds for r in made_up(40, 0.5, task=f"mvbench_{kind}", sub_task=kind)]
    assert "Without action_count" in remarks(tmp_path, rows)


def test_settings_that_keep_a_number_from_being_comparable_are_said(tmp_path):
    task = {"settings": {"scoring": "strict", "mlvu_era": "paren"}}
    rows = made_up(60, 0.5, task="mlvu_dev", sub_task="ego", answer_by="likelihood", random=True)
    said = remarks(tmp_path, rows, tasks={"mlvu_dev": task}, scoring="strict")
    assert "strict" in said and "'paren'" in said and "likeliest" in said
    assert "60 answers could not be read" in said


def test_few_videos_are_warned_about(tmp_path):
    assert "Only 5 videos" in remarks(tmp_path, made_up(10, 0.5))


def test_the_subset_is_not_passed_off_as_the_full_egoschema(tmp_path):
    said = remarks(tmp_path, made_up(500, 0.5, task="egoschema_subset"))
    assert "5,031" in said


# --- speed


def test_latency_is_that_of_the_first_question_about_a_video():
    first = [prediction(i, right=True, seconds=2.0, ttft_s=1.5, is_first=True) for i in range(9)]
    more = [prediction(i, right=True, seconds=0.25, is_first=False) for i in range(9, 30)]
    slow = [prediction(50, right=True, seconds=8.0, ttft_s=7.0, is_first=True)]
    found = describe_speed([*first, *more, *slow])
    assert found["first_question_s"] == {"median": 2.0, "p90": pytest.approx(2.6)}
    assert found["first_token_s"]["median"] == 1.5
    assert found["follow_up_s"] == {"median": 0.25, "p90": 0.25}
    assert found["decode_tok_s"] == pytest.approx(2 / 0.1)
    assert found["questions_per_minute"] == pytest.approx(60 * 31 / 31.25, rel=1e-3)


def test_likelihoods_are_not_decoded():
    rows = made_up(4, 1.0, tokens=0, decode_s=0.0, answer_by="likelihood")
    found = describe_speed(rows)
    assert found["decode_tok_s"] is None and found["tokens_mean"] is None
    assert describe_speed([*rows, prediction(9, right=True, tokens=6)])["tokens_mean"] == 6


def test_videos_that_were_not_read_take_no_time():
    assert describe_speed([prediction(0, right=False, error="damaged", seconds=0.0)]) is None


# --- the document


def test_benchmarks_come_in_the_order_of_the_paper():
    names = ["moving-shapes", "nextqa_mc_test", "mvbench_moving_count", "mvbench_action_sequence"]
    found = benchmarks_of(names)
    assert [b.name for b in found] == ["mvbench", "nextqa_mc_test", "moving-shapes"]
    assert found[0].tasks == ("mvbench_action_sequence", "mvbench_moving_count")
    assert set(CLEVRER) < set(found[0].kinds)


def test_the_document_is_json_with_one_answer_a_line(tmp_path):
    rows = made_up(12, 0.5, blind_share=0.5)
    report = report_on(tmp_path / "run", rows)
    text = report_text(report)
    assert json.loads(text) == json.loads(json.dumps(report))
    lines = [line for line in text.splitlines() if '"q7"' in line]
    blind = rows[7].blind.score
    assert lines == [f'   ["q7", "videos/3.mp4", null, {rows[7].score}, {blind}],']
    assert {"command", "commit", "versions", "machine", "date"} <= report.keys()


def test_the_order_of_the_answers_does_not_matter(tmp_path):
    rows = made_up(60, 0.5, blind_share=0.4)
    shuffled = random.Random(1).sample(rows, len(rows))
    first = the_only(report_on(tmp_path / "a", rows))["overall"]
    second = the_only(report_on(tmp_path / "b", shuffled))["overall"]
    assert first["accuracy"] == second["accuracy"]
    for end in ("low", "high"):
        assert first["interval"][end] == pytest.approx(second["interval"][end], abs=0.04)


def test_a_folder_that_is_no_run_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"no run: it has no run\.json"):
        read_run(tmp_path)
    with pytest.raises(ValueError, match="nothing is answered"):
        read_run(write_run(tmp_path / "empty", []))
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        read_run(tmp_path)


# --- every task


def answered(name):
    """The fixture's questions of a task, every other one answered as it should be."""
    task = get_task(name)
    for number, item in enumerate(task.first_items(FIXTURES, 12)):
        said = (item.answer or "A") if number % 2 else "B"
        read = task.read(item.row, said)
        yield prediction(
            *(number,), right=False, task=name, id=item.id, sub_task=item.sub_task,
            group=item.group, prompt=task.prompt(item.row), output=said, prediction=read.value,
            answer=item.answer, options=item.options, video=str(item.video.path),
            score=task.score(item.row, read.value), random=read.is_random,
        )  # fmt: skip


WITHOUT_FIXTURE = {"mlvu_sub_scene", "mlvu_summary"}


@pytest.mark.parametrize("name", sorted(set(TASK_NAMES) - WITHOUT_FIXTURE))
def test_every_task_has_a_report_that_agrees_with_its_own_aggregate(tmp_path, name):
    settings = {name: {"settings": get_task(name).settings, "limit": 12}}
    found = the_only(report_on(tmp_path / "run", list(answered(name)), tasks=settings))
    value = found["harness"]["value"]
    if found["overall"]["accuracy"] is None:
        assert value is None and name in {"egoschema", "activitynetqa"}
        return
    scale = 100 if found["harness"]["unit"] == "percent" else 1
    if name == "mlvu_test":  # its fixture lacks kinds, which the harness counts as zero
        assert any("Without" in remark for remark in found["remarks"])
        scale *= len(found["sub_tasks"]) / 9
    assert scale * found["overall"]["accuracy"] == pytest.approx(value)
    assert to_markdown({**report_on(tmp_path / "run", list(answered(name))), "samples": []})


def test_of_two_forms_of_a_benchmark_the_scored_one_stands_beside_the_paper(tmp_path):
    rows = [prediction(i, right=True, task="egoschema", answer=None, score=None) for i in range(9)]
    rows += made_up(10, 1.0, task="egoschema_subset")
    table = published_table(report_on(tmp_path / "run", rows))
    place = table.heading.index("EgoSchema")
    assert table.rows[0][place] == "100.0*" and table.rows[0][1] == "not run"
