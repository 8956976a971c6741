"""NExT-QA in its published layout with real videos: three clips, a broken one, a missing one."""

from __future__ import annotations

import csv
from pathlib import Path

from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.dataset import write_clip

TASK = "nextqa_mc_test"
COLUMNS = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4".split(",")
KINDS = ("CW", "TN", "DL")
OPTIONS = ("left", "right", "up", "down", "nowhere")
READABLE = (101, 102, 103)
BROKEN, MISSING = 104, 105


def write_benchmark(data_dir: Path, videos: tuple[int, ...] = (*READABLE, BROKEN, MISSING)) -> Path:
    """Three questions about each video, turn and turn about; returns `data_dir`."""
    folder = data_dir / "nextqa" / "NExTVideo"
    folder.mkdir(parents=True)
    for video in videos:
        path = folder / f"{video}.mp4"
        if video == BROKEN:
            path.write_bytes(b"no video at all")
        elif video != MISSING:
            write_clip(make_clip(video), path)
    with (data_dir / "nextqa" / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, kind in enumerate(KINDS):
            for video in videos:
                row = (video, 32, 128, 128, f"which way does shape {number} go", number)
                writer.writerow((*row, number, kind, *OPTIONS))
    return data_dir
