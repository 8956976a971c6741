"""Every benchmark from its annotation and real videos to its number, with the built-in model."""

import json
import shutil
from pathlib import Path

import av
import pytest
from PIL import Image
from recorded_cases import FIXTURES

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.evaluation import get_task
from mobile_videogpt.evaluation.asking import ANSWER_BY
from mobile_videogpt.evaluation.run import scored_items
from mobile_videogpt.evaluation.runner import answer_items
from mobile_videogpt.evaluation.task import JudgedTask
from mobile_videogpt.synthetic.dataset import write_clip
from mobile_videogpt.synthetic.world import make_clip

# Task -> its annotation among the fixtures and where a user would put it.
ANNOTATIONS = {
    "mvbench_action_sequence": ("mvbench/json", "mvbench/json"),
    "mvbench_moving_attribute": ("mvbench/json", "mvbench/json"),
    "mvbench_episodic_reasoning": ("mvbench/json", "mvbench/json"),
    "egoschema": ("egoschema/raw", "egoschema"),
    "egoschema_subset": ("egoschema/raw", "egoschema"),
    "mlvu": ("mlvu/raw_json", "mlvu/json"),
    "mlvu_dev": ("mlvu/raw_json", "mlvu/json"),
    "nextqa_mc_test": ("nextqa/raw", "nextqa"),
    "perceptiontest_val_mc": ("perceptiontest/raw", "perceptiontest_val"),
    "activitynetqa": ("activitynetqa/raw", "activitynetqa"),
}


@pytest.fixture(scope="module")
def chat():
    """The built-in model."""
    return VideoChat("moving-shapes", device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A real clip of four seconds."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(make_clip(3, "test"), path)
    return path


def data_folder(task, clip, folder):
    """The task's annotation with a video at every place that it names; stretches made short."""
    source, place = ANNOTATIONS[task]
    shutil.copytree(FIXTURES / source, folder / place, dirs_exist_ok=True)
    if task == "mvbench_action_sequence":
        shorten(folder / place / "action_sequence.json")
    for item in get_task(task).items(folder):
        path = item.video.path
        if path.exists():
            continue
        if task == "mvbench_episodic_reasoning":  # the harness's place; here, a folder of frames
            path = folder / "mvbench/tvqa/frames_fps3_hq" / item.row["video"]
            write_frames(clip, path)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, path)
    return folder


def shorten(annotation):
    """The clip is shorter than the invented times."""
    rows = json.loads(annotation.read_text())
    for row in rows:
        row |= {"start": 0.5, "end": 2.5}
    annotation.write_text(json.dumps(rows))


def write_frames(clip: Path, folder: Path):
    """The clip as a folder of jpg frames, 40 seconds of it."""
    folder.mkdir(parents=True)
    with av.open(str(clip)) as container:
        pictures = [frame.to_image() for frame in container.decode(video=0)]
    for number in range(120):
        picture: Image.Image = pictures[number * len(pictures) // 120]
        picture.save(folder / f"{number + 1:05d}.jpg")


def run(task, chat, folder, **how):
    """Answer all questions of a task and aggregate."""
    items = task.items(folder)
    by_id = {p.id: p for p in answer_items(chat, task, items, **how)}
    predictions = [by_id[item.id] for item in items]
    return items, predictions, task.aggregate(scored_items(items, predictions))


@pytest.mark.parametrize("name", list(ANNOTATIONS))
def test_benchmark_runs_from_annotation_to_number(name, chat, clip, tmp_path):
    folder = data_folder(name, clip, tmp_path)
    task = get_task(name)
    assert task.check(folder).is_complete
    items, predictions, result = run(task, chat, folder, is_blind=False)
    assert [p.error for p in predictions] == [None] * len(items)
    assert result["items"] == len(items)
    for item, prediction in zip(items, predictions, strict=True):
        parsed = task.read(item.row, prediction.output)
        assert (prediction.prediction, prediction.random) == (parsed.value, parsed.is_random)
        assert prediction.score == task.score(item.row, parsed.value)
    if item.answer is None or isinstance(task, JudgedTask):
        assert result["value"] is None
    else:
        assert result["value"] == result[task.metric] >= 0


@pytest.mark.parametrize("name", ["mvbench_moving_attribute", "mlvu_dev", "nextqa_mc_test"])
@pytest.mark.parametrize("answer_by", ANSWER_BY)
def test_scores_add_up_to_the_number_however_it_is_answered(answer_by, name, chat, clip, tmp_path):
    folder = data_folder(name, clip, tmp_path)
    task = get_task(name, scoring="strict")
    _, predictions, result = run(task, chat, folder, is_blind=False, answer_by=answer_by)
    share = sum(p.score for p in predictions) / len(predictions)
    assert result["value"] == pytest.approx(share * (100 if task.unit == "percent" else 1))


def test_a_missing_video_is_wrong_and_stops_nothing(chat, clip, tmp_path):
    folder = data_folder("perceptiontest_val_mc", clip, tmp_path)
    task = get_task("perceptiontest_val_mc")
    gone = task.items(folder)[0].video.path
    gone.unlink()
    items, predictions, result = run(task, chat, folder, is_blind=False)
    lost = [p for p, item in zip(predictions, items, strict=True) if item.video.path == gone]
    assert lost and all(p.score == 0 and p.error for p in lost)
    assert result["items"] == len(items)
    assert result["value"] == sum(p.score for p in predictions) / len(items)
    assert task.check(folder).missing_videos == (gone,)
