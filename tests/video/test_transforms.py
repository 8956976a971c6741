"""Pixels of both encoders, against recordings of Pillow and OpenCV."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mobile_videogpt.video import transforms
from mobile_videogpt.video.transforms import image_pixels, resize_bilinear, video_pixels

RECORDINGS = sorted((Path(__file__).parents[1] / "data/golden").glob("preprocess_*.npz"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_pixels_equal_the_recorded_ones(path):
    recording = np.load(path)
    frame = recording["input.image_rgb_uint8"]
    for pixels, name, mean, std in (
        (image_pixels([frame]), "clip", transforms.CLIP_MEAN, transforms.CLIP_STD),
        (video_pixels([frame]), "video", transforms.IMAGENET_MEAN, transforms.IMAGENET_STD),
    ):
        assert pixels.dtype == torch.float32 and pixels.shape == (1, 3, 224, 224)
        levels = pixels[0] * torch.tensor(std).view(3, 1, 1) + torch.tensor(mean).view(3, 1, 1)
        levels = (levels * 255).round().byte().numpy()
        assert np.array_equal(levels, recording[f"output.{name}_uint8_chw"])
        recorded = torch.from_numpy(recording[f"output.{name}_pixel_values"])
        torch.testing.assert_close(pixels[0], recorded, rtol=0, atol=2e-6)


def test_there_are_recordings():
    assert len(RECORDINGS) == 5


def test_frames_of_several_sizes_and_other_sides():
    frames = [np.full((30, 50, 3), 10, np.uint8), np.full((51, 31, 3), 200, np.uint8)]
    assert image_pixels(frames, size=48).shape == (2, 3, 48, 48)
    assert video_pixels(frames, size=32).shape == (2, 3, 32, 32)
    assert image_pixels(frames, size=48, resize="stretch").shape == (2, 3, 48, 48)
    constant = video_pixels(frames, size=32, mean=(0, 0, 0), std=(1, 1, 1)) * 255
    torch.testing.assert_close(constant[1], torch.full((3, 32, 32), 200.0))


def test_one_array_and_a_list_of_frames_are_the_same():
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 64, 3), dtype=np.uint8)
    assert torch.equal(video_pixels(frames), video_pixels(list(frames)))
    assert torch.equal(image_pixels(torch.from_numpy(frames)), image_pixels(list(frames)))


def test_the_image_encoder_sees_the_centre_and_the_video_encoder_everything():
    frame = np.zeros((64, 128, 3), np.uint8)
    frame[:, :32] = 255  # left quarter: just outside the centre square
    plain = {"size": 32, "mean": (0, 0, 0), "std": (1, 1, 1)}
    assert image_pixels([frame], **plain).max() < 0.1  # the filter reaches a little beyond
    assert video_pixels([frame], **plain)[0, 0, 0].tolist() == [1.0] * 8 + [0.0] * 24


def test_halving_is_the_rounded_mean_of_two_by_two():
    frame = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    expected = (frame.reshape(2, 2, 3, 2, 3).sum((1, 3)) + 2) // 4
    assert np.array_equal(resize_bilinear(frame, 2, 3), expected)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 7), (9, 1), (2, 2), (33, 500), (224, 100), (17, 224)]
)
def test_bilinear_stays_within_one_level_of_the_textbook(shape):
    frame = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    textbook = torch.nn.functional.interpolate(
        torch.from_numpy(frame).permute(2, 0, 1)[None].double(), (224, 224), mode="bilinear"
    )[0].permute(1, 2, 0)
    assert np.abs(resize_bilinear(frame, 224, 224) - textbook.numpy()).max() <= 1.0


def test_bicubic_without_cropping_is_pillow():
    frame = np.random.default_rng(2).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    pixels = image_pixels([frame], size=48, mean=(0, 0, 0), std=(1, 1, 1), resize="stretch")
    expected = np.asarray(Image.fromarray(frame).resize((48, 48), Image.Resampling.BICUBIC))
    assert np.array_equal((pixels[0].permute(1, 2, 0) * 255).round().byte().numpy(), expected)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [np.zeros((8, 8, 3), np.float32)],
        [np.zeros((8, 8), np.uint8)],
        [np.zeros((8, 8, 4), np.uint8)],
        [np.zeros((0, 8, 3), np.uint8)],
    ],
)
def test_what_is_not_a_frame_is_refused(frames):
    for pixels in (image_pixels, video_pixels):
        with pytest.raises(ValueError, match="frame"):
            pixels(frames)


def test_unknown_options_are_named():
    frames = [np.zeros((8, 8, 3), np.uint8)]
    with pytest.raises(ValueError, match="'cubic'"):
        image_pixels(frames, interpolation="cubic")
    with pytest.raises(ValueError, match="'pad'"):
        image_pixels(frames, resize="pad")
    with pytest.raises(ValueError, match="'bicubic'"):
        video_pixels(frames, interpolation="bicubic")
