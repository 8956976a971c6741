"""What lmms-eval is told, and how its requests are answered, with stand-ins for its classes."""

import importlib
import math
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.evaluation import lmms_eval
from mobile_videogpt.evaluation.lmms_eval import moving_shapes
from mobile_videogpt.evaluation.lmms_eval.adapter import MobileVideoGPTChat, MobileVideoGPTSimple
from mobile_videogpt.evaluation.lmms_eval.arguments import Arguments
from mobile_videogpt.evaluation.lmms_eval.generation import cut, read_settings
from mobile_videogpt.evaluation.lmms_eval.requests import read_chat, read_likelihood, read_simple
from mobile_videogpt.evaluation.remote_model import INSTRUCTION
from mobile_videogpt.evaluation.runner import answer_items
from mobile_videogpt.evaluation.task import get_task
from mobile_videogpt.synthetic import test_set

EXAMPLES = Path(__file__).parents[2] / "examples"
CLIPS = [str(EXAMPLES / f"shapes-{i}.mp4") for i in (1, 2)]
QUESTION = "How many objects move?"
GREEDY = {"max_new_tokens": 8, "temperature": 0, "do_sample": False, "until": ["\n\n"]}


@dataclass
class FakeInstance:
    """Of lmms_eval.api.instance.Instance: what a model may look at."""

    args: tuple
    doc_id: int = 0
    metadata: dict = field(default_factory=dict)


ROWS = [{"video": CLIPS[0], "options": ["one", "two"]}, {"video": CLIPS[1]}]
TASKS = {"shapes": {"test": ROWS}}


def find(task, split, doc_id):
    return TASKS[task][split][doc_id]


def visual_of(row):
    return [row["video"]]


def simple(doc_id=0, question=QUESTION, generation=GREEDY, to_visual=visual_of):
    return (question, generation, to_visual, doc_id, "shapes", "test")


def chat_request(messages, generation=GREEDY):
    return ("", lambda row: messages, generation, 0, "shapes", "test")


def user(*content):
    return {"role": "user", "content": list(content)}


def text(words):
    return {"type": "text", "text": words}


def video(url, **more):
    return {"type": "video", "url": url, **more}


# --- the entry point


def fake_registry(monkeypatch):
    """A module like lmms_eval.models.registry_v2 with a manifest that only keeps its fields."""
    module = ModuleType("lmms_eval.models.registry_v2")
    module.ModelManifest = lambda **fields: SimpleNamespace(**fields)
    for name in ("lmms_eval", "lmms_eval.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_the_manifest_names_a_class_for_each_slot(monkeypatch):
    fake_registry(monkeypatch)
    manifest = lmms_eval.manifest()
    assert manifest.model_id == "mobile_videogpt"
    for path, is_simple in ((manifest.simple_class_path, True), (manifest.chat_class_path, False)):
        module, name = path.rsplit(".", 1)
        assert getattr(importlib.import_module(module), name).is_simple is is_simple


@pytest.mark.parametrize("found", ["nothing", "a manifest that refuses"])
def test_the_entry_point_never_raises(monkeypatch, found):
    if found == "nothing":
        monkeypatch.setitem(sys.modules, "lmms_eval", None)
    else:
        fake_registry(monkeypatch)
        module = sys.modules["lmms_eval.models.registry_v2"]
        monkeypatch.setattr(module, "ModelManifest", lambda **fields: fields["no_such_field"])
    assert lmms_eval.manifest() == ()


def test_the_entry_point_of_the_package_is_the_manifest_and_imports_nothing_heavy():
    tomllib = pytest.importorskip("tomllib")
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["entry-points"]["lmms_eval.models"]["mobile_videogpt"].split(":")
    code = (
        f"import importlib, sys\nimportlib.import_module({module!r}).{function}()\n"
        "heavy = {'torch', 'transformers', 'av', 'numpy', 'PIL'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(root / "src")}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


# --- requests


def test_a_simple_request_has_its_row_looked_up():
    request = read_simple(simple(1), find)
    assert request.clip.source == CLIPS[1] and request.question == QUESTION
    assert request.generation == GREEDY and request.history == ()


def test_pictures_are_the_frames_of_one_video():
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    request = read_simple(simple(to_visual=lambda row: [frames]), find)
    assert request.clip.source == frames
    files = ["a.png", "b.JPG"]
    assert read_simple(simple(to_visual=lambda row: files), find).clip.source == files


def test_a_stretch_of_a_video_may_come_in_three_ways():
    described = {"type": "video", "path": CLIPS[0], "video_start": 1.0, "video_end": 2.5}
    asked = [
        read_simple(simple(to_visual=lambda row: [described]), find),
        read_chat(chat_request([user(video(described), text("?"))]), find),
        read_chat(
            chat_request([user(video(CLIPS[0], start_time=1.0, end_time=2.5), text("?"))]), find
        ),
    ]
    assert {r.clip for r in asked} == {asked[0].clip}
    assert (asked[0].clip.source, asked[0].clip.start, asked[0].clip.end) == (CLIPS[0], 1.0, 2.5)


def test_the_same_file_is_the_same_clip_and_a_stretch_of_it_is_another():
    whole = [read_simple(simple(doc_id), find).clip for doc_id in (0, 0, 1)]
    assert whole[0] == whole[1] != whole[2]
    part = {"type": "video", "url": CLIPS[0], "video_start": 1.0}
    assert read_simple(simple(to_visual=lambda row: [part]), find).clip != whole[0]


@pytest.mark.parametrize(
    ("visuals", "found"),
    [
        ([], "no video"),
        (None, "no video"),
        (CLIPS, "2 videos and 0 pictures"),
        ([CLIPS[0], "a.png"], "1 videos and 1 pictures"),
        ([3.5], "a float"),
        ([{"type": "audio", "url": "a.wav"}], "type 'audio'"),
    ],
)
def test_what_is_not_about_one_video_is_refused_by_row_and_task(visuals, found):
    with pytest.raises(ValueError, match=rf"row 1 of shapes \(test\) has .*{found}"):
        read_simple(simple(1, to_visual=lambda row: visuals), find)


def test_messages_become_a_question_with_its_history():
    messages = [
        {"role": "system", "content": [text("Be brief.")]},
        user(video(CLIPS[0]), text("Which "), text("color?")),
        {"role": "assistant", "content": "red"},
        user(text("And shape?")),
    ]
    request = read_chat(chat_request(messages), find)
    assert request.history == (("Which color?", "red"),)
    assert request.question == "Be brief.\nAnd shape?"
    assert request.clip.source == CLIPS[0]


@pytest.mark.parametrize("roles", [[], ["assistant"], ["user", "user"], ["user", "assistant"]])
def test_turns_out_of_order_are_refused(roles):
    messages = [{"role": role, "content": [video(CLIPS[0]), text("?")]} for role in roles]
    with pytest.raises(ValueError, match="takes user and assistant in turn"):
        read_chat(chat_request(messages), find)


def test_a_likelihood_request_gives_its_answer_as_text_or_by_a_function():
    given = read_likelihood((QUESTION, " two", visual_of, 0, "shapes", "test"), find)
    assert given.continuation == "two"
    by_row = read_likelihood(
        (QUESTION, lambda row: row["options"][0], visual_of, 0, "shapes", "test"), find
    )
    assert by_row.continuation == "one"
    with pytest.raises(ValueError, match="acc_mutual_info"):
        read_likelihood(("", "two"), find)


# --- settings


def test_settings_are_greedy_unless_the_task_samples():
    assert read_settings(GREEDY).options == {"max_new_tokens": 8}
    assert read_settings({"until": ["\n\n"], "do_sample": False}).options == {"max_new_tokens": 16}
    assert read_settings({}, 5).options == {"max_new_tokens": 5}
    sampled = read_settings({"temperature": 0.7, "top_p": 0.9, "max_gen_toks": 4})
    wanted = {"max_new_tokens": 4, "do_sample": True, "temperature": 0.7, "top_p": 0.9}
    assert sampled.options == wanted
    assert "do_sample" not in read_settings({"temperature": 0.7, "do_sample": False}).options
    assert "top_p" not in read_settings({"temperature": None, "top_p": None}).options


def test_what_addresses_other_models_is_passed_over():
    asked = read_settings({"image_aspect_ratio": "original", "until": "ASSISTANT:"})
    assert asked.options == {"max_new_tokens": 16} and asked.stop == ("ASSISTANT:",)


def test_the_first_of_the_stop_texts_ends_the_answer():
    assert cut("one two three", ["three", "two"]) == "one "
    assert cut("one", ["two"]) is None and cut("one", []) is None


def test_unknown_arguments_are_named():
    with pytest.raises(ValueError, match=r"'pretrainde'; known are pretrained, device"):
        Arguments.read({"pretrainde": "x"})
    with pytest.raises(ValueError, match="likelihood is 'max'"):
        Arguments.read({"likelihood": "max"})
    assert Arguments.read({"device": "cpu", "cache_dir": "None"}).cache_dir is None


# --- answers of the built-in model


@pytest.fixture(scope="module")
def model():
    adapter = MobileVideoGPTSimple("moving-shapes", batch_size=1, device="cpu")
    adapter.task_dict = TASKS
    return adapter


@pytest.fixture(scope="module")
def direct():
    return VideoChat("moving-shapes", device="cpu")


def texts(outputs):
    """What the harness takes out of its own class; bare outputs where it is not installed."""
    return [getattr(output, "text", output) for output in outputs]


def test_a_likelihood_comes_in_the_class_that_the_harness_unwraps(model, monkeypatch):
    """lmms-eval 0.7.3 makes text of a bare pair: "(3.2, True)", which no task can read."""
    module = ModuleType("lmms_eval.api.instance")
    module.GenerationResult = lambda text: SimpleNamespace(text=text)
    for name in ("lmms_eval", "lmms_eval.api"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (wrapped,) = model.loglikelihood(instances(likelihood("two")))
    loss, is_greedy = wrapped.text
    assert loss > 0 and isinstance(is_greedy, bool)


def instances(*requests):
    return [FakeInstance(request) for request in requests]


def test_answers_are_those_of_the_chat_in_the_order_asked(model, direct):
    questions = ["How many objects move?", "How many objects stay still?"]
    asked = [(doc_id, q) for q in questions for doc_id in (0, 1)]
    outputs = model.generate_until(instances(*(simple(*one) for one in asked)))
    wanted = [str(direct.ask(CLIPS[i], q, max_new_tokens=8)) for i, q in asked]
    assert texts(outputs) == wanted and len(set(wanted)) > 1


def test_each_video_is_opened_once(model, monkeypatch):
    opened = []

    def open_each(parts):
        for part, video in original(parts):
            opened.append(part.source)
            yield part, video

    original = model.chat.open_each
    monkeypatch.setattr(model.chat, "open_each", open_each)
    model.generate_until(instances(simple(0), simple(1), simple(0), simple(1)))
    assert opened == CLIPS


def test_what_is_no_fault_of_the_video_ends_the_run(model, monkeypatch):
    monkeypatch.setattr(model.chat, "open_each", lambda parts: [(parts[0], MemoryError("full"))])
    with pytest.raises(MemoryError, match="full"):
        model.generate_until(instances(simple(0)))


def test_an_answer_ends_before_a_stop_text(model):
    whole = texts(model.generate_until(instances(simple(question="Describe the video."))))[0]
    stop = {**GREEDY, "until": [whole[4:6]]}
    short = texts(
        model.generate_until(instances(simple(question="Describe the video.", generation=stop)))
    )[0]
    assert len(whole) > 6 and short == whole[: whole.index(whole[4:6])]


def test_an_unreadable_video_leaves_its_questions_without_an_answer(model, tmp_path, caplog):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 64)
    outputs = model.generate_until(
        instances(simple(to_visual=lambda row: [str(broken)]), simple(0))
    )
    assert texts(outputs)[0] == "" and texts(outputs)[1]
    assert "1 of 2 questions are about unreadable videos" in caplog.text
    losses = model.loglikelihood(
        instances((QUESTION, "two", lambda row: [str(broken)], 0, "shapes", "test"))
    )
    assert texts(losses) == [(math.inf, False)]


def test_the_chat_slot_answers_as_the_simple_one(model):
    other = MobileVideoGPTChat("moving-shapes", device="cpu")
    other.task_dict = TASKS
    outputs = other.generate_until(instances(chat_request([user(video(CLIPS[0]), text(QUESTION))])))
    assert texts(outputs) == texts(model.generate_until(instances(simple(0))))


def likelihood(answer, doc_id=0, question=QUESTION):
    return (question, f" {answer}", visual_of, doc_id, "shapes", "test")


def test_the_smallest_loss_is_the_likeliest_answer(model, direct):
    options = ["zero", "one", "two", "three"]
    requests = instances(*(likelihood(o, doc_id) for doc_id in (0, 1) for o in options))
    losses = texts(model.loglikelihood(requests))
    for doc_id in (0, 1):
        own = [loss for loss, _ in losses[4 * doc_id : 4 * doc_id + 4]]
        scores = direct.score(CLIPS[doc_id], QUESTION, options)
        np.testing.assert_allclose(own, [-score.sum for score in scores], rtol=1e-4)
        assert options[int(np.argmin(own))] == scores.best.option


def test_the_greedy_answer_is_known_as_such(model, direct):
    greedy = str(direct.ask(CLIPS[0], QUESTION))
    others = [n for n in ("zero", "one", "two") if n != greedy]
    pairs = texts(model.loglikelihood(instances(*(likelihood(a) for a in (*others, greedy)))))
    assert [is_greedy for _, is_greedy in pairs] == [False] * len(others) + [True]


def test_losses_may_be_per_token(direct):
    adapter = MobileVideoGPTSimple("moving-shapes", device="cpu", likelihood="mean")
    adapter.task_dict = TASKS
    ((loss, _),) = texts(adapter.loglikelihood(instances(likelihood("it changes color"))))
    (score,) = direct.score(CLIPS[0], QUESTION, ["it changes color"])
    assert score.tokens > 1 and loss == pytest.approx(-score.per_token, rel=1e-4)


def test_answers_go_to_the_harness_cache(model, monkeypatch):
    kept = []
    hook = SimpleNamespace(add_partial=lambda *entry: kept.append(entry))
    monkeypatch.setattr(model, "cache_hook", hook, raising=False)
    output = texts(model.generate_until(instances(simple(0))))[0]
    assert kept == [("generate_until", (QUESTION, GREEDY), output)]


def test_what_the_harness_looks_up_on_a_model(model):
    assert str(model.device) == "cpu" and model.batch_size == 1
    assert model.tokenizer.decode([model.eot_token_id]) == "<|im_end|>"
    assert model.max_length > 100
    model.clean()
    assert texts(model.generate_until(instances(simple(0))))[0]
    with pytest.raises(NotImplementedError, match="one round"):
        model.generate_until_multi_round([])


# --- MovingShapes as tasks of the harness


class TaskFile(yaml.SafeLoader):
    """Reads a task file as lmms-eval does: `!function` becomes the function."""

    def function(self, node):
        module, name = self.construct_scalar(node).rsplit(".", 1)
        return getattr(importlib.import_module(module), name)


TaskFile.add_constructor("!function", TaskFile.function)


@pytest.fixture(scope="module")
def task_files(tmp_path_factory):
    folder = test_set.write_test_set(tmp_path_factory.mktemp("it's") / "set: 1", limit=9)
    out = moving_shapes.write_tasks(folder)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in out.iterdir()}
    return folder, {name: yaml.load(text, TaskFile) for name, text in texts.items()}


def test_the_task_files_find_the_set_wherever_it_is(task_files):
    folder, configs = task_files
    rows = test_set.read_rows(folder)
    assert sorted(configs) == ["moving_shapes_test", "moving_shapes_test_likelihood"]
    for name, config in configs.items():
        assert config["task"] == name
        assert Path(config["dataset_kwargs"]["data_files"]["test"]) == folder / "questions.jsonl"
        settings = config["lmms_eval_specific_kwargs"]["default"]
        (clip,) = config["doc_to_visual"](rows[0], settings)
        assert Path(clip) == folder / rows[0]["video"] and Path(clip).is_file()


def test_other_models_are_told_to_give_a_letter_and_ours_is_not(task_files):
    folder, configs = task_files
    config = configs["moving_shapes_test"]
    row = test_set.read_rows(folder)[0]
    kwargs = config["lmms_eval_specific_kwargs"]
    ours = config["doc_to_text"](row, kwargs[lmms_eval.MODEL_ID])
    assert ours == get_task("moving-shapes-test").prompt(row)
    assert config["doc_to_text"](row, kwargs["default"]) == f"{ours}\n{INSTRUCTION}"


def run_task(config, rows, adapter):
    """What lmms-eval does with a task file, in short."""
    adapter.task_dict = {config["task"]: {"test": rows}}
    settings = config["lmms_eval_specific_kwargs"][lmms_eval.MODEL_ID]
    visual = lambda row: config["doc_to_visual"](row, settings)  # noqa: E731
    records = []
    for doc_id, row in enumerate(rows):
        prompt = config["doc_to_text"](row, settings)
        place = (doc_id, config["task"], "test")
        if config["output_type"] == "generate_until":
            given = (prompt, config["generation_kwargs"], visual, *place)
            results = texts(adapter.generate_until(instances(given)))
        else:
            options = config["doc_to_choice"](row)
            assert options[config["doc_to_target"](row)] == options["ABCDE".index(row["answer"])]
            given = [(prompt, f" {option}", visual, *place) for option in options]
            results = texts(adapter.loglikelihood(instances(*given)))
        records.append(config["process_results"](row, results)["accuracy"])
    return config["metric_list"][0]["aggregation"](records), records


@pytest.mark.parametrize(
    ("name", "answer_by"),
    [("moving_shapes_test", "generation"), ("moving_shapes_test_likelihood", "likelihood")],
)
def test_both_harnesses_give_the_same_score(task_files, name, answer_by):
    folder, configs = task_files
    adapter = MobileVideoGPTSimple("moving-shapes", device="cpu")
    value, records = run_task(configs[name], test_set.read_rows(folder), adapter)
    task = get_task("moving-shapes-test")
    items = task.first_items("", 9)
    ours = {
        p.id: p
        for p in answer_items(adapter.chat, task, items, answer_by=answer_by, is_blind=False)
    }
    assert [r["prediction"] for r in records] == [ours[r["id"]].prediction for r in records]
    assert value == task.aggregate([asdict(p) for p in ours.values()])["value"] > 30
