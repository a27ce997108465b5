"""95 % intervals that stay valid when few errors, or none, were found.

The usual interval, an estimate ± 1.96 standard errors, fails for good maps and rare classes. If
none of 300 units of a large stratum is found to be a road, the standard error suggests that there
is no road at all, and the interval of the area of roads is far too short. In the simulations of
`performance/assess.py`, such intervals contain the truth in 48 % of all samples instead of 95 %.

The intervals here are quantiles of what the sample leaves possible. In each stratum, the shares of
the classes are drawn from a Dirichlet distribution. Its parameters are the counts, scaled down so
that they sum to one unit less, plus one unit, half of it correct and half of it wrong: 50 correct
units of 50 give 49.5 and 0.5. So they sum to the number of units. The unit that is added is
Jeffreys' prior, for which intervals of a single proportion hold their level on average (Brown et
al. 2001). With it, but without scaling, the parameters would be 50.5 and 0.5. Every accuracy and
area is computed from each draw.

Quantities over all classes, the overall accuracy and the mean IoU, use a third instead of a half
(the neutral prior of Kerman 2011), because the units that are added to every stratum accumulate.

Source:
    Brown, Cai and DasGupta (2001), Statistical Science 16:101–133; Kerman (2011), Electronic
    Journal of Statistics 5:1450–1470.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

__all__ = ['Draws', 'Interval', 'draw_areas', 'interval_of']

_DRAWS = 8000  # the ends of an interval are then uncertain by 1.5 % of its width
_OF_A_CLASS = 1 / 2
_OVER_ALL = 1 / 3
_LEVELS = (0.025, 0.975)


class Interval(NamedTuple):
    """The range that contains the truth with 95 % confidence."""

    low: float
    high: float


class Draws(NamedTuple):
    """Areas that the sample leaves possible, one row per draw.

    Args:
        right: Area of each class that is mapped correctly.
        mapped: Mapped area of each class.
        true: True area of each class.
    """

    right: Float64[np.ndarray, 'd k']
    mapped: Float64[np.ndarray, 'd k']
    true: Float64[np.ndarray, 'd k']


def draw_areas(
    counts: Float64[np.ndarray, 's k k'],
    *,
    areas: Float64[np.ndarray, ' s'],
    left: Float64[np.ndarray, ' s'],
    over_all: bool = False,
) -> Draws:
    """Draw areas that a sample leaves possible. The same sample always gives the same draws.

    Args:
        counts: Units in each stratum, by mapped class (rows) and reference class (columns).
        areas: Area of each stratum.
        left: Share of each stratum that was not drawn, from 0 to 1.
        over_all: Whether the draws are for quantities over all classes.
    """
    generator = np.random.default_rng(0)
    num_classes = counts.shape[1]
    added = _added_unit(num_classes, part=_OVER_ALL if over_all else _OF_A_CLASS)
    draws = Draws(*np.zeros((3, _DRAWS, num_classes)))
    for table, area, rest in zip(counts, areas, left, strict=True):
        rows = np.flatnonzero(table.any(1))  # classes that the map has in this stratum
        units = table.sum()
        seen = table[rows] / units
        expected = table[rows] * (1 - 1 / units) + seen.sum(1, keepdims=True) * added[rows]
        # gamma draws, divided by their sum, are draws from a Dirichlet distribution
        drawn = generator.standard_gamma(expected, size=(_DRAWS, *expected.shape))
        drawn /= drawn.sum((1, 2), keepdims=True)
        # the spread shrinks by the finite population correction, as in `estimators`
        shares = area * (seen + np.sqrt(rest) * (drawn - seen))
        draws.right[:, rows] += shares[:, np.arange(len(rows)), rows]
        draws.mapped[:, rows] += shares.sum(2)
        draws.true[:] += shares.sum(1)
    return draws


def interval_of(
    value: Float64[np.ndarray, ' q'], possible: Float64[np.ndarray, 'd q']
) -> Float64[np.ndarray, 'q 2']:
    """The middle 95 % of the draws, widened if needed to contain the estimate itself.

    Args:
        value: Estimates.
        possible: The same quantities from draws.

    Returns:
        Lower and upper ends; NaN where there is no estimate.

    Example:
        >>> interval_of(np.array([1.0]), np.linspace(0.9, 0.99, 901)[:, None]).round(3).tolist()
        [[0.902, 1.0]]
    """
    low, high = np.quantile(possible, _LEVELS, axis=0)
    return np.stack([np.minimum(low, value), np.maximum(high, value)], axis=1)


def _added_unit(num_classes: int, *, part: float) -> Float64[np.ndarray, 'k k']:
    """The unit added to the counts of each mapped class: `part` correct, and as much wrong."""
    right: Bool[np.ndarray, 'k k'] = np.eye(num_classes, dtype=bool)
    # a single class cannot be confused with another
    return np.where(right, part, part / max(num_classes - 1, 1))
