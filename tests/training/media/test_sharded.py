"""FSDP as `configs/accelerate/fsdp.yaml` cuts the model, on two CPU processes.

accelerate shards on GPUs only; here PyTorch's own `fully_shard` makes the same units.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from media_data import mixed_rows, row, video, write_data
from torch.multiprocessing import spawn

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.processor import MobileVideoGPTProcessor
from mobile_videogpt.synthetic.vocabulary import build_tokenizer
from mobile_videogpt.training.data import load_mixture
from mobile_videogpt.training.media.collate import SampleCollator
from mobile_videogpt.training.media.parameters import choose_trainable
from mobile_videogpt.training.media.recipe import MediaStage
from mobile_videogpt.training.media.samples import SampleDataset

pytest.importorskip("peft")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs gloo"),
]


def prepared() -> torch.nn.Module:
    torch.manual_seed(0)
    config = MobileVideoGPTConfig.preset("moving-shapes")
    stage = MediaStage("s", "instruct", Path("d"), 1e-3, 1, steps=1, lora_rank=4, lora_dropout=0.0)
    return choose_trainable(MobileVideoGPTForConditionalGeneration(config), stage).train()


def batches(mixture: Path) -> list[dict]:
    """One with a video, one of text alone."""
    processor = MobileVideoGPTProcessor.from_config(
        MobileVideoGPTConfig.preset("moving-shapes"), build_tokenizer()
    )
    data = SampleDataset(load_mixture(mixture), processor, 2)
    made = [SampleCollator(0)([data[position]]) for position in range(2)]
    for batch in made:
        del batch["counts"]
    return made


def gradients(model: torch.nn.Module, batch: dict) -> dict[str, torch.Tensor]:
    model(**batch).loss.backward()
    return {n: w.grad for n, w in model.named_parameters() if w.requires_grad}


def process(rank: int, mixture: Path, folder: Path) -> None:
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor
    from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank), "WORLD_SIZE": "2"}
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    mesh = dist.init_device_mesh("cpu", (2,))
    model = prepared()
    for module in model.modules():
        if isinstance(module, Qwen2DecoderLayer):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    found = gradients(model, batches(mixture)[rank])
    whole = {n: g.full_tensor() if isinstance(g, DTensor) else g for n, g in found.items()}
    if rank == 0:
        torch.save(whole, folder / "gradients.pt")
    dist.destroy_process_group()


def test_a_batch_of_text_and_one_with_a_video_give_the_mean_of_their_gradients(tmp_path):
    mixture = write_data(tmp_path / "data", [row(0, video()), *mixed_rows(1)], shuffle=False)
    spawn(process, (mixture, tmp_path), nprocs=2, join=True)
    sharded = torch.load(tmp_path / "gradients.pt")
    model = prepared()
    alone = []
    for batch in batches(mixture):
        alone.append({n: g.clone() for n, g in gradients(model, batch).items()})
        model.zero_grad()
    assert sharded.keys() == alone[0].keys()
    for name, value in sharded.items():
        expected = (alone[0][name] + alone[1][name]) / 2
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-4)
