"""Worker processes that die, hang and fail, one file at a time."""

import time

import probes
import pytest

from mobile_videogpt.training.data.probe import Probe, Task, probe_file
from mobile_videogpt.training.data.workers import Failure, probe_all


@pytest.fixture
def run(tmp_path, clips):
    def run(*names, **options):
        tasks = []
        for name in names:
            (tmp_path / name).write_bytes(clips[0])
            tasks.append(Task("video", tmp_path / name))
        found = probe_all(tasks, probes.misbehaving, **options)
        return {task.path.name: result for task, result in found}

    return run


def test_a_worker_that_dies_names_its_file_and_the_others_are_looked_at(run):
    troubles = ("killed.mp4", "segfaults.mp4", "exits.mp4", "bug.mp4", "unlucky.mp4")
    results = run("a.mp4", *troubles, "b.mp4", "c.mp4")
    good = {"a.mp4", "b.mp4", "c.mp4", "unlucky.mp4"}
    assert {name for name, result in results.items() if isinstance(result, Probe)} == good
    assert results["killed.mp4"] == Failure("crash", "the decoder crashes (SIGKILL).")
    assert results["segfaults.mp4"].kind == "crash"
    assert results["exits.mp4"] == Failure("crash", "the decoder crashes (exit code 3).")
    assert results["bug.mp4"].kind == "undecodable" and "KeyError" in results["bug.mp4"].message


def test_a_worker_that_hangs_is_given_up(run):
    begun = time.monotonic()
    results = run("hangs.mp4", "a.mp4", workers=1, time_limit_s=3)
    assert results["hangs.mp4"].kind == "hang" and "3 s" in results["hangs.mp4"].message
    assert isinstance(results["a.mp4"], Probe)
    assert time.monotonic() - begun < 300  # it would sleep for an hour


def test_nothing_to_do_starts_no_process(monkeypatch):
    monkeypatch.setattr("multiprocessing.get_context", None)
    assert list(probe_all([], probe_file)) == []


def test_two_workers_finish_everything(run):
    names = [f"{number}.mp4" for number in range(5)]
    assert sorted(run(*names, workers=2)) == names


# What one look finds


def look(path, **options) -> Probe:
    return probe_file(Task("video", path, **options))


def test_a_clip_is_described(tmp_path, clips):
    (tmp_path / "a.mp4").write_bytes(clips[0])
    probe = look(tmp_path / "a.mp4", digest=True, thumbnail=True)
    assert (probe.frames, probe.fps, probe.width, probe.height) == (32, 8, 128, 128)
    assert probe.duration_s == pytest.approx(4) and probe.codec == "h264"
    assert probe.decoded == probe.sampled == 16 and probe.notes == ()
    assert len(probe.digest) == 32 and probe.thumbnail.startswith("/9j/")
    bare = look(tmp_path / "a.mp4")
    assert bare.digest == bare.thumbnail == ""


def test_flat_and_still_videos_are_noted(tmp_path):
    import numpy as np
    from PIL import Image

    for name, value in (("flat", lambda i: 40), ("still", lambda i: range(64))):
        (tmp_path / name).mkdir()
        for i in range(3):
            frame = np.broadcast_to(np.asarray(value(i), dtype=np.uint8), (64, 64))
            Image.fromarray(frame).save(tmp_path / name / f"{i}.png")
    assert look(tmp_path / "flat").notes == ("every frame is one flat colour",)
    assert "nothing changes" in look(tmp_path / "still").notes[0]
    picture = probe_file(Task("image", tmp_path / "still" / "0.png"))
    assert picture.notes == () and picture.frames == 1


def test_a_video_that_was_cut_off_says_so(tmp_path):
    import av

    from mobile_videogpt.synthetic import make_clip

    path = tmp_path / "cut.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8, options={"g": "1"})
        stream.width = stream.height = 128
        for frame in make_clip(1).frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    probe = look(path)
    assert probe.notes and probe.thumbnail
