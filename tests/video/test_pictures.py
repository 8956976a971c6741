"""Everything that is not an ordinary file, and every pixel format: upright RGB comes out."""

import io
import os
import threading

import numpy as np
import pytest
import torch
from numbered_clips import number_of, picture, write_clip
from PIL import Image

from mobile_videogpt.video import rgb
from mobile_videogpt.video.source import probe_video, read_video

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def _quarters(width: int = 64, height: int = 48) -> np.ndarray:
    """Red and green above, blue and white below: every turn and mirror image shows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, WHITE
    return image


def _corners(frame: np.ndarray) -> list[tuple[int, ...]]:
    """Colours of the four quarters, row by row, rounded to pure ones."""
    height, width = frame.shape[:2]
    points = [(height // 4, width // 4), (height // 4, 3 * width // 4)]
    points += [(3 * height // 4, width // 4), (3 * height // 4, 3 * width // 4)]
    return [tuple(int(v > 127) * 255 for v in frame[point]) for point in points]


@pytest.mark.parametrize(
    "rotation, corners",
    [
        (0, [RED, GREEN, BLUE, WHITE]),
        (90, [GREEN, WHITE, RED, BLUE]),  # a quarter turn to the left
        (180, [WHITE, BLUE, GREEN, RED]),
        (270, [BLUE, RED, WHITE, GREEN]),
    ],
)
def test_a_rotated_video_comes_out_upright(tmp_path, rotation, corners):
    path = write_clip(tmp_path / "phone.mp4", [_quarters()] * 3, rotation=rotation)
    video = read_video(path)
    assert _corners(video.frames[0]) == corners
    shape = (64, 48) if rotation in (90, 270) else (48, 64)
    assert video.frames[0].shape[:2] == shape == (video.height, video.width)
    info = probe_video(path)
    assert (info.height, info.width) == shape


@pytest.mark.parametrize(
    "matrix, corners",
    [
        ((-1, 0, 0, 1), [GREEN, RED, WHITE, BLUE]),  # mirrored left to right
        ((1, 0, 0, -1), [BLUE, WHITE, RED, GREEN]),  # upside down mirror
        ((0, 1, 1, 0), [RED, BLUE, GREEN, WHITE]),  # mirrored at the diagonal
    ],
)
def test_mirror_images_are_undone(matrix, corners):
    a, b, c, d = (value << 16 for value in matrix)
    packed = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()
    assert _corners(rgb._upright(_quarters(), packed)) == corners


@pytest.mark.parametrize(
    "codec, pixel_format, suffix, size",
    [
        ("libx264", "yuv420p10le", "mp4", (64, 48)),
        ("libvpx-vp9", "yuv444p", "webm", (64, 48)),
        ("ffv1", "yuv420p10le", "mkv", (64, 48)),
        ("ffv1", "yuv422p16le", "mkv", (64, 48)),
        ("libx264", "yuv444p", "mp4", (33, 21)),
        ("mjpeg", "yuvj420p", "avi", (71, 55)),
        ("libx264", "yuv420p", "mp4", (36, 98)),
        ("qtrle", "rgb24", "mov", (64, 48)),
        ("prores_ks", "yuv422p10le", "mov", (64, 48)),
        ("png", "rgb48be", "mov", (64, 48)),
    ],
)
def test_pixel_formats_and_sizes(tmp_path, codec, pixel_format, suffix, size):
    path = write_clip(
        tmp_path / f"clip.{suffix}",
        [_quarters(*size)] * 2,
        codec=codec,
        pixel_format=pixel_format,
        options={"strict": "unofficial"},
    )
    frame = read_video(path).frames[0]
    assert frame.shape == (size[1], size[0], 3) and frame.dtype == np.uint8
    assert _corners(frame) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le", "gray16le"])
def test_grey_video_has_three_equal_channels(tmp_path, pixel_format):
    frames = [np.full((48, 64, 3), 120, np.uint8)]
    path = write_clip(tmp_path / "grey.mkv", frames, codec="ffv1", pixel_format=pixel_format)
    frame = read_video(path).frames[0]
    assert frame.shape == (48, 64, 3)
    assert np.abs(frame.astype(int) - 120).max() <= 2


@pytest.mark.parametrize(
    "codec, pixel_format, suffix",
    [("qtrle", "argb", "mov"), ("ffv1", "bgra", "mkv"), ("png", "rgba", "mov")],
)
def test_transparency_is_laid_over_white(tmp_path, codec, pixel_format, suffix):
    image = np.zeros((48, 64, 4), np.uint8)
    image[:, :32] = (255, 0, 0, 255)
    path = write_clip(tmp_path / f"logo.{suffix}", [image], codec=codec, pixel_format=pixel_format)
    frame = read_video(path).frames[0]
    assert tuple(frame[24, 10]) == RED and tuple(frame[24, 50]) == WHITE


def _animation(path, frames: int = 20, **options) -> None:
    images = [Image.fromarray(picture(number)) for number in range(frames)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=50, **options)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animations(tmp_path, name):
    _animation(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    video = read_video(tmp_path / name)
    assert video.num_frames == 20 and video.duration_s == pytest.approx(1.0, abs=0.06)
    assert [number_of(frame) for frame in video.frames] == video.frame_indices == list(range(16))
    assert video.frame_times[:3] == pytest.approx([0, 0.05, 0.1], abs=0.011)
    assert read_video(tmp_path / name, start=0.5).frame_indices[0] == 10


@pytest.mark.parametrize("name", ["logo.gif", "logo.webp"])
def test_a_transparent_animation_is_laid_over_white(tmp_path, name):
    images = []
    for number in range(4):
        image = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
        image.paste(
            (0, 0, 255, 254 if name.endswith("webp") else 255),
            (number * 16, 0, number * 16 + 16, 48),
        )
        images.append(image)
    images[0].save(
        tmp_path / name, save_all=True, append_images=images[1:], duration=100, disposal=2
    )
    video = read_video(tmp_path / name)
    for number in range(4):
        colours = [tuple(video.frames[number][24, x]) for x in (8, 24, 40, 56)]
        blue = [position for position, (red, _, _) in enumerate(colours) if red < 60]
        assert blue == [number], colours
        assert all(min(colour) > 200 for i, colour in enumerate(colours) if i != number)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.tif", "a.webp"])
def test_a_picture_is_a_video_of_one_frame(tmp_path, name):
    Image.fromarray(_quarters()).save(tmp_path / name)
    video = read_video(tmp_path / name)
    assert video.num_frames == 1 and len(video.frames) == 16
    assert _corners(video.frames[0]) == [RED, GREEN, BLUE, WHITE]


def test_a_photograph_is_turned_as_its_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held a quarter turn to the left
    Image.fromarray(_quarters()).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    assert _corners(read_video(tmp_path / "photo.jpg").frames[0]) == [BLUE, RED, WHITE, GREEN]


def test_a_folder_is_read_in_natural_order(tmp_path):
    folder = tmp_path / "кадры 1"
    folder.mkdir()
    for number in range(20):
        Image.fromarray(picture(number)).save(folder / f"frame{number}.PNG")
    (folder / "notes.txt").write_text("not a frame")
    (folder / ".hidden.png").write_bytes(b"not a frame")
    video = read_video(folder)
    assert video.num_frames == 20 and video.name == "кадры 1" and video.duration_s is None
    assert [number_of(frame) for frame in video.frames] == video.frame_indices
    timed = read_video(folder, fps=10.0, start=1.0)
    assert timed.frame_indices[0] == 10 and timed.frame_times[0] == 1.0
    assert timed.duration_s == pytest.approx(2.0)


def test_a_folder_of_grey_16_bit_palette_and_transparent_pictures(tmp_path):
    Image.fromarray(np.full((8, 8), 0x8000, np.uint16)).save(tmp_path / "1.png")
    Image.new("L", (8, 8), 128).save(tmp_path / "2.png")
    Image.new("RGB", (8, 8), (128, 128, 128)).quantize().save(tmp_path / "3.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 127)).save(tmp_path / "4.png")
    for frame in read_video(tmp_path).frames[:4]:
        assert frame.shape == (8, 8, 3) and np.abs(frame.astype(int) - 128).max() <= 1


FRAMES = np.stack([picture(number) for number in range(32)])


@pytest.mark.parametrize(
    "source",
    [
        FRAMES,
        torch.from_numpy(FRAMES),
        torch.from_numpy(FRAMES).permute(0, 3, 1, 2),
        FRAMES[..., :1],
        FRAMES[..., 0],
        FRAMES.astype(np.float32) / 255,
        FRAMES.astype(np.int64),
        np.concatenate([FRAMES, np.full_like(FRAMES[..., :1], 255)], axis=-1),
        list(FRAMES),
        tuple(Image.fromarray(frame) for frame in FRAMES),
    ],
    ids=lambda source: f"{type(source).__name__}-{getattr(source, 'shape', len(source))}",
)
def test_arrays_and_lists(source):
    video = read_video(source)
    assert video.frame_indices == list(range(0, 32, 2))
    for index, frame in zip(video.frame_indices, video.frames, strict=True):
        assert frame.dtype == np.uint8 and np.array_equal(frame, FRAMES[index])


def test_an_array_with_a_clock_is_sampled_like_the_same_file(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", list(FRAMES), fps=8)
    file, array = read_video(path), read_video(FRAMES, fps=8.0)
    assert file.frame_indices == array.frame_indices == list(range(0, 32, 2))
    assert file.frame_times == pytest.approx(array.frame_times)


def test_one_image_is_a_video():
    for source in (FRAMES[3], Image.fromarray(FRAMES[3])):
        assert number_of(read_video(source).frames[15]) == 3


def test_numpy_files(tmp_path):
    np.save(tmp_path / "clip.npy", FRAMES)
    assert number_of(read_video(tmp_path / "clip.npy").frames[1]) == 2
    with (tmp_path / "clip.npy").open("rb") as file:
        assert read_video(file).num_frames == 32


def test_open_files_bytes_and_pipes(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", 40, options={"g": "10"})
    expected = read_video(path).frames
    data = path.read_bytes()
    reading, writing = os.pipe()

    def feed():
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data)

    threading.Thread(target=feed).start()
    with path.open("rb") as file, os.fdopen(reading, "rb") as pipe:
        file.read(100)  # wherever it stands
        for source in (file, io.BytesIO(data), data, pipe):
            frames = read_video(source).frames
            assert all(map(np.array_equal, frames, expected))
        assert read_video(file).name == "clip.mkv"


def test_a_huge_frame_is_reduced(tmp_path):
    image = np.repeat(np.repeat(_quarters(), 100, axis=0), 100, axis=1)  # 6400 x 4800
    path = write_clip(tmp_path / "huge.avi", [image], codec="mjpeg", pixel_format="yuvj420p")
    frame = read_video(path, count=1).frames[0]
    assert frame.shape == (2400, 3200, 3) and _corners(frame) == [RED, GREEN, BLUE, WHITE]


def test_wrong_suffixes_do_not_matter(tmp_path):
    _animation(tmp_path / "a.webp", lossless=True)
    (tmp_path / "a.webp").rename(tmp_path / "a.mp4")
    assert read_video(tmp_path / "a.mp4").num_frames == 20
