"""Putting visual tokens where their placeholders stand in the language model's input."""

import torch
from torch import Tensor, nn


def place_tokens(
    inputs_embeds: Tensor,
    input_ids: Tensor,
    token_id: int,
    tokens: Tensor | None,
    what: str,
    each: int,
) -> Tensor:
    """Replace the embeddings of all placeholders of one kind, in order.

    Args:
        inputs_embeds: (B, L, E).
        input_ids: (B, L).
        token_id: the placeholder.
        tokens: (media, V, E), or None.
        what: "video" or "still", for messages.
        each: placeholders that one of them needs, for messages.

    Returns:
        (B, L, E).

    Raises:
        ValueError: if placeholders and tokens differ in number.
    """
    placeholders = input_ids == token_id  # (B, L)
    num_placeholders = int(placeholders.sum())
    num_tokens = 0 if tokens is None else tokens.shape[:-1].numel()
    if num_placeholders != num_tokens:
        raise ValueError(
            f"The prompt holds {num_placeholders} {what} placeholders (id {token_id}), but "
            f"{num_tokens} visual tokens were given; each {what} needs {each} of both."
        )
    if tokens is None:
        return inputs_embeds
    tokens = tokens.to(inputs_embeds.device, inputs_embeds.dtype)
    return inputs_embeds.masked_scatter(placeholders.unsqueeze(-1), tokens)


def touch(inputs_embeds: Tensor, idle: list[nn.Module]) -> Tensor:
    """Add zero times every trainable weight of modules that a batch did not use.

    Distributed training waits for the gradient of every trainable weight on every process; a batch
    of text alone would otherwise leave the others waiting for its projectors.
    """
    weights = [w for module in idle for w in module.parameters() if w.requires_grad]
    if not weights:
        return inputs_embeds
    nothing = torch.stack([w.sum() for w in weights]).sum() * 0.0
    return inputs_embeds + nothing.to(inputs_embeds.dtype)


def trains(module: nn.Module) -> bool:
    """Whether gradients are recorded and any weight of the module wants one."""
    return torch.is_grad_enabled() and any(w.requires_grad for w in module.parameters())
