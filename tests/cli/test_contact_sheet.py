"""The picture of `keyframes`: the kept frames are framed, and only they."""

import numpy as np
import pytest

from mobile_videogpt.cli.contact_sheet import (
    BORDER,
    GAP,
    HEADER,
    KEPT,
    PAPER,
    FrameChoice,
    draw_contact_sheet,
)


def make_choice(height=60, width=80, count=16, kept=(0, 5, 6, 7, 9, 10, 12, 15), scores=None):
    frames = [np.full((height, width, 3), 10 * index, np.uint8) for index in range(count)]
    scores = scores or [196 + 0.1 * index for index in range(count)]
    times = [0.25 * index for index in range(count)]
    return FrameChoice("clip.mp4", frames, times, scores, [k for k in kept if k < count], 8)


def corner_pixels(sheet, columns, cell):
    """The pixel where each frame's border would be, row by row."""
    pitch = (cell[0] + 2 * BORDER + GAP, cell[1] + 2 * BORDER + 24 + GAP)
    for index in range(16):
        left, top = GAP + index % columns * pitch[0], HEADER + index // columns * pitch[1]
        yield sheet.getpixel((left + 1, top + 1))


def test_exactly_the_kept_frames_are_framed():
    choice = make_choice()
    corners = list(corner_pixels(draw_contact_sheet(choice), 4, (240, 180)))
    assert [index for index, pixel in enumerate(corners) if pixel == KEPT] == choice.kept
    assert all(pixel in (KEPT, PAPER) for pixel in corners)


@pytest.mark.parametrize(
    ("height", "width", "count"), [(60, 80, 16), (300, 90, 16), (1, 400, 16), (50, 50, 1)]
)
def test_any_shape_and_number_of_frames_is_drawn(height, width, count):
    sheet = draw_contact_sheet(make_choice(height, width, count))
    assert sheet.mode == "RGB" and sheet.width >= 640


def test_equal_scores_and_long_unicode_titles_are_drawn():
    choice = make_choice(scores=[196.0] * 16)
    object.__setattr__(choice, "title", "видео " * 60 + "動画.mp4")
    draw_contact_sheet(choice)
