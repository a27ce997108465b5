"""95 % intervals of scores and of their differences: over seeds, and over images.

The two answer different questions. Over seeds: would the method score like this if it were trained
again? Over images: would it score like this on other images of the same place? Neither says
anything about other places.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int64, Shaped
from scipy.special import stdtrit

from crossearth.errors import ShapeError

__all__ = [
    'Interval',
    'image_difference_interval',
    'image_interval',
    'mean_interval',
    'paired_interval',
]

RESAMPLES = 2000
_TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Interval:
    """A range that contains a number with 95 % confidence; NaN if nothing can be said."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether the interval could be computed."""
        return not math.isnan(self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference with this interval is significant at this level."""
        return self.low > 0 or self.high < 0


NONE = Interval(math.nan, math.nan)


def mean_interval(values: Sequence[float]) -> Interval:
    """The interval of a mean by Student's t; needs at least two values.

    Args:
        values: Scores, one per seed.

    Example:
        >>> interval = mean_interval([1.0, 2.0, 3.0])
        >>> round(interval.low, 3), round(interval.high, 3)
        (-0.484, 4.484)
    """
    n = len(values)
    if n < 2 or any(math.isnan(value) for value in values):
        return NONE
    mean = math.fsum(values) / n
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = float(stdtrit(n - 1, 1 - _TAIL)) * math.sqrt(variance / n)
    return Interval(mean - half, mean + half)


def paired_interval(ours: Sequence[float], baseline: Sequence[float]) -> Interval:
    """The interval of a mean difference `ours - baseline` by the paired t, seed by seed.

    Args:
        ours: Scores of a method.
        baseline: Scores of the baseline with the same seeds, in the same order.

    Raises:
        ShapeError: If the two have different lengths.
    """
    if len(ours) != len(baseline):
        raise ShapeError(
            f'got {len(ours)} scores and {len(baseline)}: expected pairs of the same seeds'
        )
    return mean_interval([a - b for a, b in zip(ours, baseline, strict=True)])


def image_interval(
    counts: Int64[np.ndarray, 's n k k'],
    *,
    scored: tuple[int, ...] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The interval of a mean IoU by the percentile bootstrap over whole images, in percent.

    The pixels of one image are similar, so whole images are drawn with replacement, and never
    pixels. Each draw is scored like the whole set: from one confusion matrix per seed, averaged
    over the seeds.

    Args:
        counts: Confusion matrices by seed and image.
        scored: Class ids to average; None for all.
        resamples: Number of draws.
        seed: Seed of the draws.

    Returns:
        The interval; unknown (NaN) if there are fewer than two images.
    """
    if counts.shape[1] < 2:
        return NONE
    return _percentiles(_resampled(counts, scored, resamples, seed))


def image_difference_interval(
    ours: Int64[np.ndarray, 's n k k'],
    baseline: Int64[np.ndarray, 't m j j'],  # checked below
    *,
    scored: tuple[int, ...] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The interval of a difference in mean IoU, in points; both are scored on the same draws.

    The arguments are those of `image_interval`. Images have the same order in both.

    Raises:
        ShapeError: If the two differ in their number of images or classes.
    """
    if ours.shape[1:] != baseline.shape[1:]:
        raise ShapeError(
            f'got counts of shape {ours.shape[1:]} and {baseline.shape[1:]}: expected the same '
            'images '
            'and classes'
        )
    if ours.shape[1] < 2:
        return NONE
    return _percentiles(
        _resampled(ours, scored, resamples, seed) - _resampled(baseline, scored, resamples, seed)
    )


def _percentiles(values: Float64[np.ndarray, ' r']) -> Interval:
    known = values[~np.isnan(values)]
    if not len(known):
        return NONE
    low, high = np.quantile(known, [_TAIL, 1 - _TAIL])
    return Interval(float(low), float(high))


def _resampled(
    counts: Int64[np.ndarray, 's n k k'],
    scored: tuple[int, ...] | None,
    resamples: int,
    seed: int,
) -> Float64[np.ndarray, ' r']:
    """Mean score over the seeds, in percent, for each draw of images."""
    seeds, n, k, _ = counts.shape
    weights = _weights(n, resamples, seed)
    scores = [
        _mean_iou((weights @ of_seed.reshape(n, k * k)).reshape(-1, k, k), scored)
        for of_seed in counts.astype(np.float64)  # exact: counts are far below 2⁵³
    ]
    mean: Float64[np.ndarray, ' r'] = 100 * np.sum(scores, axis=0) / seeds
    return mean


@lru_cache(maxsize=8)
def _weights(n: int, resamples: int, seed: int) -> Float64[np.ndarray, 'r n']:
    """How often each draw contains each image."""
    # Numbers of times instead of lists of images: all draws are then one matrix product.
    draws = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    weights: Float64[np.ndarray, 'r n'] = draws.astype(np.float64)
    return weights


def _mean_iou(
    matrices: Float64[np.ndarray, 'r k k'], scored: tuple[int, ...] | None
) -> Float64[np.ndarray, ' r']:
    """As `crossearth.metrics.mean_iou`, for many matrices at once; NaN where no class occurs."""
    hit = np.diagonal(matrices, axis1=1, axis2=2)
    union = matrices.sum(axis=1) + matrices.sum(axis=2) - hit
    chosen = list(range(matrices.shape[1])) if scored is None else list(scored)
    occurs = union[:, chosen] > 0
    shares = np.where(occurs, hit[:, chosen] / np.where(occurs, union[:, chosen], 1), 0)
    return _divide(shares.sum(axis=1), occurs.sum(axis=1))


def _divide(
    sums: Float64[np.ndarray, ' r'], numbers: Shaped[np.ndarray, ' r']
) -> Float64[np.ndarray, ' r']:
    means: Float64[np.ndarray, ' r'] = np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)
    return means
