"""How the next token is chosen from logits."""

from types import SimpleNamespace

import pytest
import torch
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from mobile_videogpt.engines.base import GenerationOptions
from mobile_videogpt.engines.decoding import TokenChooser

CPU = torch.device("cpu")


def chooser(penalty: float | None = None, **options) -> TokenChooser:
    defaults = SimpleNamespace(repetition_penalty=penalty)
    return TokenChooser(GenerationOptions(max_new_tokens=8, **options), defaults, CPU)


@pytest.mark.parametrize("penalty", [1.05, 1.3, 3.0])
def test_penalty_is_that_of_transformers_on_all_generated_tokens(penalty):
    torch.manual_seed(0)
    choose = chooser(penalty)
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    logits = 0.1 * torch.randn(1, 50) + torch.linspace(-1, 1, 50)  # the same few would win for ever
    seen: list[int] = []
    for _ in range(20):
        step = logits + 0.1 * torch.randn(1, 50)
        expected = processor(torch.tensor([seen], dtype=torch.long), step.clone())
        token = choose(step.clone())
        assert token == int(expected.argmax())
        seen.append(token)
    assert len(set(seen)) > 1, "the penalty never mattered"


def test_without_penalty_the_likeliest_wins_every_time():
    choose = chooser()
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    assert [choose(logits.clone()) for _ in range(3)] == [1, 1, 1]


def test_checkpoint_penalty_gives_way_to_the_given_one():
    choose = chooser(5.0, repetition_penalty=1.0)
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    assert [choose(logits.clone()) for _ in range(3)] == [1, 1, 1]


def test_seed_repeats_the_draws():
    logits = torch.zeros(1, 100)
    draws = [
        [choose(logits.clone()) for _ in range(8)]
        for choose in (chooser(do_sample=True, temperature=1.0, seed=s) for s in (3, 3, 4))
    ]
    assert draws[0] == draws[1] != draws[2]


def test_top_k_of_one_is_greedy():
    choose = chooser(do_sample=True, temperature=1.0, top_k=1, seed=0)
    logits = torch.randn(1, 100, generator=torch.Generator().manual_seed(1))
    assert choose(logits.clone()) == int(logits.argmax())
