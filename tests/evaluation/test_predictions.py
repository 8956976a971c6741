"""The lines of a run: written through, read back, torn, and put together from several processes."""

import json

import pytest

from mobile_videogpt.evaluation.predictions import Blind, Prediction, PredictionFolder


def prediction(identifier, output="A", error=None, **more):
    values = {
        "task": "t",
        "id": identifier,
        "sub_task": None,
        "group": None,
        "prompt": "Which?",
        "output": output,
        "prediction": output,
        "answer": "A",
        "score": float(output == "A"),
        "options": ("x", "y"),
        "video": "v.mp4",
        "error": error,
    }
    return Prediction(**{**values, **more})


def outputs(folder):
    return {identifier: p.output for identifier, p in PredictionFolder(folder).read().items()}


def test_a_line_holds_everything_and_comes_back_the_same(tmp_path):
    full = prediction(
        "動画 1",
        start=0.5,
        kept_frames=(0, 3),
        kept_times=(0.0, 1.5),
        log_likelihoods=(-1.5, -2.0),
        blind=Blind("B", "B", 0.0, random=True),
        verdict={"Correctness": "yes", "score": 4},
        video="odd\udcff name.mp4",
    )
    PredictionFolder(tmp_path).append(full)
    assert PredictionFolder(tmp_path).read() == {"動画 1": full}
    (line,) = (tmp_path / "predictions.jsonl").read_text().splitlines()
    contract = (
        "task id sub_task group prompt output prediction answer score options video kept_frames "
        "seconds tokens ttft_s decode_s error random"
    )
    assert set(contract.split()) <= json.loads(line).keys()


def test_what_a_kill_left_half_written_is_cut_off_and_asked_again(tmp_path):
    first = PredictionFolder(tmp_path)
    for name in ("1", "2"):
        first.append(prediction(name))
    path = tmp_path / "predictions.jsonl"
    whole = path.read_bytes()
    for cut in range(whole.index(b"\n") + 2, len(whole)):
        path.write_bytes(whole[:cut])
        again = PredictionFolder(tmp_path)
        assert set(again.read()) == {"1"}
        again.append(prediction("2"))
        assert path.read_bytes() == whole


def test_shards_are_merged_in_the_order_of_the_questions_once_all_are_there(tmp_path):
    ids = ["1", "2", "3"]
    first, second = (PredictionFolder(tmp_path, (place, 2)) for place in (0, 1))
    first.append(prediction("3"))
    first.append(prediction("1"))
    assert not first.merge(ids)
    assert {path.name for path in tmp_path.iterdir()} == {"predictions-0-of-2.jsonl"}
    second.append(prediction("2", "B"))
    assert second.merge(ids) and second.merge(ids) and first.merge(ids)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.jsonl"]
    assert list(outputs(tmp_path).items()) == [("1", "A"), ("2", "B"), ("3", "A")]


def test_a_resumed_run_finds_what_other_numbers_of_processes_answered(tmp_path):
    PredictionFolder(tmp_path, (1, 3)).append(prediction("1"))
    PredictionFolder(tmp_path, (0, 2)).append(prediction("2"))
    PredictionFolder(tmp_path).append(prediction("3"))
    assert set(PredictionFolder(tmp_path, (3, 4)).read()) == {"1", "2", "3"}


def test_another_processs_torn_line_is_left_alone(tmp_path):
    PredictionFolder(tmp_path, (0, 2)).append(prediction("1"))
    path = tmp_path / "predictions-0-of-2.jsonl"
    path.write_bytes(path.read_bytes() + b'{"task": "t", "id": "9')
    before = path.read_bytes()
    assert set(PredictionFolder(tmp_path, (1, 2)).read()) == {"1"}
    assert path.read_bytes() == before


def test_more_answers_than_asked_for_are_kept_behind_the_others(tmp_path):
    folder = PredictionFolder(tmp_path)
    for name in ("3", "2", "1"):
        folder.append(prediction(name))
    assert folder.merge(["1", "2"])
    assert list(outputs(tmp_path)) == ["1", "2", "3"]


def test_forgotten_answers_are_asked_again_and_the_later_answer_counts(tmp_path):
    folder = PredictionFolder(tmp_path)
    folder.append(prediction("1", "", error="cannot be read"))
    folder.append(prediction("2", "B"))
    folder.forget(["1"])
    assert set(folder.read()) == {"2"}
    folder.append(prediction("1", "C"))
    assert folder.merge(["1", "2"]) and outputs(tmp_path) == {"1": "C", "2": "B"}


@pytest.mark.parametrize("line", ["shopping list", "[1]", '{"video": "a", "description": "b"}'])
def test_a_file_that_is_none_of_ours_is_refused_in_one_sentence(tmp_path, line):
    (tmp_path / "predictions.jsonl").write_text(f"{line}\n")
    with pytest.raises(ValueError, match="--output") as raised:
        PredictionFolder(tmp_path).read()
    assert "\n" not in str(raised.value)
