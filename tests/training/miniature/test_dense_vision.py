"""Stage 0 of the encoders: dense labels of clips reach every part that is kept."""

import pytest
import torch
from in_this_process import stay_in_this_process

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.training.miniature.clips import ClipCache
from mobile_videogpt.training.miniature.dense_vision import (
    ImageCollator,
    ImagePretraining,
    VideoCollator,
    VideoPretraining,
)

CONFIG = MobileVideoGPTConfig.preset("moving-shapes")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    cache = ClipCache(tmp_path_factory.mktemp("clips"), CONFIG, 3, "train")
    with pytest.MonkeyPatch.context() as patch:
        stay_in_this_process(patch)
        list(cache.render(1))
    return cache


@pytest.mark.parametrize(
    ("kind", "collator"), [(ImagePretraining, ImageCollator), (VideoPretraining, VideoCollator)]
)
def test_the_encoder_learns_a_batch_by_heart(cache, kind, collator):
    torch.manual_seed(0)
    model = kind(CONFIG)
    batch = collator(cache)([0, 1, 2])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        out = model(**batch)
        losses.append(out["loss"].item())
        optimizer.zero_grad()
        out["loss"].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
    assert len(out["correct"]) == len(model.heads.classes)
    # CLIP's last layer lies behind the one whose features are taken.
    unused = {name for name, p in model.encoder.named_parameters() if p.grad is None}
    assert all("post_layernorm" in name or "layers." in name for name in unused)
    assert len(unused) < len(list(model.encoder.parameters())) / 2


def test_features_are_of_patches_alone(cache):
    images, videos = ImageCollator(cache)([0, 1]), VideoCollator(cache)([0, 1])
    for model, batch in ((ImagePretraining(CONFIG), images), (VideoPretraining(CONFIG), videos)):
        with torch.no_grad():
            features = model.features(batch["pixels"])
        assert features.shape[:2] == batch["is_object"].shape
