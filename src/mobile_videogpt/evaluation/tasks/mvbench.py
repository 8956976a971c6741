"""MVBench: 20 sub-tasks of 200 questions, each about what only a video can show.

Paper: Li et al., "MVBench" (CVPR 2024). Data: OpenGVLab/MVBench on the Hugging Face hub, in two
forms: the original one (`json/`, whole videos, five sub-tasks with start and end times, one of them
as folders of frames) and revision `video` (clips already cut). Either form of the annotation works
with either form of the videos: a clip that is not there is looked for as a stretch of the whole
video. lmms-eval never cuts: between 2025-02-20 and 2025-04-30 it pointed at the whole videos.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from ..annotated_task import Layout, MultipleChoiceTask
from ..annotations import DataFolders, hub_patterns, need, read_rows
from ..parsing import mvbench_label
from ..published import mvbench_groups
from ..scored import Scored, as_scored
from ..task import MVBENCH_SUB_TASKS, DataReport, Item, Parsed, Row, VideoRef

_CHARADES = ("star/Charades_segment", "star/Charades_v1_480")
_CLEVRER = ("clevrer/video_validation",)
_PERCEPTION = ("perception/videos",)

# Sub-task -> its folders: that of the clips cut in advance, then those of the whole videos.
_FOLDERS: dict[str, tuple[str, ...]] = {
    "action_sequence": _CHARADES,
    "action_prediction": _CHARADES,
    "object_interaction": _CHARADES,
    "action_localization": ("sta/sta_video_segment", "sta/sta_video", "sta_video"),
    "episodic_reasoning": ("tvqa/video_fps3_hq_segment", "tvqa/frames_fps3_hq"),
    "action_antonym": ("ssv2_video_mp4", "ssv2_video"),
    "fine_grained_pose": ("nturgbd_convert", "nturgbd"),
    "fine_grained_action": ("Moments_in_Time_Raw/videos",),
    "unexpected_action": ("FunQA_test/test",),
    "egocentric_navigation": ("vlnqa",),
    "object_existence": _CLEVRER,
    "moving_direction": _CLEVRER,
    "moving_count": _CLEVRER,
    "moving_attribute": _CLEVRER,
    "counterfactual_inference": _CLEVRER,
    "object_shuffle": _PERCEPTION,
    "action_count": _PERCEPTION,
    "state_change": _PERCEPTION,
    "character_order": _PERCEPTION,
    "scene_transition": ("scene_qa/video",),
}
_FRAMES_PER_SECOND = 3.0  # of the folders of frames; the frame named 00001 is at 0 s
# The same video was converted to another container in the other form.
_SUFFIXES = (".mp4", ".webm", ".avi", ".mkv")
_TIMES = re.compile(r"_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)$")


class NoRightOptionError(AttributeError, ValueError):
    """A question whose answer is none of its candidates."""


class MVBench(MultipleChoiceTask):
    """One sub-task, `mvbench_<sub_task>`."""

    title = "MVBench"
    published_as = "MVBench"
    metric = "mvbench_accuracy"
    folder_names = ("mvbench", "MVBench", "mvbench_video")
    how_to_get = (
        "download OpenGVLab/MVBench from the Hugging Face hub (json/ and the archives of video/), "
        "unpack it and put the folder under the data folder as mvbench/"
    )

    @property
    def sub_task(self) -> str:
        """The sub-task's name without the prefix."""
        return self.name.removeprefix("mvbench_")

    @property
    def layouts(self) -> Sequence[Layout]:
        """Revision `video` first: there each clip is a file of its own."""
        name = self.sub_task
        cut = (*hub_patterns("MVBench", name, "train"), f"hf_video_revision/{name}.json")
        return (
            Layout("revision video", f"video/{name}.json", (*cut, f"video/{name}.json"), read_rows),
            Layout(
                "original", f"json/{name}.json", (f"json/{name}.json", f"{name}.json"), read_rows
            ),
        )

    def item(self, row: Row, number: int, folders: DataFolders) -> Item:
        """See `AnnotatedTask`."""
        need(row, "video", "question", "candidates", "answer", source=self.name)
        return Item(
            id=f"{self.sub_task}-{number:03d}",
            row=row,
            video=find_video(self.sub_task, row, folders),
            question=row["question"],
            options=self.options(row),
            answer=self.answer_letter(row),
            sub_task=self.sub_task,
            group=_group_of(self.name),
        )

    def prompt(self, row: Row) -> str:
        """The question, the options in brackets, the instruction; each with its line end."""
        options = "".join(
            f"({letter}) {option}\n"
            for letter, option in zip(ascii_uppercase, row["candidates"], strict=False)
        )
        return f"Question:{row['question']}\nOption:\n{options}Only give the best option.\n"

    def options(self, row: Row) -> tuple[str, ...]:
        """The candidates."""
        return tuple(row["candidates"])

    def answer_letter(self, row: Row) -> str | None:
        """The letter of the first candidate that is the answer.

        Raises:
            NoRightOptionError: none of them is.
        """
        if row.get("gt_answer") is not None:
            return str(row["gt_answer"])
        if row["answer"] not in row["candidates"]:
            raise NoRightOptionError(
                f"the answer {row['answer']!r} is none of the candidates "
                f"{', '.join(map(repr, row['candidates']))}"
            )
        return ascii_uppercase[list(row["candidates"]).index(row["answer"])]

    def harness_read(self, row: Row, output: str) -> Parsed:
        """A letter, or the cleaned text."""
        return Parsed(mvbench_label(output))

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """Percent right; lmms-eval leaves questions without any output out of the denominator."""
        scored = [as_scored(self, entry) for entry in scored_items]
        empty = [s for s in scored if s.is_empty]
        counted = scored if self.scoring == "strict" else [s for s in scored if not s.is_empty]
        return {**self.mean(scored, counted), "empty_outputs": len(empty)}


class WholeMVBench(MVBench):
    """All sub-tasks together: the unweighted mean over them, which the harness does not compute."""

    def _part(self, sub_task: str) -> MVBench:
        return MVBench(f"mvbench_{sub_task}", scoring=self.scoring, seed=self.seed)

    def _parts(self) -> list[MVBench]:
        return [self._part(sub_task) for sub_task in MVBENCH_SUB_TASKS]

    def items(self, data_dir: str | Path) -> list[Item]:
        """The items of all sub-tasks."""
        return [item for part in self._parts() for item in part.items(data_dir)]

    def check(self, data_dir: str | Path) -> DataReport:
        """The reports of all sub-tasks as one."""
        reports = [part.check(data_dir) for part in self._parts()]
        return DataReport(
            self.name,
            annotations=tuple(path for report in reports for path in report.annotations),
            items=sum(report.items for report in reports),
            videos=sum(report.videos for report in reports),
            missing_annotations=tuple(m for report in reports for m in report.missing_annotations),
            missing_videos=tuple(path for report in reports for path in report.missing_videos),
            how_to_get=self.how_to_get,
        )

    def aggregate(self, scored_items: Iterable[Any]) -> dict[str, Any]:
        """The mean over the sub-tasks that occur; `sub_tasks_missing` names the others.

        Every record needs its sub_task, or a task called mvbench_<sub_task>.

        Raises:
            ValueError: one has neither.
        """
        scored = [as_scored(self, entry) for entry in scored_items]
        kinds: dict[str, list[Scored]] = {}
        for entry in scored:
            kinds.setdefault(_sub_task_of(entry), []).append(entry)
        parts = {kind: self._part(kind).aggregate(_records(s)) for kind, s in kinds.items()}
        by_sub_task = {
            name: {"value": parts[name]["value"], "items": parts[name]["items"]}
            for name in MVBENCH_SUB_TASKS
            if name in parts
        }
        groups = {
            group: [by_sub_task[n]["value"] for n in map(_bare, names) if n in by_sub_task]
            for group, names in mvbench_groups().items()
        }
        return self.result(
            _mean([part["value"] for part in parts.values()]),
            scored,
            by_sub_task=by_sub_task,
            by_group={group: _mean(values) for group, values in groups.items() if values},
            sub_tasks_missing=[name for name in MVBENCH_SUB_TASKS if name not in parts],
        )


def find_video(sub_task: str, row: Row, folders: DataFolders) -> VideoRef:
    """Where the clip of a row is: cut in advance, or as a stretch of the whole video or frames."""
    name = str(row["video"])
    if row.get("start") is None or row.get("end") is None:
        return VideoRef(folders.place(_names(_FOLDERS[sub_task], name)))
    start, end = float(row["start"]), float(row["end"])
    stem, suffix = _without_times(_stem(name), start, end), _suffix(name)
    cut, whole = _FOLDERS[sub_task][:1], _FOLDERS[sub_task][1:]
    clips = [*_names(cut, f"{stem}_{start}_{end}{suffix}"), *_names(cut, name)]
    frames = [f"{folder}/{stem}" for folder in whole] if sub_task == "episodic_reasoning" else []
    stretches = [*frames, *_names(whole, f"{stem}{suffix}")]
    is_of_clips = stem != _stem(name)
    path = folders.place([*clips, *stretches] if is_of_clips else [*stretches, *clips])
    if any(path.as_posix().endswith(f"/{clip}") for clip in clips):
        return VideoRef(path)
    is_frames = any(path.as_posix().endswith(f"/{folder}") for folder in frames)
    fps = float(row.get("fps") or _FRAMES_PER_SECOND) if is_frames else None
    return VideoRef(path, start=start, end=end, fps=fps)


def _without_times(stem: str, start: float, end: float) -> str:
    """The name of the whole video, from that of a clip: `<id>_<start>_<end>`."""
    times = _TIMES.search(stem)
    is_clip = times and abs(float(times[1]) - start) < 0.1 and abs(float(times[2]) - end) < 0.1
    return stem[: times.start()] if times and is_clip else stem


def _names(folders: Iterable[str], name: str) -> list[str]:
    """The file in each folder, and, for a copy in another container, with the other endings."""
    stem, own = _stem(name), _suffix(name)
    suffixes = (own, *(suffix for suffix in _SUFFIXES if suffix != own))
    return [f"{folder}/{stem}{suffix}" for suffix in suffixes for folder in folders]


def _suffix(name: str) -> str:
    return next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), _SUFFIXES[0])


def _stem(name: str) -> str:
    return name[: -len(_suffix(name))] if name.lower().endswith(_SUFFIXES) else name


def _group_of(task: str) -> str | None:
    return next((group for group, names in mvbench_groups().items() if task in names), None)


def _bare(task: str) -> str:
    return task.removeprefix("mvbench_")


def _sub_task_of(entry: Scored) -> str:
    name = _bare(str(entry.fields.get("sub_task") or entry.fields.get("task") or ""))
    if name not in MVBENCH_SUB_TASKS:
        raise ValueError(
            f"an item of mvbench names the sub-task {name!r}; known are "
            f"{', '.join(MVBENCH_SUB_TASKS)}"
        )
    return name


def _records(scored: Iterable[Scored]) -> list[dict[str, Any]]:
    return [{**entry.fields, "score": entry.score} for entry in scored]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
