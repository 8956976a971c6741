"""Questions put to a model: once a video, in any order, by generation and by likelihood."""

import json
from dataclasses import asdict, replace

import pytest
import small_benchmark
from small_benchmark import BROKEN, MISSING, READABLE, TASK

from mobile_videogpt.evaluation.asking import open_blind
from mobile_videogpt.evaluation.runner import answer_items, by_video, take_shard
from mobile_videogpt.evaluation.task import get_task

TIMES = ("seconds", "ttft_s", "decode_s", "is_first")


@pytest.fixture(scope="module")
def task():
    return get_task(TASK)


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    data_dir = small_benchmark.write_benchmark(tmp_path_factory.mktemp("data"))
    return get_task(TASK).items(data_dir)


@pytest.fixture(scope="module")
def predictions(lively_chat, task, items):
    return {p.id: p for p in answer_items(lively_chat, task, items)}


def told(prediction):
    """What an answer is, without how long it took."""
    return {k: v for k, v in asdict(prediction).items() if k not in TIMES}


def test_every_question_is_answered_with_the_tasks_prompt(task, items, predictions):
    assert set(predictions) == {item.id for item in items}
    for item in items:
        answered = predictions[item.id]
        assert answered.prompt == task.prompt(item.row)
        assert (answered.options, answered.answer) == (item.options, item.answer)
        assert json.loads(answered.to_line())["sub_task"] == item.sub_task


def test_outputs_are_the_chats_own_and_read_by_the_task(lively_chat, task, items, predictions):
    item = items[1]
    said = lively_chat.ask(
        item.video.source, task.prompt(item.row), max_new_tokens=task.max_new_tokens
    )
    answered = predictions[item.id]
    assert answered.output == said.text.split("\n\n")[0].strip()
    assert answered.prediction == task.parse(item.row, answered.output)
    assert answered.score == task.score(item.row, answered.prediction)
    assert answered.tokens > 0 and answered.kept_times and len(answered.kept_frames) == 8


def test_each_video_is_opened_once_and_its_cost_belongs_to_the_first_question(
    lively_chat, task, items, monkeypatch
):
    encoded = []
    original = lively_chat.engine.encode_from_features
    monkeypatch.setattr(
        lively_chat.engine,
        "encode_from_features",
        lambda *args: encoded.append(1) or original(*args),
    )
    answers = list(answer_items(lively_chat, task, items, is_blind=False))
    assert len(encoded) == len(READABLE)
    firsts = [p for p in answers if p.is_first]
    assert len(firsts) == len(READABLE)
    assert all(p.ttft_s > 0 and p.seconds >= p.ttft_s for p in answers if p.error is None)


def test_unreadable_videos_are_wrong_say_why_and_stop_nothing(predictions):
    failed = [p for p in predictions.values() if p.error is not None]
    assert {p.id.split("_")[0] for p in failed} == {str(BROKEN), str(MISSING)}
    assert len(failed) == 6
    for prediction in failed:
        assert (prediction.score, prediction.output, prediction.prediction) == (0.0, "", None)
        assert "mp4" in prediction.error and "\n" not in prediction.error


def test_the_blind_run_asks_the_same_about_nothing(lively_chat, task, items, predictions):
    item = items[0]
    blind = open_blind(lively_chat)
    said = lively_chat.ask(blind, task.prompt(item.row), max_new_tokens=task.max_new_tokens)
    assert predictions[item.id].blind.output == said.text.split("\n\n")[0].strip()
    assert all(frame.max() == 0 for frame in blind.frames)
    (without,) = answer_items(lively_chat, task, [item], is_blind=False)
    assert without.blind is None


def test_answers_depend_neither_on_order_nor_on_what_was_asked_before(
    lively_chat, task, items, predictions
):
    backwards = answer_items(lively_chat, task, items[::-1])
    assert {p.id: told(p) for p in backwards} == {k: told(p) for k, p in predictions.items()}
    (alone,) = answer_items(lively_chat, task, [items[7]])
    assert told(alone) == told(predictions[items[7].id])


def test_likelihood_takes_the_letter_that_follows_most_likely(lively_chat, task, items):
    item = items[2]
    (answered,) = answer_items(lively_chat, task, [item], answer_by="likelihood")
    scores = lively_chat.score(item.video.source, task.prompt(item.row), "ABCDE")
    best = max(range(5), key=lambda place: scores[place].sum)
    assert answered.output == "ABCDE"[best] and answered.answer_by == "likelihood"
    assert answered.log_likelihoods == pytest.approx([s.sum for s in scores], abs=1e-5)
    assert answered.score == float(answered.output == item.answer)


def test_likelihood_reads_the_prompt_once_for_all_options(lively_chat, task, items, monkeypatch):
    calls = []
    original = lively_chat.engine.score
    monkeypatch.setattr(
        lively_chat.engine, "score", lambda *args: calls.append(len(args[2])) or original(*args)
    )
    list(answer_items(lively_chat, task, items[:1], answer_by="likelihood", is_blind=False))
    assert calls == [5]


def test_a_likely_letter_that_the_harness_cannot_read_still_counts(lively_chat, task, items):
    class OnlyD(type(task)):
        def read(self, row, output):
            return super().read(row, "nothing" if output in "ABCE" else output)

    item = replace(items[0], answer="E")
    harness = OnlyD(task.name, scoring="strict")
    (answered,) = answer_items(lively_chat, harness, [item], answer_by="likelihood")
    assert answered.score == float(answered.output == "E")


def test_writing_ends_at_a_stop_string(lively_chat, task, items):
    (whole,) = answer_items(lively_chat, task, items[:1], is_blind=False)
    word = whole.output.split()[1]

    class Stopping(type(task)):
        stop = (word,)

    (cut,) = answer_items(lively_chat, Stopping(task.name), items[:1], is_blind=False)
    assert cut.output == whole.output.split(word)[0].strip()
    assert cut.tokens < whole.tokens


def test_a_question_that_does_not_fit_is_wrong_and_the_next_is_asked(lively_chat, task, items):
    long = replace(items[0], row={**items[0].row, "question": "why " * 5000})
    answers = list(answer_items(lively_chat, task, [long, items[3]]))
    by_id = {p.id: p for p in answers}
    assert "context" in by_id[long.id].error and by_id[long.id].score == 0.0
    assert by_id[items[3].id].error is None or str(BROKEN) in items[3].id


@pytest.mark.parametrize("part", ["encode_from_features", "generate"])
def test_a_broken_model_stops_the_run(lively_chat, task, items, monkeypatch, part):
    def explode(*args, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(lively_chat.engine, part, explode)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(answer_items(lively_chat, task, items[:1], is_blind=False))


def test_shards_share_the_videos_and_leave_none_out(items):
    shards = [take_shard(items, (place, 3)) for place in range(3)]
    assert sorted(i.id for shard in shards for i in shard) == sorted(i.id for i in items)
    videos = [{item.video for item in shard} for shard in shards]
    assert not videos[0] & videos[1] and not videos[0] & videos[2] and not videos[1] & videos[2]
    assert [len(v) for v in videos] == [2, 2, 1]


def test_other_stretches_of_a_video_are_other_videos(items):
    first, later = items[0], items[1]
    cut = replace(first, id="cut", video=replace(first.video, start=1.0, end=2.0))
    assert [[i.id for i in group] for group in by_video([first, cut, later, first])] == [
        [first.id, first.id],
        ["cut"],
        [later.id],
    ]
