"""A start with random weights and a small ablation of it, encoded in this process."""

from pathlib import Path

import pytest
from in_this_process import stay_in_this_process
from small_ablation import write_ablation
from stage_zero import write_stage_zero

from mobile_videogpt.training.ablation.plan import load_ablation
from mobile_videogpt.training.miniature import features
from mobile_videogpt.training.miniature.clips import ClipCache


@pytest.fixture(scope="package")
def start(tmp_path_factory) -> Path:
    """A run with stage 0, eight clips and their features."""
    folder = tmp_path_factory.mktemp("start")
    model = write_stage_zero(folder)
    cache = ClipCache(folder / "clips" / "train", model.config, 8, "train")
    with pytest.MonkeyPatch.context() as patch:
        stay_in_this_process(patch)
        list(cache.render(1))
        list(features.FeatureStore(folder / "features" / "train", cache).encode(model, 1))
    return folder


@pytest.fixture(autouse=True)
def no_processes(monkeypatch):
    stay_in_this_process(monkeypatch)


@pytest.fixture
def ablation(tmp_path, start):
    return load_ablation(write_ablation(tmp_path, start))
