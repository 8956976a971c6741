"""Samples about one video share its visual tokens: fewer rows, the same loss and gradients."""

import pytest
import torch
from media_data import image, row, video, write_data

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.processor import MobileVideoGPTProcessor
from mobile_videogpt.processor.prompt import IGNORED
from mobile_videogpt.synthetic.vocabulary import build_tokenizer
from mobile_videogpt.training.data import load_mixture
from mobile_videogpt.training.media.collate import SampleCollator, shared_groups
from mobile_videogpt.training.media.samples import SampleDataset

CONFIG = MobileVideoGPTConfig.preset("moving-shapes")


def samples(folder, rows, **options):
    processor = MobileVideoGPTProcessor.from_config(CONFIG, build_tokenizer())
    mixture = load_mixture(write_data(folder, rows, shuffle=False))
    data = SampleDataset(mixture, processor, len(rows), **options)
    return [data[i] for i in range(len(rows))]


def loss_and_gradients(model, batch):
    """Summed over the learned tokens, and what both projectors and one layer get of it."""
    batch = {name: value for name, value in batch.items() if name != "counts"}
    labels = batch.pop("labels")
    model.zero_grad()
    logits = model(**batch).logits[:, :-1].flatten(0, 1)
    loss = torch.nn.functional.cross_entropy(
        logits, labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )
    loss.backward()
    return loss.item(), {
        n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("still_branch", ["image", "video"])
def test_sharing_changes_the_number_of_rows_and_nothing_else(tmp_path, still_branch):
    clip, other, still = video(), video(1), image()
    contents = [clip, other, clip, still, None, clip, still, clip]
    rows = [row(i, *([content] if content else [])) for i, content in enumerate(contents)]
    made = samples(tmp_path, rows, still_branch=still_branch)
    apart = SampleCollator(0, still_branch)(made)
    shared = SampleCollator(0, still_branch, shares_prefixes=True)(made)
    assert len(apart["input_ids"]) == 8 and len(shared["input_ids"]) < 8
    assert shared["input_ids"].numel() < apart["input_ids"].numel()
    assert torch.equal(shared["counts"], apart["counts"])
    assert len(shared["image_pixel_values"]) < len(apart["image_pixel_values"])
    torch.manual_seed(0)
    model = MobileVideoGPTForConditionalGeneration(CONFIG).train()
    (expected, wanted), (loss, gradients) = (loss_and_gradients(model, b) for b in (apart, shared))
    assert loss == pytest.approx(expected, rel=1e-5)
    assert gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-4, rtol=1e-3, msg=name)


def test_rows_of_the_released_style_learn_their_prefix_and_stay_apart(tmp_path):
    made = samples(tmp_path, [row(i, video()) for i in range(3)], label_style="released")
    assert len(shared_groups(made)) == 3


def test_other_seconds_of_a_video_are_another_video(tmp_path):
    cut = {**video(), "start": 1.0, "end": 2.0}
    made = samples(tmp_path, [row(i, content) for i, content in enumerate([video(), cut])])
    assert len(shared_groups(made)) == 2


def test_groups_are_cut_so_that_little_is_padded(tmp_path):
    contents = [video()] * 12 + [video(1)] * 3
    made = samples(tmp_path, [row(i, content) for i, content in enumerate(contents)])
    groups = shared_groups(made)
    assert sorted(id(r) for group in groups for r in group) == sorted(map(id, made))
    prefix = made[0]["prefix_length"]
    lengths = [prefix + sum(len(r["input_ids"]) - prefix for r in group) for group in groups]
    assert len(groups) * max(lengths) < 0.7 * sum(len(r["input_ids"]) for r in made)
    whole = [12, 3]
    assert sorted(map(len, groups), reverse=True) != whole or max(lengths) < 2 * min(lengths)
