"""What happens when, which frames show it, and what each way to select keeps of them."""

import io
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.evaluation.ablation.events import Happening, happenings
from mobile_videogpt.evaluation.ablation.selection import (
    REACH,
    methods_of,
    probe_selection,
    render_recall,
)
from mobile_videogpt.models.frame_selection import uniform_frames
from mobile_videogpt.synthetic.world import Clip, make_clip

FRAMES = 16


def clips_where(kind: str, count: int) -> list[Clip]:
    found = (make_clip(seed, "test") for seed in range(2000))
    return list(islice((c for c in found if any(h.kind == kind for h in happenings(c))), count))


@pytest.mark.parametrize("kind", ["recolor", "appear", "vanish", "grow", "shrink"])
def test_an_event_lies_between_its_two_frames(kind):
    times = np.arange(FRAMES) / FRAMES
    for clip in clips_where(kind, 5):
        for shape in clip.shapes:
            if shape.event.kind != kind:
                continue
            ours = [h for h in happenings(clip) if h.kind == kind]
            frames = [h.frames(FRAMES) for h in ours if h.begin == shape.event.time]
            before, after = frames[0]
            look = list(
                zip(shape.colors(times), shape.radii(times), shape.visible(times), strict=True)
            )
            assert len({look[i] for i in range(before + 1)}) == 1
            assert len({look[i] for i in range(after, FRAMES)}) == 1
            assert look[before] != look[after]
            inside = after - before - 1
            assert inside == 0 if kind not in ("grow", "shrink") else inside <= 2


def test_a_touch_is_where_the_hitter_stops():
    for clip in clips_where("touch", 5):
        hitter = next(shape for shape in clip.shapes if shape.touches is not None)
        at = next(h for h in happenings(clip) if h.kind == "touch").begin
        speed = hitter.motion.positions(np.array([at - 0.05, at, at + 0.05]))
        assert np.abs(speed[1] - speed[0]).max() > 0.01
        np.testing.assert_allclose(speed[2], speed[1])


def test_a_bouncing_object_turns_as_often_as_its_script_says():
    for clip in clips_where("turn", 30):
        expected = sum(
            s.motion.bounces if s.motion.kind == "bounce" else s.motion.kind == "sequence"
            for s in clip.shapes
        )
        assert sum(h.kind == "turn" for h in happenings(clip)) == expected


def test_what_ends_after_the_last_frame_has_no_frames():
    assert Happening("grow", 0.95, 1.05).frames(FRAMES) is None
    assert Happening("turn", 0.0, 0.0).frames(FRAMES) is None


@pytest.fixture(scope="module")
def chat():
    return VideoChat("moving-shapes", device="cpu", engine="torch")


def test_every_method_keeps_as_many_frames_and_attention_is_the_models(chat):
    frames = make_clip(3, "test").frames(32, 128)[::2]
    images, _ = chat.processor.pixels(list(frames))
    with torch.inference_mode():
        features = chat.model.encode_images(images)
        kept = {
            name: select(features[0], images[0])
            for name, select in methods_of(chat.config, 0).items()
        }
        _, expected = chat.model.select(features)
    for draws in kept.values():
        assert all(len(set(draw)) == 8 and draw == sorted(draw) for draw in draws)
    assert kept["attention"] == expected.tolist()
    assert kept["uniform"] == [uniform_frames(16, 8)]
    for name in ("attention", "least attention", "change", "random"):
        assert all(sum(frame < 8 for frame in draw) == 4 for draw in kept[name])
    assert not set(kept["attention"][0]) & set(kept["least attention"][0])


def test_change_keeps_the_frames_around_the_only_change(chat):
    frames = [np.zeros((128, 128, 3), np.uint8)] * 4 + [np.full((128, 128, 3), 200, np.uint8)] * 12
    images, _ = chat.processor.pixels(frames)
    kept = methods_of(chat.config, 0)["change"](torch.zeros(16, 36, 96), images[0])[0]
    assert {3, 4} <= set(kept)


@pytest.fixture(scope="module")
def probe(chat):
    return probe_selection(chat, 40)


def test_a_blind_draw_keeps_half_and_uniform_keeps_one_of_two(probe):
    methods = probe["methods"]
    assert methods["random"]["recall"]["value"] == pytest.approx(0.5, abs=0.03)
    assert methods["random"]["difference"]["value"] == 0
    recolor = methods["uniform"]["kinds"]["recolor"]["recall"]
    assert recolor["value"] == recolor["interval"]["low"] == recolor["interval"]["high"] == 0.5


def test_looking_for_change_finds_what_changes_at_once(probe):
    methods = probe["methods"]
    kinds = methods["change"]["kinds"]
    assert kinds["recolor"]["recall"]["value"] > 0.8
    assert methods["change"]["kept_at"]["1"] > 0.6
    assert set(map(int, methods["change"]["kept_at"])) <= set(range(-REACH, REACH + 1)) - {0}
    for found in methods.values():
        low, high = (found["recall"]["interval"][end] for end in ("low", "high"))
        assert low <= found["recall"]["value"] <= high
        # Both frames are kept at most as often as each of them is.
        assert found["both"]["value"] <= found["recall"]["value"]


def test_the_probe_is_repeatable_and_becomes_a_table_and_a_picture(chat, probe):
    pytest.importorskip("matplotlib")
    from mobile_videogpt.evaluation.ablation.selection_figure import draw_selection

    assert probe_selection(chat, 40) == probe
    lines = render_recall(probe).splitlines()
    assert len(lines) == 2 + len(probe["methods"])
    assert Image.open(io.BytesIO(draw_selection(probe))).width > 800
