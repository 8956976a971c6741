"""Stored features: trained from like videos, named by content, resumable."""

import json
from pathlib import Path

import pytest
import torch
from media_data import image, losses, mixed_rows, row, video, write_data, write_recipe
from safetensors import safe_open

from mobile_videogpt.checkpoints import load_model
from mobile_videogpt.training.data import DataError, load_mixture
from mobile_videogpt.training.media import encode
from mobile_videogpt.training.media.base_model import add_still_token
from mobile_videogpt.training.media.encode import EncodeOptions, encode_media, unique_media
from mobile_videogpt.training.media.features import FeatureReader, FeatureStore
from mobile_videogpt.training.media.samples import PixelReader
from mobile_videogpt.training.runner import run
from mobile_videogpt.video.errors import VideoError

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def built_in():
    """With a placeholder for stills, which its vocabulary may be too old for."""
    model, processor = load_model("moving-shapes")
    add_still_token(model.config, processor.tokenizer)
    return model, type(processor).from_config(model.config, processor.tokenizer)


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path / "data", mixed_rows(12))


def encoded(data: Path, built_in, folder: Path, **options) -> encode.EncodeSummary:
    media = unique_media(load_mixture(data))
    return encode_media(media, *built_in, folder, EncodeOptions(**options))


@pytest.mark.parametrize("branch", ["image", "video"])
def test_features_are_what_the_encoders_say_of_the_pixels(data, built_in, tmp_path, branch):
    model, processor = built_in
    summary = encoded(data, built_in, tmp_path / "f", still_branch=branch, dtype="float32")
    assert (summary.media, summary.encoded, summary.unreadable) == (4, 4, 0)
    media = unique_media(load_mixture(data))
    pixels = PixelReader(processor, branch)(media)
    found = FeatureReader(FeatureStore(tmp_path / "f"), branch)(media)
    ids = torch.tensor([[processor.video_token_id] * processor.num_visual_tokens * 2])
    still_ids = [processor.still_token_id] * processor.num_still_tokens[branch] * 2
    ids = torch.cat((ids, torch.tensor([still_ids])), dim=1)
    with torch.no_grad():
        expected = model(input_ids=ids, still_branch=branch, **pixels).logits
        actual = model(input_ids=ids, still_branch=branch, **found).logits
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["instruct", "video_projector"])
@pytest.mark.parametrize("store", ["float16", "float32"])
def test_training_from_features_is_training_from_videos(data, built_in, tmp_path, kind, store):
    stage = {"kind": kind, "steps": 3, "batch_size": 4, "validation": "data/mixture.yaml"}
    run(write_recipe(tmp_path, stage, model="moving-shapes", output=tmp_path / "pixels"))
    branch = "video" if kind == "video_projector" else "image"
    encoded(data, built_in, tmp_path / "features", still_branch=branch, dtype=store)
    stage["features"] = "features"
    run(write_recipe(tmp_path, stage, model="moving-shapes", output=tmp_path / "features-run"))
    from_pixels, from_features = (
        losses(tmp_path / name / f"0-{kind}") for name in ("pixels", "features-run")
    )
    assert len(from_pixels) == 3
    assert from_features == pytest.approx(from_pixels, abs=1e-4)


def test_a_second_run_encodes_nothing_and_a_changed_file_alone(data, built_in, tmp_path):
    folder = tmp_path / "f"
    encoded(data, built_in, folder)
    assert encoded(data, built_in, folder).encoded == 0
    changed = data.parent / "clip0.mp4"
    changed.write_bytes((data.parent / "clip1.mp4").read_bytes())
    summary = encoded(data, built_in, folder)
    assert (summary.encoded, summary.shared) == (0, 1)  # the content is known already
    moved = write_data(tmp_path / "elsewhere", mixed_rows(12))
    assert encoded(moved, built_in, folder).encoded == 0


def test_files_of_one_content_are_stored_once(tmp_path, built_in):
    mixture = write_data(tmp_path / "data", [row(0, video(0)), row(1, video(1))])
    clips = [tmp_path / "data" / f"clip{number}.mp4" for number in range(2)]
    clips[1].write_bytes(clips[0].read_bytes())
    summary = encoded(mixture, built_in, tmp_path / "f")
    assert (summary.encoded, summary.shared) == (1, 1)
    (shard,) = (tmp_path / "f").glob("*.safetensors")
    with safe_open(shard, "pt") as file:
        assert len(list(file.keys())) == 2  # image and video features of one clip


def test_a_killed_run_goes_on_where_it_was(data, built_in, tmp_path):
    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done:
            raise Killed

    media = unique_media(load_mixture(data))
    options = EncodeOptions(batch_size=1, shard_seconds=0)
    with pytest.raises(Killed):
        encode_media(media, *built_in, tmp_path / "f", options, kill)
    with (tmp_path / "f" / "media.jsonl").open("a") as file:
        file.write('{"kind": "vid')  # as if killed while a line was written
    assert encode_media(media, *built_in, tmp_path / "f", options).encoded == len(media) - 1
    store = FeatureStore(tmp_path / "f")
    assert all(store.recall(item, "image") for item in media)


def test_what_cannot_be_read_is_noted_and_read_as_such(tmp_path, built_in):
    mixture = write_data(tmp_path / "data", [row(0, video(0)), row(1, video(1))])
    (tmp_path / "data" / "clip1.mp4").write_bytes(b"not a video")
    assert encoded(mixture, built_in, tmp_path / "f").unreadable == 1
    media = unique_media(load_mixture(mixture))
    with pytest.raises(VideoError, match=r"clip1\.mp4"):
        FeatureReader(FeatureStore(tmp_path / "f"))(media[1:])


def test_a_run_without_all_features_says_what_to_run(data, built_in, tmp_path):
    encoded(data, built_in, tmp_path / "features")
    rows = [*mixed_rows(12), row(0, image(0), video(0))]
    rows[-1]["messages"][0]["content"][1] |= {"start": 0.5}  # another stretch is another medium
    (data.parent / "rows.json").write_text(json.dumps(rows))
    stage = {"kind": "instruct", "features": "features"}
    with pytest.raises(DataError, match=r"1 of the media .* data encode .*--stills image"):
        run(write_recipe(tmp_path, stage, model="moving-shapes"))
    with pytest.raises(DataError, match="other encoders"):
        run(write_recipe(tmp_path, stage, output=tmp_path / "random"))


def test_a_folder_is_of_one_model_and_precision(data, built_in, tmp_path):
    encoded(data, built_in, tmp_path / "f")
    with pytest.raises(DataError, match="float16"):
        encoded(data, built_in, tmp_path / "f", dtype="float32")
    with pytest.raises(DataError, match="holds no features"):
        FeatureStore(tmp_path / "data")
