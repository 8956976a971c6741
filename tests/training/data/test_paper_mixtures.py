"""The committed mixtures of the paper, on a miniature copy of the layout that they expect."""

import json
import re
from pathlib import Path

import pytest

from mobile_videogpt.training.data import load_mixture, read_annotations
from mobile_videogpt.training.data.check import CheckOptions, check_data
from mobile_videogpt.training.data.mixture import read_config

ROOT = Path(__file__).parents[3]
MIXTURES = sorted((ROOT / "configs" / "paper" / "data").glob("*.yaml"))
PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
IMAGES = ("CC3M", "COCO")


def name_of(path: Path) -> str:
    return path.stem


def make_layout(config, root: Path, clips: list[bytes]) -> None:
    """Two entries and their files for every source, tagged as released."""
    from PIL import Image

    for number, source in enumerate(config.sources):
        is_image = any(name in str(source.annotations) for name in IMAGES)
        entries = []
        for place in range(2):
            kind, suffix = ("image", ".jpg") if is_image else ("video", ".mp4")
            name = f"part/{number}-{place}{suffix}"
            path = source.media_root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if is_image:
                Image.radial_gradient("L").save(path)
            else:
                path.write_bytes(clips[place])
            turns = [
                {"from": "human", "value": f"<image>\nQuestion {number}?"},
                {"from": "gpt", "value": f"Answer {place}."},
            ]
            entries.append({"id": f"{number}-{place}", kind: name, "conversations": turns})
        source.annotations.parent.mkdir(parents=True, exist_ok=True)
        source.annotations.write_text(json.dumps(entries), encoding="utf-8")


def test_there_are_mixtures_for_the_warm_up_and_for_stage_3():
    assert {path.stem for path in MIXTURES} == {
        "warmup",
        "warmup-released",
        "instruct",
        "instruct-released",
    }
    assert len(read_config(ROOT / "configs/paper/data/instruct-released.yaml").sources) == 22


@pytest.mark.parametrize("path", MIXTURES, ids=name_of)
def test_a_mixture_parses_and_the_page_knows_where_its_data_is(path):
    config = read_config(path)
    data = (ROOT / "data").resolve()
    for source in config.sources:
        folder = source.annotations.resolve().relative_to(data).parts[0]
        assert folder in {"annotations", "pretraining", "instruction_tuning"}
        assert source.media_root.resolve().is_relative_to(data)
    assert f"../{path.relative_to(ROOT)}" in PAGE


@pytest.mark.parametrize("path", MIXTURES, ids=name_of)
def test_a_mixture_loads_from_the_layout_that_it_names(path, tmp_path, clips):
    make_layout(read_config(path, root=tmp_path), tmp_path, clips)
    mixture = load_mixture(path, root=tmp_path)
    number = len(mixture.sources)
    assert mixture.samples_per_epoch == 2 * number
    records = [mixture.record(position) for position in range(2 * number)]
    assert len({record.id for record in records}) == 2 * number
    assert all(media.path.is_file() for record in records for media in record.media)
    assert {len(record.media) for record in records} == {1}


def test_the_check_takes_a_paper_mixture(tmp_path, clips):
    path = ROOT / "configs" / "paper" / "data" / "warmup-released.yaml"
    make_layout(read_config(path, root=tmp_path), tmp_path, clips)
    result = check_data(path, CheckOptions(workers=1), root=tmp_path)
    assert result.usable == result.entries == 8 and not result.problems


# The page's examples


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


def test_the_three_layouts_on_the_page_say_the_same(tmp_path):
    (llava, messages), (table,) = blocks("json"), blocks("csv")
    records = []
    for name, text in (
        ("a.json", llava),
        ("b.jsonl", json.dumps(json.loads(messages))),
        ("c.csv", table),
    ):
        (tmp_path / name).write_text(text)
        (record,) = read_annotations(tmp_path / name)
        records.append(record)
    for record in records:
        assert [turn.text for turn in record.turns[-2:]] == ["What happens?", "A dog jumps."]
        assert record.media[0].path == tmp_path / "clips" / "a.mp4"
        assert record.media[0].start == 1.5
    assert records[1].turns[0].text == "Be brief."


def test_the_mixture_on_the_page_loads(tmp_path):
    (text,) = blocks("yaml")
    (tmp_path / "configs").mkdir()
    (tmp_path / "data").mkdir()
    table = "video,question,answer\n" + "a.mp4,What?,That.\n" * 4
    for name in ("clips.csv", "kinetics.csv"):
        (tmp_path / "data" / name).write_text(table)
    path = tmp_path / "configs" / "mixture.yaml"
    path.write_text(text.replace("clips.json", "clips.csv"))
    assert load_mixture(path).samples_per_epoch == 4 + 2
