"""Fewer image tokens by merging over time: training-free, off unless asked for.

A video's frames are divided into runs of neighbours, as many as the keep ratio asks for and as even
as can be. The tokens at one place of the picture become one in every run: their mean, at the place
that the run's first frame has in the sequence. Merging tokens of neighbouring frames is what DyCoke
and STTM begin with; choosing which to merge by similarity, as they do, was tried and did worse here
than even runs (docs/token-merging.md).

What remains keeps its order and its position: the language model learnt at which positions a
frame's tokens stand, and measurably suffers when the rest closes up. Video tokens are left alone:
they are few, and each sees all key frames already.
"""

import torch
from torch import Tensor

from .frame_selection import uniform_frames


def num_runs(num_frames: int, keep: float) -> int:
    """Into how many runs of neighbours a video's frames are merged.

    Raises:
        ValueError: if `keep` is not above 0 and at most 1.

    >>> num_runs(16, 0.5)
    8
    """
    if not 0 < keep <= 1:
        raise ValueError(
            f"merge_tokens is {keep}; it is the share of image tokens to keep: above 0, at most 1"
        )
    return max(1, round(num_frames * keep))


def merge_over_time(image_tokens: Tensor, keep: float) -> tuple[Tensor, Tensor]:
    """Average the image tokens of neighbouring frames, place by place.

    Args:
        image_tokens: (T, N, E) of one video, in time order.
        keep: share of them to keep, above 0 and at most 1, to the nearest whole frame.

    Returns:
        (M, E), the tokens of `num_runs` merged frames; and the ascending places of the runs' first
        frames' tokens among all T * N, (M,).

    Raises:
        ValueError: if `keep` is out of range.
    """
    frames, places = image_tokens.shape[:2]
    first = uniform_frames(frames, num_runs(frames, keep))
    lengths = [end - start for start, end in zip(first, [*first[1:], frames], strict=True)]
    # In float32: half precision would round the sum of a long run.
    runs = image_tokens.float().split(lengths)
    merged = torch.stack([run.mean(0) for run in runs])  # (runs, N, E)
    starts = torch.tensor(first, device=image_tokens.device)[:, None] * places
    kept = starts + torch.arange(places, device=starts.device)  # (runs, N)
    return merged.flatten(0, 1).to(image_tokens.dtype), kept.flatten()


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
