"""The written data set: real files, repeatable annotations."""

import json

import av
import pytest

from mobile_videogpt.synthetic.dataset import clip_number, write_dataset


def test_clips_are_real_videos_and_annotations_name_them(tmp_path):
    write_dataset(tmp_path, num_clips=2, seed=4)
    entries = json.loads((tmp_path / "annotations.json").read_text())
    assert len({entry["id"] for entry in entries}) == len(entries) > 6
    for entry in entries:
        assert entry["conversations"][0]["value"].startswith("<video>\n")
        assert entry["conversations"][-1]["value"] == entry["answer"]
    videos = {entry["video"] for entry in entries}
    assert len(videos) == 2
    with av.open(str(tmp_path / videos.pop())) as container:
        assert sum(1 for _ in container.decode(video=0)) == 32


def test_the_same_arguments_give_the_same_files(tmp_path):
    for name in ("a", "b"):
        write_dataset(tmp_path / name, num_clips=1, seed=1)
    first, second = (
        sorted(p for p in (tmp_path / n).rglob("*") if p.is_file()) for n in ("a", "b")
    )
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_seeds_share_no_clip_and_a_negative_one_is_refused():
    assert clip_number(1, 0) > clip_number(0, 999_999)
    with pytest.raises(ValueError, match="-1"):
        clip_number(-1, 0)
