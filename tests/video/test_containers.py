"""Real files: every container gives the frames that decoding everything would give."""

from fractions import Fraction

import av
import numpy as np
import pytest
from numbered_clips import number_of, picture, write_clip

from mobile_videogpt.video import container as container_module
from mobile_videogpt.video.container import ContainerSource
from mobile_videogpt.video.source import probe_video, read_video

B_FRAMES = {"bf": "3", "g": "12"}
KINDS = {
    "b_frames.mp4": {"options": B_FRAMES},
    "open_gop.mp4": {"options": {**B_FRAMES, "x264-params": "open-gop=1"}},
    "fragmented.mp4": {
        "options": B_FRAMES,
        "container": {"movflags": "frag_keyframe+empty_moov"},
    },
    "hevc.mp4": {
        "codec": "libx265",
        "options": {"x265-params": "log-level=none:pools=none:bframes=3:keyint=12:open-gop=1"},
    },
    "b_frames.mkv": {"options": B_FRAMES},
    "b_frames.mov": {"options": B_FRAMES},
    "h264.avi": {"options": B_FRAMES},
    "mpeg4.avi": {"codec": "mpeg4", "options": B_FRAMES},
    "vp8.webm": {"codec": "libvpx", "options": {"g": "12"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "12", "cpu-used": "8"}},
    "live.webm": {"codec": "libvpx", "options": {"g": "12"}, "container": {"live": "1"}},
    "stream.ts": {"options": B_FRAMES},
    "program.mpg": {"codec": "mpeg2video", "options": B_FRAMES},
    "animation.gif": {"codec": "gif", "pixel_format": "rgb8"},
    "raw.h264": {"options": B_FRAMES},
}


@pytest.fixture(scope="module", params=KINDS, ids=str)
def clip(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / request.param
    return write_clip(path, **KINDS[request.param])


def test_sampled_frames_are_the_ones_asked_for(clip):
    video = read_video(clip)
    assert video.num_frames == 60
    assert len(video.frames) == 16
    assert [number_of(frame) for frame in video.frames] == video.frame_indices
    assert all(frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for frame in video.frames)
    assert (video.width, video.height) == (64, 48)
    fps = 25 if clip.suffix == ".h264" else 24  # a raw stream has no clock: FFmpeg assumes one
    assert video.fps == pytest.approx(fps, rel=0.05)
    assert video.duration_s == pytest.approx(60 / fps, abs=0.05)
    expected = [index / fps for index in video.frame_indices]
    assert video.frame_times == pytest.approx(expected, abs=0.02)


def test_jumping_gives_the_same_pixels_as_decoding_everything(clip):
    with av.open(str(clip)) as opened:
        everything = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    source = ContainerSource(clip, "clip")
    assert source.num_frames == len(everything) == 60
    random = np.random.default_rng(0)
    for _ in range(10):
        wanted = sorted(set(random.integers(0, 60, 3).tolist()))
        found = source.read(wanted)
        assert list(found) == wanted
        for index, frame in found.items():
            assert np.array_equal(frame, everything[index]), (wanted, index)


def _count_decoded(monkeypatch) -> list[int]:
    decoded = []
    original = container_module._Cursor._decode

    def counting(self, at_start):
        for rank, frame in original(self, at_start):
            decoded.append(rank)
            yield rank, frame

    monkeypatch.setattr(container_module._Cursor, "_decode", counting)
    return decoded


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_long_file_is_sampled_by_jumping(tmp_path, monkeypatch, suffix):
    path = write_clip(
        tmp_path / f"long.{suffix}", 6000, fps=10, options={"preset": "ultrafast", "g": "50"}
    )
    decoded = _count_decoded(monkeypatch)
    video = read_video(path)
    assert video.num_frames == 6000 and video.duration_s == pytest.approx(600)
    assert [number_of(frame) for frame in video.frames] == [i % 256 for i in video.frame_indices]
    assert len(decoded) < 16 * 52


def test_a_short_clip_is_decoded_once_and_no_further_than_needed(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "clip.mp4", 32, fps=8)
    decoded = _count_decoded(monkeypatch)
    video = read_video(path)
    assert video.frame_indices == list(range(0, 32, 2))
    assert decoded == sorted(set(decoded)) and set(decoded) >= set(video.frame_indices)
    assert decoded[-1] == 30


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_frame_rate_keeps_its_times(tmp_path, suffix):
    steps = np.random.default_rng(3).integers(1, 9, 40)
    pts = [0, *np.cumsum(steps)[:-1].tolist()]  # in hundredths of a second
    path = write_clip(
        tmp_path / f"vfr.{suffix}", 40, pts=pts, time_base=Fraction(1, 100), options=B_FRAMES
    )
    video = read_video(path)
    assert [number_of(frame) for frame in video.frames] == video.frame_indices
    assert video.frame_times == pytest.approx([pts[i] / 100 for i in video.frame_indices], abs=2e-3)
    part = read_video(path, start=0.5, end=1.0, count=40)
    on_screen = [i for i in range(40) if pts[i] <= 100 and (i == 39 or pts[i + 1] > 50)]
    assert sorted(set(part.frame_indices)) == on_screen


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_times_begin_at_the_first_frame_even_if_the_file_does_not(tmp_path, suffix):
    path = write_clip(tmp_path / f"late.{suffix}", 48, pts=list(range(240, 288)), options=B_FRAMES)
    video = read_video(path, start=1.0)
    assert video.frame_times[0] == pytest.approx(1.0, abs=2e-3)
    assert [number_of(frame) for frame in video.frames] == video.frame_indices
    assert video.duration_s == pytest.approx(2.0, abs=0.01)


def test_start_and_end_keep_their_fractions(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 100, fps=10)
    assert read_video(path, start=2.3, end=5.7).frame_indices[0] == 23
    assert read_video(path, start=2.3, end=3.0, count=4).frame_times[0] == pytest.approx(2.3)
    assert read_video(path, start=9.9).frame_indices == [99] * 16
    assert read_video(path, end=0.4).frame_indices[:5] == [0, 1, 2, 3, 4]
    assert read_video(path, start=7, end=4).frame_indices[0] == 40


def test_one_frame_is_repeated(tmp_path):
    video = read_video(write_clip(tmp_path / "one.mp4", 1))
    assert video.frame_indices == [0] * 16 and len(video.frames) == 16
    assert video.num_frames == 1


def test_a_short_clip_is_padded_by_repeating_the_last_frame(tmp_path):
    video = read_video(write_clip(tmp_path / "short.webm", 5, codec="libvpx"))
    assert video.frame_indices == [0, 1, 2, 3] + [4] * 12
    assert [number_of(frame) for frame in video.frames] == video.frame_indices


@pytest.mark.parametrize(
    "name", ["видео 影片 🎬.mp4", "a:b.mp4", "-x.mp4", "100%d.mp4", "it's #1 [x]*.mp4"]
)
def test_any_file_name_works(tmp_path, monkeypatch, name):
    write_clip(tmp_path / "plain.mp4", 4)
    (tmp_path / "plain.mp4").rename(tmp_path / name)
    assert read_video(tmp_path / name).name == name
    monkeypatch.chdir(tmp_path)
    assert read_video(name).num_frames == 4


def test_probing_describes_the_file(tmp_path):
    path = write_clip(tmp_path / "clip.mkv", 20)
    info = probe_video(path)
    assert (info.width, info.height, info.num_frames, info.has_audio) == (64, 48, 20, False)
    assert info.codec == "h264" and info.fps == 24 and info.pixel_format == "yuv420p"
    assert info.duration_s == pytest.approx(20 / 24, abs=0.01) and info.name == "clip.mkv"


def test_rate_sets_the_spacing(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 96)
    assert read_video(path, rate=4.0).frame_indices == list(range(0, 96, 6))
    assert read_video(path, rate=1.0, count=4).frame_indices == [0, 24, 48, 72]


def test_pictures_survive_the_writer():
    assert [number_of(picture(number)) for number in range(256)] == list(range(256))


def test_vp8_frames_that_are_never_shown_are_not_counted(tmp_path):
    path = write_clip(tmp_path / "hidden.webm", 40, codec="libvpx", options={"g": "10"})
    with av.open(str(path)) as opened:
        packet = next(p for p in opened.demux(video=0) if p.pts and p.pts > 500)
        hidden, content = number_at(packet), bytes(packet)
    data = bytearray(path.read_bytes())
    data[data.index(content)] &= ~0x10  # the bit that says "show me" (RFC 6386, section 9.1)
    path.write_bytes(bytes(data))
    source = ContainerSource(path, "hidden")
    shown = [number for number in range(40) if number != hidden]
    assert source.num_frames == 39
    frames = source.read(list(range(39)))
    assert [number_of(frame) for frame in frames.values()] == shown


def number_at(packet: av.Packet) -> int:
    """Which of 24 frames per second a packet of a file without reordering holds."""
    return round(float(packet.pts * packet.time_base) * 24)
