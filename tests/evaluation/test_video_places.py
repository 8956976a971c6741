"""Where each item's video is: the harness's folders, the original ones, stretches and frames."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from recorded_cases import FIXTURES, fixture, recorded

from mobile_videogpt.evaluation import get_task
from mobile_videogpt.evaluation.annotations import DataFolders
from mobile_videogpt.evaluation.task import MVBENCH_SUB_TASKS
from mobile_videogpt.evaluation.tasks.mvbench import find_video
from mobile_videogpt.video.source import read_video

# The files that the recorded lookups found, below HF_HOME.
RECORDED_FILES = [
    *("egoschema/videos/u1.mp4", "egoschema/videos/u2.MP4"),
    *("nextqa/NExTVideo/123.mp4", "nextqa/NExTVideo/124.MP4"),
    *("perceptiontest_val/videos/video_1.mp4", "perceptiontest_val/videos/video_2.MP4"),
    *("mlvu/needle_1.mp4", "mlvu_test/t1.mp4"),
    *(f"activitynetqa/all_test/v_{name}" for name in ("aa.mp4", "bb.webm", "cc.mkv")),
    *("activitynetqa/all_test/v_dd.webm", "activitynetqa/all_test/v_dd.mkv"),
]
REST_OF_ROW = {
    "egoschema": {"question": "q", "option": ["A. a"] * 5},
    "nextqa": {
        **{"question": "q", "answer": 0, "qid": 1, "type": "CW"},
        **{f"a{i}": "x" for i in range(5)},
    },
    "perceptiontest": {"question": "q", "question_id": 1, "options": ["a", "b", "c"]},
    "mlvu_dev": {"question": "q", "candidates": ["a"], "answer": "A", "task_type": "needle"},
    "mlvu_test": {"question": "q", "candidates": ["a"], "answer": "A", "task_type": "ego"},
    "activitynetqa": {"question": "q", "question_id": "i", "answer": "yes", "type": 3},
}
TASKS = {"nextqa": "nextqa_mc_test", "perceptiontest": "perceptiontest_val_mc"}


def touch(folder, *names):
    """Make empty files with their folders."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def video_of(task, row, folder):
    """Where the task says that the row's video is."""
    found = get_task(task)
    return found.item(row, 0, DataFolders(folder, found.folder_names)).video


@pytest.mark.parametrize("benchmark", list(REST_OF_ROW))
def test_videos_are_found_where_the_harness_finds_them(benchmark, tmp_path):
    touch(tmp_path, *RECORDED_FILES)
    for case in recorded("video_paths")["head"][benchmark]:
        row = {**REST_OF_ROW[benchmark], **case["doc"]}
        video = video_of(TASKS.get(benchmark, benchmark), row, tmp_path)
        if isinstance(case["path"], list):
            assert video.path == tmp_path / case["path"][0]
        elif case["doc"] == {"video_name": "needle_1"}:
            # The harness ends here; a name without its ending is found by us.
            assert video.path == tmp_path / "mlvu/needle_1.mp4"
        else:
            assert not video.exists


@pytest.mark.parametrize("version", ["head", "paper"])
@pytest.mark.parametrize("sub_task", MVBENCH_SUB_TASKS)
def test_mvbench_clips_are_found_in_the_folders_of_both_harness_versions(
    version, sub_task, tmp_path
):
    suffix = "" if "frames" in recorded("video_paths")[version]["mvbench"][sub_task] else ".mp4"
    place = recorded("video_paths")[version]["mvbench"][sub_task].replace("VID.ext", f"VID{suffix}")
    touch(tmp_path, f"{place}/00001.jpg" if not suffix else place)
    row = {"video": f"VID{suffix}"}
    if not suffix:
        row |= {"start": 1.0, "end": 2.0}
    folders = DataFolders(tmp_path, ("mvbench_video",))
    assert find_video(sub_task, row, folders).path == tmp_path / place


CUT_SUB_TASKS = {
    "action_sequence": ("star/Charades_segment", "star/Charades_v1_480", ".mp4"),
    "action_prediction": ("star/Charades_segment", "star/Charades_v1_480", ".mp4"),
    "object_interaction": ("star/Charades_segment", "star/Charades_v1_480", ".mp4"),
    "action_localization": ("sta/sta_video_segment", "sta/sta_video", ".mp4"),
    "episodic_reasoning": ("tvqa/video_fps3_hq_segment", "tvqa/frames_fps3_hq", "/00001.jpg"),
}


@pytest.mark.parametrize("form", ["json", "hf_video_revision"])
@pytest.mark.parametrize("sub_task", list(CUT_SUB_TASKS))
def test_either_annotation_of_mvbench_works_with_either_kind_of_video(form, sub_task, tmp_path):
    cut, whole, suffix = CUT_SUB_TASKS[sub_task]
    row = fixture(f"mvbench/{form}/{sub_task}.json")[0]
    stem = fixture(f"mvbench/json/{sub_task}.json")[0]["video"].removesuffix(".mp4")
    clip = f"{cut}/{fixture(f'mvbench/hf_video_revision/{sub_task}.json')[0]['video']}"

    touch(tmp_path / "whole", f"{whole}/{stem}{suffix}")
    video = find_video(sub_task, row, DataFolders(tmp_path / "whole", ()))
    is_frames = suffix.endswith(".jpg")
    assert video.path == tmp_path / "whole" / whole / f"{stem}{'' if is_frames else suffix}"
    assert (video.start, video.end) == (row["start"], row["end"])
    assert video.fps == (3.0 if is_frames else None)

    touch(tmp_path / "cut", clip)
    video = find_video(sub_task, row, DataFolders(tmp_path / "cut", ()))
    assert video.path == tmp_path / "cut" / clip
    assert (video.start, video.end, video.fps) == (None, None, None)


def test_a_clip_without_times_in_its_name_is_taken_as_it_is(tmp_path):
    touch(tmp_path, "star/Charades_segment/QX1AA.mp4")
    row = fixture("mvbench/json/action_sequence.json")[0]
    video = find_video("action_sequence", row, DataFolders(tmp_path, ()))
    assert (video.path.name, video.start) == ("QX1AA.mp4", None)


def test_a_name_that_only_looks_like_times_is_left_alone(tmp_path):
    touch(tmp_path, "star/Charades_v1_480/clip_10_20.mp4")
    row = {"video": "clip_10_20.mp4", "start": 1.0, "end": 2.0}
    video = find_video("action_sequence", row, DataFolders(tmp_path, ()))
    assert (video.path.name, video.start, video.end) == ("clip_10_20.mp4", 1.0, 2.0)


@pytest.mark.parametrize("folder", ["ssv2_video", "ssv2_video_mp4"])
@pytest.mark.parametrize("form", ["json", "hf_video_revision"])
def test_converted_containers_are_found_under_the_name_in_either_form(folder, form, tmp_path):
    name = "900001.webm" if folder == "ssv2_video" else "900001.mp4"
    touch(tmp_path, f"{folder}/{name}")
    row = fixture(f"mvbench/{form}/action_antonym.json")[0]
    video = find_video("action_antonym", row, DataFolders(tmp_path, ()))
    assert video.path == tmp_path / folder / name


def test_a_stretch_of_a_folder_of_frames_is_read(tmp_path):
    folder = tmp_path / "mvbench" / "tvqa" / "frames_fps3_hq" / "madeupshow_s01e01_seg01_clip_01"
    folder.mkdir(parents=True)
    for number in range(1, 61):  # 20 seconds
        grey = np.full((32, 32, 3), 4 * number, dtype=np.uint8)
        Image.fromarray(grey).save(folder / f"{number:05d}.jpg", quality=95)
    shutil.copytree(FIXTURES / "mvbench/json", tmp_path / "mvbench" / "json")
    video = get_task("mvbench_episodic_reasoning").items(tmp_path)[0].video
    clip = read_video(video.source, start=video.start, end=video.end, fps=video.fps, count=8)
    assert clip.fps == 3.0
    assert clip.frame_times[0] >= 2.1 - 1 / 3
    assert clip.frame_times[-1] <= 9.8
    brightness = [frame.mean() / 4 - 1 for frame in clip.frames]  # the frame's number, from 0
    assert np.allclose(np.array(clip.frame_times) * 3, brightness, atol=0.5)


def test_egoschema_clips_are_found_in_the_ego4d_videos_they_were_cut_from(tmp_path):
    shutil.copytree(FIXTURES / "egoschema/raw", tmp_path / "egoschema")
    touch(tmp_path, "egoschema/ego4d/fake-1.mp4")
    items = get_task("egoschema").items(tmp_path)
    video = items[1].video
    assert (video.path.name, video.start, video.end) == ("fake-1.mp4", 60.0, 240.0)
    assert items[0].video.path == tmp_path / "egoschema/videos" / f"{items[0].id}.mp4"


def test_nextqa_videos_are_found_in_the_folders_of_the_map(tmp_path):
    shutil.copytree(FIXTURES / "nextqa/raw", tmp_path / "nextqa")
    touch(tmp_path, "nextqa/NExTVideo/0000/9000000002.mp4")
    items = get_task("nextqa_mc_test").items(tmp_path)
    assert items[2].video.path == tmp_path / "nextqa/NExTVideo/0000/9000000002.mp4"
    assert items[0].video.path == tmp_path / "nextqa/NExTVideo/9000000001.mp4"
    assert not items[0].video.exists


def test_mlvu_videos_are_found_in_the_folder_of_their_kind(tmp_path):
    shutil.copytree(FIXTURES / "mlvu/raw_json", tmp_path / "mlvu" / "json")
    touch(tmp_path, "mlvu/video/3_ego/ego_902.mp4")
    items = get_task("mlvu_dev").items(tmp_path)
    assert items[2].video.path == tmp_path / "mlvu/video/3_ego/ego_902.mp4"


def test_check_lists_each_missing_video_once(tmp_path):
    shutil.copytree(FIXTURES / "perceptiontest/raw", tmp_path / "perceptiontest_val")
    names = json.loads((tmp_path / "perceptiontest_val/mc_question_valid.json").read_text())
    present = next(iter(names))
    touch(tmp_path, f"perceptiontest_val/videos/{present}.mp4")
    report = get_task("perceptiontest_val_mc").check(tmp_path)
    assert (report.items, report.videos) == (5, len(names))
    missing = [tmp_path / f"perceptiontest_val/videos/{n}.mp4" for n in names if n != present]
    assert list(report.missing_videos) == missing
    assert not report.is_complete
    touch(tmp_path, *(f"perceptiontest_val/videos/{n}.mp4" for n in names))
    assert get_task("perceptiontest_val_mc").check(tmp_path).is_complete
