"""All six benchmarks from annotation to report, in both layouts, on the invented fixtures.

Every video that an item names is made: the same clip under many names, or a folder of its frames.
"""

import json
import shutil
from pathlib import Path

import av
import pytest
from PIL import Image

from mobile_videogpt.evaluation.task import expand_names, get_task
from mobile_videogpt.synthetic import make_clip

FIXTURES = Path(__file__).parents[1] / "data" / "evaluation" / "fixtures"
BENCHMARKS = (
    *("mvbench", "egoschema_subset", "egoschema", "mlvu_dev"),
    *("nextqa_mc_test", "perceptiontest_val_mc", "activitynetqa"),
)
# Parts of paths of one layout, left out for the other.
LAYOUTS = {"original": ("hf_",), "hugging-face": ("/raw/", "/raw_json/", "/json/")}


@pytest.fixture(autouse=True)
def chat(lively_chat, monkeypatch):
    """Every `VideoChat` that a command makes is this one; no charts, which take half the time."""
    monkeypatch.setattr("mobile_videogpt.chat.VideoChat", lambda *args, **options: lively_chat)
    monkeypatch.setattr("mobile_videogpt.evaluation.report._add_charts", lambda report: {})
    return lively_chat


@pytest.fixture(scope="module", params=LAYOUTS)
def data_dir(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    clip = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_long_clip(clip)
    for source in FIXTURES.rglob("*"):
        name = source.relative_to(FIXTURES).as_posix()
        if source.is_file() and not any(part in f"/{name}" for part in LAYOUTS[request.param]):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    for task in expand_names(BENCHMARKS):
        for item in get_task(task).items(folder):
            make_video(item.video, clip)
    return folder


def write_long_clip(path):
    """64 seconds, one frame each: longer than any stretch that is looked at."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width = stream.height = 128
        for frame in [frame for frame in make_clip(8).frames() for _ in range(2)]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def make_video(video, clip):
    if video.exists:
        return
    if video.fps is None:
        video.path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, video.path)
        return
    video.path.mkdir(parents=True)
    for number, frame in enumerate(make_clip(9).frames()[:24], start=1):
        Image.fromarray(frame).save(video.path / f"{number:05d}.jpg")


def test_every_benchmark_runs_from_annotation_to_report(run, data_dir, tmp_path):
    arguments = ("eval", *BENCHMARKS, "--data-dir", data_dir, "--output", tmp_path)
    assert run(*arguments, "--dry-run")[0] == 0
    code, out, err = run(*arguments)
    assert code == 0, err
    report = json.loads((tmp_path / "report.json").read_text())
    assert {benchmark["name"] for benchmark in report["benchmarks"]} == set(BENCHMARKS)
    assert report["unreadable"] == []
    for benchmark in report["benchmarks"]:
        assert benchmark["title"] in out
        overall = benchmark["overall"]
        is_scored = benchmark["name"] not in ("egoschema", "activitynetqa")
        assert (overall["accuracy"] is not None) == is_scored
    (submission,) = (tmp_path / "egoschema" / "submissions").iterdir()
    assert set(json.loads(submission.read_text()).values()) <= set(range(5))


def test_items_lie_in_predictions_with_the_stretch_that_was_looked_at(run, data_dir, tmp_path):
    tasks = ("mvbench_action_sequence", "mvbench_episodic_reasoning")
    run("eval", *tasks, "--data-dir", data_dir, "--output", tmp_path, "--no-blind")
    for name in tasks:
        items = {item.id: item for item in get_task(name).items(data_dir)}
        for line in (tmp_path / name / "predictions.jsonl").read_text().splitlines():
            record = json.loads(line)
            video = items[record["id"]].video
            assert record["error"] is None and record["blind"] is None
            assert record["video"] == str(video.path) and record["fps"] == video.fps
            assert (record["start"], record["end"]) == (video.start, video.end)
            assert all(time >= (video.start or 0.0) - 0.5 for time in record["kept_times"])
