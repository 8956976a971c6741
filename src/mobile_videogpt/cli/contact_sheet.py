"""Draws which frames the model kept, and why: a grid of frames above a plot of their scores.

Pillow alone, so that the command works with the core dependencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 4
THUMBNAIL = 240  # width of a frame in the sheet; tall frames are limited to the same height
GAP = 12
BORDER = 5
CAPTION = 24
HEADER = 64
PLOT = 200
PLOT_LEFT = 96  # room for the labels of the vertical axis

PAPER = (250, 250, 248)
INK = (40, 42, 46)
FAINT = (150, 152, 156)
RULE = (222, 222, 218)
KEPT = (214, 84, 0)
DROPPED = (120, 124, 130)

# The rooms of the sheet are measured in pixels from its top left corner.
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class FrameChoice:
    """What the sheet shows of one video."""

    title: str
    frames: Sequence[np.ndarray]
    """uint8 (H, W, 3), all of one size."""
    times: Sequence[float]
    """Seconds."""
    scores: Sequence[float]
    kept: Sequence[int]
    """Positions among `frames`."""
    frames_per_chunk: int | None = None
    """Where frames compete within chunks: their length."""


def draw_contact_sheet(choice: FrameChoice) -> Image.Image:
    """The sheet as an RGB image: header, frames with time and score, score plot."""
    height, width = choice.frames[0].shape[:2]
    scale = THUMBNAIL / max(height, width)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    columns = min(COLUMNS * (2 if height > width else 1), len(choice.frames))
    pitch = (cell[0] + 2 * BORDER + GAP, cell[1] + 2 * BORDER + CAPTION + GAP)
    rows = math.ceil(len(choice.frames) / columns)
    plot_top = HEADER + rows * pitch[1] + GAP
    size = (max(GAP + columns * pitch[0], 640), plot_top + PLOT + 2 * CAPTION + GAP)

    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_header(draw, choice, size[0])
    for index in range(len(choice.frames)):
        left = GAP + (index % columns) * pitch[0]
        top = HEADER + (index // columns) * pitch[1]
        _draw_frame(sheet, draw, choice, index, (left, top), cell)
    _draw_plot(draw, choice, (PLOT_LEFT, plot_top, size[0] - 2 * GAP, plot_top + PLOT))
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_header(draw: ImageDraw.ImageDraw, choice: FrameChoice, width: int) -> None:
    title = choice.title
    while draw.textlength(title, _font(20)) > width - 2 * GAP and len(title) > 8:
        title = f"{title[: len(title) // 2 - 3]}...{title[len(title) // 2 + 3 :]}"
    draw.text((GAP, 10), title, INK, _font(20))
    rule = f", the best of every {choice.frames_per_chunk}" if choice.frames_per_chunk else ""
    legend = f"{len(choice.frames)} frames sampled, {len(choice.kept)} kept{rule} (framed)"
    draw.text((GAP, 38), legend, FAINT, _font(15))


def _draw_frame(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    choice: FrameChoice,
    index: int,
    corner: tuple[int, int],
    cell: tuple[int, int],
) -> None:
    """One frame, framed if it was kept, with its time and score below."""
    left, top = corner
    is_kept = index in choice.kept
    if is_kept:
        outer = (left, top, left + cell[0] + 2 * BORDER - 1, top + cell[1] + 2 * BORDER - 1)
        draw.rectangle(outer, fill=KEPT)
    frame = Image.fromarray(choice.frames[index]).resize(cell, Image.Resampling.BICUBIC)
    sheet.paste(frame, (left + BORDER, top + BORDER))
    baseline = top + cell[1] + 2 * BORDER + 3
    colour = KEPT if is_kept else DROPPED
    draw.text((left + BORDER, baseline), f"{choice.times[index]:.2f} s", colour, _font(15))
    draw.text(
        (left + BORDER + cell[0], baseline),
        f"{choice.scores[index]:.{_decimals(choice.scores)}f}",
        colour,
        _font(15),
        anchor="ra",
    )


def _draw_plot(draw: ImageDraw.ImageDraw, choice: FrameChoice, box: Box) -> None:
    """Scores over the sampled frames; the vertical axis spans the scores, not zero to them."""
    left, top, right, bottom = box
    low, high = min(choice.scores), max(choice.scores)
    span = high - low
    count = len(choice.scores)
    step = (right - left) / count

    def place(index: int) -> tuple[float, float]:
        part = (choice.scores[index] - low) / span if span else 0.5
        return left + (index + 0.5) * step, bottom - 14 - part * (bottom - top - 28)

    for value in dict.fromkeys((low, (low + high) / 2, high)):
        part = (value - low) / span if span else 0.5
        y = bottom - 14 - part * (bottom - top - 28)
        draw.line((left, y, right, y), RULE)
        label = f"{value:.{_decimals(choice.scores)}f}"
        draw.text((left - 8, y), label, FAINT, _font(13), anchor="rm")
    if choice.frames_per_chunk:
        for boundary in range(choice.frames_per_chunk, count, choice.frames_per_chunk):
            x = left + boundary * step
            for y in range(top, bottom, 8):
                draw.line((x, y, x, y + 3), FAINT)
    chunk = choice.frames_per_chunk or count
    for start in range(0, count, chunk):
        points = [place(index) for index in range(start, min(start + chunk, count))]
        draw.line(points, RULE, width=2)
    for index in range(count):
        x, y = place(index)
        is_kept = index in choice.kept
        radius = 7 if is_kept else 4
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), KEPT if is_kept else DROPPED)
        label = f"{choice.times[index]:.2f}"
        draw.text((x, bottom + 6), label, KEPT if is_kept else FAINT, _font(13), anchor="ma")
    caption = "attention score of each sampled frame, by its time in seconds"
    draw.text((left, bottom + CAPTION), caption, FAINT, _font(13))


def _decimals(scores: Sequence[float]) -> int:
    """Enough digits to tell the scores apart."""
    span = max(scores) - min(scores)
    return 2 if span == 0 or span >= 0.5 else min(6, 1 + math.ceil(-math.log10(span)))
