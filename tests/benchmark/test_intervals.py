"""Intervals against scipy, and against what they have to cover."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from crossearth.benchmark.intervals import (
    image_difference_interval,
    image_interval,
    mean_interval,
    paired_interval,
)
from crossearth.errors import ShapeError
from crossearth.metrics import mean_iou


def random_counts(seeds, images, classes, seed=0):
    rng = np.random.default_rng(seed)
    hits = rng.integers(50, 400, (1, images, 1, 1)) * np.eye(classes, dtype=np.int64)
    return rng.integers(0, 100, (seeds, images, classes, classes)) + hits


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = [61.2, 63.4, 60.1, 64.9]
    interval = mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_paired_differences_is_that_of_scipy():
    ours, baseline = [61.2, 63.4, 60.1], [58.0, 62.0, 57.5]
    interval = paired_interval(ours, baseline)
    expected = stats.ttest_rel(ours, baseline).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert paired_interval([5.0, 5.1, 5.2], [1.0, 1.1, 1.3]).excludes_zero
    assert not paired_interval([5.0, 1.0], [1.0, 5.0]).excludes_zero
    with pytest.raises(ShapeError, match='got 2 scores and 3'):
        paired_interval([1.0, 2.0], [1.0, 2.0, 3.0])


def test_one_seed_or_one_image_has_no_interval():
    assert not mean_interval([61.2]).known
    assert not mean_interval([61.2, math.nan]).known
    assert not image_interval(random_counts(2, 1, 3)).known


def test_images_are_resampled_whole_as_scipy_does():
    counts = random_counts(1, 40, 2)
    interval = image_interval(counts, resamples=4000)

    def score(indices):
        total = torch.from_numpy(counts[0][np.asarray(indices)].sum(axis=0))
        return 100 * mean_iou(total)

    expected = stats.bootstrap(
        (np.arange(40),), score, n_resamples=2000, method='percentile', vectorized=False,
        random_state=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    assert interval.low == pytest.approx(expected.low, abs=0.3)
    assert interval.high == pytest.approx(expected.high, abs=0.3)
    assert interval.low < score(np.arange(40)) < interval.high
    assert image_interval(counts, resamples=4000) == interval  # the draws are seeded


def test_images_that_are_all_alike_leave_no_doubt():
    counts = np.broadcast_to(np.array([[8, 2], [1, 9]]), (3, 5, 2, 2)).copy()
    expected = 100 * mean_iou(torch.tensor([[8, 2], [1, 9]]))
    interval = image_interval(counts)
    assert (interval.low, interval.high) == pytest.approx((expected, expected))
    of_buildings = image_interval(counts, scored=(1,))
    assert of_buildings.low == pytest.approx(100 * 9 / 12)


def test_a_difference_is_taken_on_the_same_images():
    """Images differ much, the methods by 2 pixels in each: the difference is certain."""
    rng = np.random.default_rng(0)
    hits = rng.integers(10, 80, 30)
    ours = np.zeros((1, 30, 2, 2), np.int64)
    ours[0, :, 1, 1], ours[0, :, 0, 1] = hits, 100 - hits
    baseline = ours.copy()
    baseline[0, :, 1, 1] -= 2
    baseline[0, :, 0, 1] += 2
    assert image_interval(ours, scored=(1,)).high - image_interval(ours, scored=(1,)).low > 8
    difference = image_difference_interval(ours, baseline, scored=(1,))
    assert difference.low == pytest.approx(2)
    assert difference.high == pytest.approx(2)
    with pytest.raises(ShapeError, match='expected the same images'):
        image_difference_interval(ours, baseline[:, :20])


def test_classes_that_a_draw_lacks_are_left_out_of_its_mean():
    counts = np.zeros((1, 2, 2, 2), np.int64)
    counts[0, 0, 0, 0] = 10  # one image is all background and right
    counts[0, 1] = [[5, 5], [5, 5]]
    interval = image_interval(counts)
    assert interval.high == pytest.approx(100)  # the first image drawn twice
    assert interval.low == pytest.approx(100 / 3)
    assert not image_interval(np.zeros((1, 3, 2, 2), np.int64)).known
