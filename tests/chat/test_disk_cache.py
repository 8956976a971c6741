"""The cache on disk: whole entries or none, whoever writes, reads or is killed in between."""

import multiprocessing
import os
import signal
import sys
import time

import pytest
import torch

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.chat.disk_cache import DiskCache
from mobile_videogpt.synthetic import make_clip

QUESTION = "How many objects move?"


@pytest.fixture
def cache(tmp_path):
    return DiskCache(tmp_path / "cache")


def entry(value, size=1000):
    return {"x": torch.full((size,), float(value))}


def files(cache, pattern="**/*"):
    return [path for path in cache.folder.glob(pattern) if path.is_file()]


def test_what_is_written_is_read(cache):
    cache.write("key", {"a": torch.arange(3), "b": torch.ones(2, 2).half()}, {"places": [1, 2]})
    tensors, document = cache.read("key")
    assert torch.equal(tensors["a"], torch.arange(3))
    assert tensors["b"].dtype == torch.float16
    assert document == {"places": [1, 2]}


def test_an_unknown_key_is_missing_and_makes_no_folder(cache):
    assert cache.read("nothing") is None
    assert not cache.folder.exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage"])
def test_a_damaged_entry_is_missing_and_deleted(cache, damage):
    cache.write("key", entry(1), {})
    (path,) = files(cache)
    content = path.read_bytes()
    path.write_bytes({"truncated": content[:-100], "empty": b"", "garbage": b"x" * 500}[damage])
    assert cache.read("key") is None
    assert not files(cache)


def test_the_entries_used_longest_ago_go_first(cache):
    cache.write("probe", entry(0), {})
    size = cache.size_bytes()
    cache.clear()
    cache.max_bytes = 5 * size
    for number in range(5):
        cache.write(f"key {number}", entry(number), {})
        (newest,) = [p for p in files(cache) if p.stat().st_mtime > time.time() - 900]
        os.utime(newest, (time.time() - 1000 + number,) * 2)
    assert cache.read("key 0") is not None  # used again: now the newest
    cache.write("key 5", entry(5), {})
    kept = {number for number in range(6) if cache.read(f"key {number}") is not None}
    assert kept == {0, 3, 4, 5}  # room for a while: to nine tenths of the limit
    assert cache.size_bytes() <= cache.max_bytes


def test_an_entry_larger_than_the_cache_is_not_kept(cache):
    cache.max_bytes = 100
    cache.write("key", entry(1), {})
    assert cache.read("key") is None


def test_what_a_killed_process_left_is_not_read_and_goes_in_time(cache):
    cache.write("key", entry(1), {})
    (path,) = files(cache)
    young, old = (path.with_name(f".{path.name}.{pid}.partial") for pid in (1, 2))
    for partial in (young, old):
        partial.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    assert cache.read("key") is not None
    cache.write("other", entry(2), {})
    assert young.exists() and not old.exists()


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path, caplog):
    blocked = DiskCache(tmp_path / "file" / "cache")
    (tmp_path / "file").write_text("not a folder")
    blocked.write("key", entry(1), {})
    assert blocked.read("key") is None
    assert "cannot be written" in caplog.text


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        DiskCache(tmp_path / "file")


def test_no_room_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match="more than 0"):
        DiskCache(tmp_path, 0)


def write_for_ever(folder, worker):
    cache = DiskCache(folder, max_bytes=20 * 40_000)
    number = 0
    while True:
        value = number % 30
        cache.write(f"key {value}", entry(value, 10_000), {"value": value})
        found = cache.read(f"key {(value * 7 + worker) % 30}")
        if found is not None and not (found[0]["x"] == found[1]["value"]).all():
            os._exit(3)
        number += 1


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
def test_processes_share_the_folder_and_may_be_killed_at_any_time(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [
        context.Process(target=write_for_ever, args=(tmp_path / "cache", worker), daemon=True)
        for worker in range(3)
    ]
    for worker in workers:
        worker.start()
    cache = DiskCache(tmp_path / "cache", max_bytes=20 * 40_000)
    end = time.monotonic() + 60
    seen = 0
    while seen < 5000 and time.monotonic() < end:
        for value in range(30):
            found = cache.read(f"key {value}")
            if found is not None:
                seen += 1
                assert found[1] == {"value": value}
                assert (found[0]["x"] == value).all()
    for worker in workers:
        assert worker.exitcode is None, "a worker read what nobody wrote"
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    assert seen
    cache.write("last", entry(1, 10_000), {})
    assert cache.read("last") is not None
    assert cache.size_bytes() <= cache.max_bytes


@pytest.fixture
def chats(lively_chat, tmp_path):
    """Chats with the same weights that share a folder, as two processes would."""

    def make(**options):
        return VideoChat.from_model(
            lively_chat.model, lively_chat.processor, cache=DiskCache(tmp_path / "cache"), **options
        )

    return make


def test_another_process_computes_nothing_again(chats, monkeypatch):
    frames = make_clip(0).frames()
    expected = chats().ask(frames, QUESTION, max_new_tokens=8)
    second = chats()
    for name in ("encode_frames", "encode_from_features", "prefill"):
        monkeypatch.setattr(second.engine, name, pytest.fail)
    monkeypatch.setattr(second.processor, "pixels", pytest.fail)
    video = second.open(frames)
    answer = second.ask(video, QUESTION, max_new_tokens=8)
    assert answer.text == expected.text
    assert video.kept_frames == chats().open(frames).kept_frames
    assert len(video.frame_scores) == second.config.num_frames


def test_scores_after_reading_from_disk_are_the_same(chats):
    frames = make_clip(0).frames()
    first, second = (chats().score(frames, QUESTION, ["one", "two"]) for _ in range(2))
    assert [score.sum for score in first] == [score.sum for score in second]


def test_merged_videos_come_back_with_their_positions(chats):
    frames = make_clip(0).frames()
    first, second = (
        chats(merge_tokens=0.5).ask(frames, QUESTION, max_new_tokens=8).text for _ in range(2)
    )
    assert first == second
    plain = chats()
    assert plain.open(frames).num_visual_tokens == plain.config.num_visual_tokens


def test_a_prefix_that_was_evicted_is_computed_again(chats, tmp_path):
    frames = make_clip(0).frames()
    expected = chats().ask(frames, QUESTION, max_new_tokens=8).text
    largest = max((tmp_path / "cache").glob("*/*"), key=lambda path: path.stat().st_size)
    largest.unlink()
    assert chats().ask(frames, QUESTION, max_new_tokens=8).text == expected


def test_other_weights_do_not_share_entries(chats, lively_chat, monkeypatch):
    frames = make_clip(0).frames()
    one = chats()
    other = chats()
    monkeypatch.setitem(other.engine.__dict__, "fingerprint", "other weights")
    assert one.open(frames).key != other.open(frames).key
