"""A start with random weights and a small ablation of it, encoded in this process."""

from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from small_ablation import write_ablation

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.training.ablation.plan import load_ablation
from mobile_videogpt.training.miniature import features
from mobile_videogpt.training.miniature.clips import ClipCache
from mobile_videogpt.training.miniature.pretrain import save_part


class InThisProcess:
    """An executor without processes, which take seconds to start."""

    def __init__(self, *arguments, **options):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def submit(self, function, *arguments):
        done = Future()
        done.set_result(function(*arguments))
        return done


@pytest.fixture(scope="package")
def start(tmp_path_factory) -> Path:
    """A run with stage 0, eight clips and their features."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(0)
    config = MobileVideoGPTConfig.preset("moving-shapes")
    model = MobileVideoGPTForConditionalGeneration(config)
    parts = {
        "image": model.image_encoder,
        "video": model.video_encoder,
        "language": model.language_model.model,
    }
    for name, part in parts.items():
        (folder / f"stage0-{name}").mkdir()
        save_part(part, folder / f"stage0-{name}")
    cache = ClipCache(folder / "clips" / "train", config, 8, "train")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mobile_videogpt.training.miniature.clips.ProcessPoolExecutor", InThisProcess)
        patch.setattr(features, "ProcessPoolExecutor", InThisProcess)
        list(cache.render(1))
        list(features.FeatureStore(folder / "features" / "train", cache).encode(model, 1))
    return folder


@pytest.fixture(autouse=True)
def no_processes(monkeypatch):
    monkeypatch.setattr(
        "mobile_videogpt.training.miniature.clips.ProcessPoolExecutor", InThisProcess
    )
    monkeypatch.setattr(features, "ProcessPoolExecutor", InThisProcess)


@pytest.fixture
def ablation(tmp_path, start):
    return load_ablation(write_ablation(tmp_path, start))
