"""Grouping by length: every sample once, equal lengths together, the same from any start."""

import numpy as np

from mobile_videogpt.training.media.order import WINDOW, LengthGroupedSampler

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
