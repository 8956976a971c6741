"""The comparison behind docs/token-merging.md is fair: equal tokens, paired questions."""

import pytest
from benchmark_scripts import load_script

from mobile_videogpt.evaluation.moving_shapes import Result
from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.questions import Question


@pytest.fixture(scope="module")
def script():
    return load_script("token_merging")


def test_all_ways_leave_equally_many_tokens_and_the_video_tokens_alone(script, lively_chat):
    video = lively_chat.open(make_clip(0).frames())
    config = lively_chat.config
    for (method, keep), reduce in script.reductions(lively_chat).items():
        smaller = reduce(video)
        expected = round(config.num_image_tokens * keep) + config.num_video_tokens
        assert smaller.num_visual_tokens == expected, (method, keep)
        rest = slice(-config.num_video_tokens, None)
        assert (smaller.visual_embeds[:, rest] == video.visual_embeds[:, rest]).all()


def test_dropped_frames_are_whole_and_evenly_spaced(script, lively_chat):
    video = lively_chat.open(make_clip(0).frames())
    per_frame = lively_chat.config.num_image_tokens // 16
    places = script.frames_dropped(lively_chat, 0.25, in_place=True)(video).places
    images = [place for place in places if place < lively_chat.config.num_image_tokens]
    assert sorted({place // per_frame for place in images}) == [0, 4, 8, 12]
    assert len(images) == 4 * per_frame


def test_frames_dropped_as_usual_close_up_and_are_the_same_frames(script, lively_chat):
    video = lively_chat.open(make_clip(0).frames())
    kept, closed = (
        script.frames_dropped(lively_chat, 0.25, in_place)(video) for in_place in (True, False)
    )
    assert (kept.visual_embeds == closed.visual_embeds).all()
    assert closed.places == tuple(range(closed.num_visual_tokens))


def test_differences_are_paired_and_their_error_is_over_clips(script):
    question = Question("family", "?", "left", ("left", "right"))

    def results(letters):
        return [Result(question, "left", letter, None, False) for letter in letters]

    found = script._compare(results("AAAA"), results("AABB"), [0, 0, 1, 1])
    assert found["multiple_choice_points"] == 50.0
    assert found["multiple_choice_standard_error"] == pytest.approx(35.36, abs=0.01)
    assert found["open_points"] == found["open_standard_error"] == 0.0
