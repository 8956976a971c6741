"""Grouping by length and by media: every sample once, alike ones together, always the same."""

from itertools import pairwise

import numpy as np

from mobile_videogpt.training.media.order import (
    WINDOW,
    LengthGroupedSampler,
    MediaGroupedSampler,
)

PER_EPOCH = 50


def lengths(epoch: int) -> list[int]:
    return np.random.default_rng(epoch).integers(1, 1000, PER_EPOCH).tolist()


def order(num_samples: int, batch: int = 4, seed: int = 0) -> list[int]:
    return list(LengthGroupedSampler(lengths, PER_EPOCH, num_samples, batch, seed))


def length_of(position: int) -> int:
    return lengths(position // PER_EPOCH)[position % PER_EPOCH]


def test_every_position_comes_once():
    assert sorted(order(400)) == list(range(400))


def test_batches_hold_rows_of_about_one_length():
    grouped = np.array([length_of(p) for p in order(4 * WINDOW)]).reshape(-1, 4)
    plain = np.array([length_of(p) for p in range(4 * WINDOW)]).reshape(-1, 4)
    assert np.ptp(grouped, axis=1).mean() < 0.1 * np.ptp(plain, axis=1).mean()


def test_batches_do_not_come_in_the_order_of_their_lengths():
    means = np.array([length_of(p) for p in order(4 * WINDOW)]).reshape(-1, 4).mean(1)
    assert (np.diff(means) < 0).sum() > WINDOW // 4


def test_the_order_depends_on_the_seed_alone_and_not_on_the_number_of_steps():
    assert order(400) == order(400)
    assert order(400) != order(400, seed=1)
    whole_windows = 4 * WINDOW
    assert order(400)[:whole_windows] == order(2 * whole_windows)[:whole_windows]


def media(epoch: int) -> list[int]:
    return np.random.default_rng(epoch).integers(0, 12, PER_EPOCH).tolist()


def media_order(num_samples: int) -> list[int]:
    return list(MediaGroupedSampler(media, PER_EPOCH, num_samples))


def test_samples_about_one_video_follow_each_other():
    positions = media_order(PER_EPOCH)
    assert sorted(positions) == list(range(PER_EPOCH))
    shown = [media(0)[p] for p in positions]
    changes = 1 + sum(a != b for a, b in pairwise(shown))
    assert changes == len(set(shown))


def test_groups_stand_where_the_stream_first_meets_them():
    shown = [media(0)[p] for p in media_order(PER_EPOCH)]
    assert list(dict.fromkeys(shown)) == list(dict.fromkeys(media(0)))


def test_an_epoch_cut_short_takes_no_sample_from_beyond_its_end():
    assert sorted(media_order(130)) == list(range(130))
    assert media_order(130)[:100] == media_order(100)
