"""Records become rows and batches of any make-up; what cannot be read is replaced and counted."""

import pytest
import torch
from media_data import image, mixed_rows, row, video, write_data

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.processor import MobileVideoGPTProcessor
from mobile_videogpt.synthetic.vocabulary import build_tokenizer
from mobile_videogpt.training.data import DataError, load_mixture
from mobile_videogpt.training.media.collate import SampleCollator
from mobile_videogpt.training.media.samples import SampleDataset


@pytest.fixture(scope="module")
def processor() -> MobileVideoGPTProcessor:
    config = MobileVideoGPTConfig.preset("moving-shapes")
    return MobileVideoGPTProcessor.from_config(config, build_tokenizer())


def dataset(folder, processor, rows, **options) -> SampleDataset:
    mixture = load_mixture(write_data(folder, rows, shuffle=False))
    return SampleDataset(mixture, processor, len(rows), **options)


@pytest.mark.parametrize("branch", ["image", "video"])
@pytest.mark.parametrize("style", ["answers", "released"])
def test_a_batch_is_what_the_processor_makes_of_the_same_messages(
    tmp_path, processor, branch, style
):
    rows = mixed_rows(4)
    data = dataset(tmp_path, processor, rows, still_branch=branch, label_style=style)
    batch = SampleCollator(processor.tokenizer.pad_token_id, branch)([data[i] for i in range(4)])
    for message in (message for item in rows for message in item["messages"]):
        for item in message["content"] if isinstance(message["content"], list) else []:
            for kind in ("video", "image"):
                if kind in item:
                    item[kind] = str(tmp_path / item[kind])
    expected = processor(
        messages=[item["messages"] for item in rows], label_style=style, still_branch=branch
    )
    assert batch.pop("still_branch") == branch
    samples, visual_tokens, replaced = batch.pop("counts").tolist()
    assert batch.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(batch[name], value), name
    tokens = [processor.video_token_id, processor.still_token_id]
    assert (samples, replaced) == (4, 0)
    assert visual_tokens == int(torch.isin(batch["input_ids"], torch.tensor(tokens)).sum())


def test_text_alone_makes_a_batch_without_pixels(tmp_path, processor):
    data = dataset(tmp_path, processor, [row(0), row(1)])
    batch = SampleCollator(0)([data[0], data[1]])
    assert batch.keys() == {"input_ids", "labels", "attention_mask", "counts"}


def test_only_the_named_seconds_are_read(tmp_path, processor):
    cut = {**video(), "start": 1.0, "end": 2.0}
    data = dataset(tmp_path, processor, [row(0, video()), row(0, cut)])
    whole, part = data[0]["media"], data[1]["media"]
    assert not torch.equal(whole["image_pixel_values"], part["image_pixel_values"])


def test_an_unreadable_file_is_replaced_always_by_the_same_and_counted(tmp_path, processor, caplog):
    rows = [row(0, {"type": "video", "video": "broken.mp4"}), *mixed_rows(5)]
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    data = dataset(tmp_path, processor, rows)
    first, again = data[0], data[0]
    assert first["replaced"] >= 1
    assert torch.equal(first["input_ids"], again["input_ids"])
    assert "rows.json entry 0" in caplog.text or "rows.json entry 1" in caplog.text
    assert SampleCollator(0)([first])["counts"][2] >= 1
    assert dataset(tmp_path, processor, rows)[1]["replaced"] == 0


def test_a_run_of_unusable_samples_ends_it_in_one_sentence(tmp_path, processor):
    data = dataset(tmp_path, processor, [row(0, {"type": "image", "image": "gone.png"})])
    with pytest.raises(DataError, match=r"11 samples in a row .*data check"):
        data[0]


def test_long_text_is_cut_but_media_are_not(tmp_path, processor):
    rows = [row(0, answer="red " * 50), row(1, video(), answer="red"), row(2)]
    data = dataset(tmp_path, processor, rows, max_length=40)
    assert len(data[0]["input_ids"]) == 40
    assert data[1]["replaced"] >= 1  # its 136 visual tokens do not fit


def test_a_text_that_holds_placeholders_is_left_out(tmp_path, processor, caplog):
    rows = [row(0, answer="<|video_pad|> red"), row(1, image())]
    data = dataset(tmp_path, processor, rows)
    assert data[0]["replaced"] >= 1
    assert "placeholders" in caplog.text


def test_rows_travel_to_worker_processes(tmp_path, processor):
    import pickle

    data = dataset(tmp_path, processor, [row(0), row(1)])
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[1]["input_ids"], data[1]["input_ids"])
