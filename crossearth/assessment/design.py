"""How many pixels to draw, and how many of them in each stratum.

Source: Olofsson et al. (2014), Remote Sensing of Environment 148:42–57, section 5.1; Cochran
(1977), Sampling Techniques, equation 5.25.
"""

import math

import numpy as np
from jaxtyping import Float64, Int64

from crossearth.errors import ConfigError

__all__ = ['MIN_PER_STRATUM', 'allocate', 'sample_size']

MIN_PER_STRATUM = 50
"""Units per stratum, however small it is; Olofsson et al. (2014) advise 50 to 100."""


def sample_size(
    areas: Float64[np.ndarray, ' s'],
    expected_accuracy: Float64[np.ndarray, ' s'],
    *,
    standard_error: float | int,
) -> int:
    """Number of units for a wanted standard error of the overall accuracy, if allocated well.

    Args:
        areas: Area of each stratum, in any unit.
        expected_accuracy: Share of each stratum that you expect to be correct, from 0 to 1.
        standard_error: The standard error that you want; 0.01 gives intervals of about ± 0.02.

    Raises:
        ConfigError: If a value is out of range.

    Source: Olofsson et al. (2014), equation 13, for strata with many more pixels than units.

    Example:
        >>> areas = np.array([0.02, 0.015, 0.32, 0.645])
        >>> sample_size(areas, np.array([0.7, 0.6, 0.9, 0.95]), standard_error=0.01)
        641
    """
    if not 0 < standard_error < 0.5:
        raise ConfigError(
            f'the standard error is {standard_error}: expected a number between 0 and 0.5, such as '
            '0.02'
        )
    if not ((expected_accuracy >= 0) & (expected_accuracy <= 1)).all():
        raise ConfigError(
            f'expected accuracies are {expected_accuracy.tolist()}: expected shares from 0 to 1'
        )
    spread = np.sqrt(expected_accuracy * (1 - expected_accuracy))
    mean = float(areas @ spread / areas.sum())
    return max(math.ceil((mean / standard_error) ** 2), 1)


def allocate(
    areas: Float64[np.ndarray, ' s'],
    sizes: Int64[np.ndarray, ' s'],
    *,
    n: int,
    least: int = MIN_PER_STRATUM,
) -> Int64[np.ndarray, ' s']:
    """Units of each stratum, in proportion to its area, but no fewer than a minimum.

    Small strata get the minimum, and the others share the rest by area. A stratum with fewer pixels
    than the minimum is taken completely. If the minimums add up to more than `n`, more than `n`
    units are drawn.

    Args:
        areas: Area of each stratum.
        sizes: Pixels of each stratum.
        n: Total number of units.
        least: Minimum number of units per stratum, at least 2.

    Raises:
        ConfigError: If `n` or `least` is too small.

    Example:
        >>> sizes = np.array([200_000, 150_000, 3_200_000, 6_450_000])
        >>> allocate(sizes.astype(float), sizes, n=640, least=75).tolist()
        [75, 75, 162, 328]
    """
    if n < 1 or least < 2:
        raise ConfigError(
            f'n is {n} and the minimum per stratum is {least}: expected at least 1, and at least '
            '2, because a variance needs two'
        )
    floor = np.minimum(least, sizes)
    drawn = floor.astype(np.float64)
    settled = np.zeros(len(areas), dtype=bool)
    while not settled.all():
        rest = max(n - drawn[settled].sum(), 0)
        share = rest * areas / areas[~settled].sum()
        low, high = ~settled & (share < floor), ~settled & (share > sizes)
        if not (low | high).any():
            drawn[~settled] = share[~settled]
            break
        # fix strata at their minimum first, because they leave less for the others
        chosen = low if low.any() else high
        drawn[chosen] = np.where(low, floor, sizes)[chosen]
        settled |= chosen
    return _rounded(drawn)


def _rounded(shares: Float64[np.ndarray, ' s']) -> Int64[np.ndarray, ' s']:
    """Round to whole numbers with the same sum: the largest remainders are rounded up."""
    # a whole number that rounding has left just below itself must not lose a unit
    whole = np.floor(shares + 1e-9)
    missing = round(float((shares - whole).sum()))
    whole[np.argsort(whole - shares, kind='stable')[:missing]] += 1
    return whole.astype(np.int64)
