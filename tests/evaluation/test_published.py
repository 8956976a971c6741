"""The paper's numbers in the package are the paper's, and add up as the paper says."""

from statistics import fmean

import pytest
from recorded_cases import recorded

from mobile_videogpt.evaluation import published
from mobile_videogpt.evaluation.task import MVBENCH_SUB_TASKS, TASK_NAMES, get_task


def test_the_package_holds_the_recorded_tables():
    assert published.published() == recorded("published")


def test_table_1_in_shares():
    assert published.table1("MVBench")["Mobile-VideoGPT-0.5B"] == 0.535
    assert published.table1("PercepTest") == {
        "LLaVA-OneVision-0.5B": 0.492,
        "Mobile-VideoGPT-0.5B": 0.587,
        "Mobile-VideoGPT-1.5B": 0.653,
    }
    assert "GPT-4V" not in published.table1("NextQA"), "the paper has no number for it"
    assert published.throughputs()["Mobile-VideoGPT-0.5B"] == 45.9
    assert "GPT-4V" not in published.throughputs()


def test_table_2_covers_every_sub_task_in_nine_groups():
    groups = published.mvbench_groups()
    assert len(groups) == 9
    names = [name.removeprefix("mvbench_") for members in groups.values() for name in members]
    assert sorted(names) == sorted(MVBENCH_SUB_TASKS)


def test_the_average_row_is_the_mean_of_the_sub_tasks():
    columns = [published.mvbench(f"mvbench_{name}") for name in MVBENCH_SUB_TASKS]
    for model, average in published.mvbench_average().items():
        # The paper prints 53.5 where the mean is 53.55.
        assert fmean(column[model] for column in columns) == pytest.approx(average, abs=0.00051)


def test_models_of_table_2_are_named_as_in_table_1():
    known = set(published.table1("MVBench")) | {"Video-LLaMA-7B"}
    assert set(published.mvbench_average()) <= known


def test_other_tasks_have_no_row_in_table_2():
    assert published.mvbench("nextqa_mc_test") == {}


def test_tasks_name_columns_that_table_1_has():
    columns = {get_task(name).published_as for name in TASK_NAMES} - {None}
    assert columns == set(published.benchmark_columns())
