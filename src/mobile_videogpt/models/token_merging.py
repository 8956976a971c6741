"""Fewer image tokens by merging over time: training-free, off unless asked for.

A part of the picture that does not change gives nearly the same token in frame after frame. Every
image token is compared with the token at the same place one frame earlier, in the language model's
own space; the most similar ones join the run that the earlier token belongs to, and a run becomes
one token, its mean, at the place of its first token. Such merging across neighbouring frames is the
first stage of DyCoke and the temporal half of STTM; nothing else of either is here.

How many tokens remain is given, not which: so many that the keep ratio is met exactly. What remains
keeps its order and its position: the language model learnt at which positions a frame's tokens
stand, and measurably suffers when the rest closes up. Video tokens are left alone: they are few,
and each sees all key frames already.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def num_merged_tokens(num_frames: int, tokens_per_frame: int, keep: float) -> int:
    """How many of a video's image tokens remain; as many as a frame has always do.

    Raises:
        ValueError: if `keep` is not above 0 and at most 1.

    >>> num_merged_tokens(16, 144, 0.5)
    1152
    """
    if not 0 < keep <= 1:
        raise ValueError(
            f"merge_tokens is {keep}; it is the share of image tokens to keep: above 0, at most 1"
        )
    return max(tokens_per_frame, round(num_frames * tokens_per_frame * keep))


def merge_over_time(image_tokens: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """Merge the image tokens that change least from frame to frame.

    Args:
        image_tokens: (T, N, E) of one video, in time order.
        keep: share of them to keep, above 0 and at most 1.

    Returns:
        (M, E), the remaining tokens by frame, then by place, M as `num_merged_tokens` says; and
        their ascending places among all T * N, (M,).

    Raises:
        ValueError: if `keep` is out of range.
    """
    frames, places = image_tokens.shape[:2]
    remaining = num_merged_tokens(frames, places, keep)
    joins = _most_similar(image_tokens, frames * places - remaining)  # (T, N)
    # A token's run starts in the last frame, up to its own, that did not join.
    frame = torch.arange(frames, device=joins.device)[:, None]  # (T, 1)
    run_start = torch.where(joins, 0, frame).cummax(0).values  # (T, N)
    run = (run_start * places + torch.arange(places, device=joins.device)).flatten()  # (T * N,)
    # Sums in float32: half precision would round a long run of like tokens.
    tokens = image_tokens.flatten(0, 1).float()
    sums = torch.zeros_like(tokens).index_add_(0, run, tokens)
    lengths = torch.bincount(run, minlength=len(run))[:, None]
    first = (~joins).flatten().nonzero().flatten()  # (M,)
    return (sums[first] / lengths[first]).to(image_tokens.dtype), first


def merge_visual_tokens(
    visual_embeds: Tensor, num_frames: int, num_image_tokens: int, keep: float
) -> tuple[Tensor, Tensor]:
    """Merge the image tokens of a whole visual sequence; see `merge_over_time`.

    Args:
        visual_embeds: (1, V, E), image tokens first, frame by frame.
        num_frames: T.
        num_image_tokens: how many of the V are image tokens, T times those of a frame.
        keep: share of the image tokens to keep.

    Returns:
        (1, M, E): the merged image tokens, then the others unchanged; and their ascending places
        among the V, (M,).
    """
    total = visual_embeds.shape[1]
    images, others = visual_embeds[0].split([num_image_tokens, total - num_image_tokens])
    merged, places = merge_over_time(images.unflatten(0, (num_frames, -1)), keep)
    rest = torch.arange(num_image_tokens, total, device=places.device)
    return torch.cat((merged, others))[None], torch.cat((places, rest))


def _most_similar(image_tokens: Tensor, number: int) -> Tensor:
    """Mark the `number` tokens most like the one before them: (T, N, E) -> boolean (T, N)."""
    tokens = image_tokens.float()
    similarity = F.cosine_similarity(tokens[1:], tokens[:-1], dim=-1)  # (T - 1, N)
    # Stable: of equal similarities (a still picture) the earlier ones go first, on every device.
    ranking = similarity.flatten().sort(descending=True, stable=True).indices
    joins = torch.zeros(similarity.numel(), dtype=torch.bool, device=tokens.device)
    joins[ranking[:number]] = True
    first_frame = joins.new_zeros(1, similarity.shape[1])
    return torch.cat((first_frame, joins.view_as(similarity)))
