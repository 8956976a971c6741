"""Bad files: what decodes is used with a warning, the rest is refused in one sentence."""

import logging
from pathlib import Path

import numpy as np
import pytest
from numbered_clips import number_of, picture, write_audio, write_clip
from PIL import Image

from mobile_videogpt.video.source import VideoError, probe_video, read_video


def _refused(source, *named, **arguments) -> str:
    with pytest.raises(VideoError) as caught:
        read_video(source, **arguments)
    message = str(caught.value)
    assert "\n" not in message and message.endswith((".", ")")), message
    assert all(part in message for part in named), message
    return message


def _cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def _noisy(number: int = 60) -> list[np.ndarray]:
    """Numbered frames that do not compress: most of the file is picture."""
    noise = np.random.default_rng(0)
    return [
        picture(i, 160, 120) // 2 + noise.integers(0, 128, (120, 160, 3), dtype=np.uint8)
        for i in range(number)
    ]


def test_what_does_not_exist_is_named(tmp_path):
    _refused(tmp_path / "nothing.mp4", "nothing.mp4", "does not exist")


def test_an_empty_file(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    _refused(path, "empty.mp4", "is empty")


@pytest.mark.parametrize("content", [b"hello\n" * 50, b"\0" * 5000, b'{"a": 1}', bytes(range(256))])
@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4"])
def test_a_file_that_is_no_video(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    _refused(path, name)


def test_sound_without_pictures(tmp_path):
    _refused(write_audio(tmp_path / "song.m4a"), "song.m4a", "no video stream", "audio")


def test_a_folder_without_pictures(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing here")
    _refused(tmp_path, "without images")


def test_a_folder_of_broken_pictures(tmp_path):
    (tmp_path / "1.png").write_bytes(b"no picture")
    _refused(tmp_path, "no frame that can be decoded")


def test_start_past_the_end(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 24)
    _refused(path, "start at 5 s", "lasts 1.00 s", start=5)
    _refused(path, "past the end", start=1.0, end=2.0)
    _refused(path, "start is nan", start=float("nan"))


def test_a_file_without_its_index_is_refused(tmp_path):
    path = write_clip(tmp_path / "cut.mp4", _noisy())  # MP4's index is at the end
    _refused(_cut(path, 0.7), "cut.mp4", "cannot be read", "complete")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.avi", "cut.gif"])
def test_no_cut_gives_anything_but_frames_or_one_sentence(tmp_path, name, share):
    kind = {"codec": "gif", "pixel_format": "rgb8"} if name.endswith("gif") else {}
    path = _cut(write_clip(tmp_path / name, 30, **kind), share)
    try:
        assert len(read_video(path).frames) == 16
    except VideoError as error:
        assert "\n" not in str(error) and name in str(error)


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("cut.mp4", {"container": {"movflags": "faststart"}}),
        ("cut.mkv", {}),
        ("cut.webm", {"codec": "libvpx", "options": {"g": "12", "deadline": "realtime"}}),
        ("cut.avi", {"codec": "mpeg4"}),
        ("cut.ts", {}),
    ],
)
def test_a_file_that_was_cut_off_gives_what_is_left(tmp_path, name, arguments):
    path = write_clip(tmp_path / name, _noisy(), **{"options": {"g": "12"}, **arguments})
    video = read_video(_cut(path, 0.6))
    assert 5 < video.num_frames < 60
    for index, frame in zip(video.frame_indices, video.frames, strict=True):
        if index < video.num_frames - 1:  # the last one may be half there
            assert number_of(frame) == index


def test_a_cut_file_is_reported(tmp_path, caplog):
    path = write_clip(
        tmp_path / "cut.mp4",
        _noisy(),
        options={"g": "12"},
        container={"movflags": "faststart"},
    )
    with caplog.at_level(logging.WARNING):
        read_video(_cut(path, 0.6))
    assert "cut.mp4 is cut off" in caplog.text and "of its 60 frames" in caplog.text


@pytest.mark.parametrize("name", ["bad.mp4", "bad.mkv", "bad.avi"])
def test_a_damaged_middle_does_not_stop_the_rest(tmp_path, caplog, name):
    path = write_clip(tmp_path / name, _noisy(), options={"g": "6"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20000] = bytes(20000)
    path.write_bytes(bytes(data))
    with caplog.at_level(logging.WARNING):
        video = read_video(path)
    assert len(video.frames) == 16 and video.num_frames > 20
    assert "damaged" in caplog.text or "cut off" in caplog.text or video.num_frames < 60


def test_video_without_a_single_decodable_frame(tmp_path):
    path = write_clip(tmp_path / "bad.mp4", 30, codec="mpeg4", container={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = b"\xff" * (len(data) - start)
    path.write_bytes(bytes(data))
    _refused(path, "bad.mp4")


@pytest.mark.parametrize("source", [None, 5, 2.5, object()])
def test_things_that_are_no_video(source):
    _refused(source, "is not a video")


@pytest.mark.parametrize("source", [[], (), np.zeros((0, 8, 8, 3), np.uint8), b""])
def test_nothing_at_all(source):
    with pytest.raises(VideoError):
        read_video(source)


@pytest.mark.parametrize(
    "array, named",
    [
        (np.zeros((4, 8, 8, 5), np.uint8), "shape"),
        (np.zeros((2, 4, 8, 8, 3), np.uint8), "shape"),
        (np.full((4, 8, 8, 3), -1), "values from"),
        (np.full((4, 8, 8, 3), 1000.0), "values from"),
        (np.full((4, 8, 8, 3), np.nan), "values"),
    ],
)
def test_arrays_that_are_no_video(array, named):
    _refused(array, named)


def test_a_file_open_as_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("text")
    with path.open() as file:
        _refused(file, "binary")


def test_a_clock_is_needed_for_seconds():
    frames = np.zeros((40, 8, 8, 3), np.uint8)
    _refused(frames, "no clock", start=1)
    assert read_video(frames, start=1, fps=10).frame_indices[0] == 10


def test_a_broken_picture_in_a_folder_is_replaced_by_its_neighbour(tmp_path, caplog):
    for number in range(3):
        Image.new("RGB", (8, 8), (number * 100, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"broken")
    with caplog.at_level(logging.WARNING):
        video = read_video(tmp_path)
    assert [int(frame[0, 0, 0]) for frame in video.frames[:3]] == [0, 0, 200]
    assert "picture 1 cannot be read" in caplog.text


def test_probing_refuses_the_same_things(tmp_path):
    for source in (tmp_path / "missing.mp4", tmp_path):
        with pytest.raises(VideoError):
            probe_video(source)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "webm", "gif", "ts"])
def test_random_damage_gives_frames_or_one_sentence(tmp_path, suffix):
    codec = {"avi": "mpeg4", "webm": "libvpx", "gif": "gif"}.get(suffix, "libx264")
    pixel_format = "rgb8" if suffix == "gif" else "yuv420p"
    path = write_clip(tmp_path / f"clip.{suffix}", 24, codec=codec, pixel_format=pixel_format)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(12):
        damaged = whole.copy()
        damaged[random.integers(16, len(whole), 12)] = random.integers(0, 256, 12)
        path.write_bytes(damaged.tobytes())
        try:
            assert len(read_video(path).frames) == 16
        except VideoError as error:
            assert "\n" not in str(error)
