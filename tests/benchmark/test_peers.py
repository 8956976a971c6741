"""The peers have their released sizes, and miniatures of them answer."""

import pytest
import torch

from mobile_videogpt.benchmark.peers import llava_onevision, smolvlm2
from mobile_videogpt.benchmark.settings import Settings

SMALL_VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
SMALL_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
PEERS = [
    (llava_onevision, llava_onevision.LlavaOneVision, 894e6),
    (smolvlm2, smolvlm2.SmolVLM2, 507e6),
]


@pytest.mark.parametrize(("module", "peer", "parameters"), PEERS)
def test_a_peer_has_its_released_size(module, peer, parameters):
    with torch.device("meta"):
        model = peer(Settings()).build()
    found = {id(weight): weight.numel() for weight in model.parameters()}
    assert sum(found.values()) == pytest.approx(parameters, rel=0.01)


def test_llava_onevision_has_6272_visual_tokens_and_smolvlm2_1024():
    sizes = [peer.num_frames * peer.tokens_per_frame for _, peer, _ in PEERS]
    assert sizes == [6272, 1024]


@pytest.mark.parametrize(("module", "peer", "parameters"), PEERS)
def test_a_peer_answers_and_reports_its_times(module, peer, parameters, monkeypatch, clip_file):
    monkeypatch.setattr(module, "VISION", {**module.VISION, **SMALL_VISION})
    monkeypatch.setattr(module, "TEXT", {**module.TEXT, **SMALL_TEXT})
    monkeypatch.setattr(peer, "num_frames", 2)
    contestant = peer(Settings(clip=str(clip_file), new_tokens=3))
    facts = contestant.load()
    assert facts["visual_tokens"] == 2 * peer.tokens_per_frame
    contestant.warm_up()
    found = contestant.run()
    assert 0 < found["vision_s"] < found["ttft_s"] < found["end_to_end_s"]
    assert found["decode_tok_s"] == pytest.approx(
        2 / (found["end_to_end_s"] - found["ttft_s"]), rel=1e-6
    )
