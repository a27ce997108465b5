"""How far a computation in floating point may be from the exact result."""

import torch

__all__ = ['rounding_error']


def rounding_error(
    roundings: int, magnitude: float = 1.0, dtype: torch.dtype = torch.float32
) -> float:
    """The largest error that `roundings` roundings in a row can leave.

    One rounding to `dtype` multiplies a number by 1 + δ with |δ| ≤ u, where u is half the distance
    from 1 to the next number (2⁻²⁴ for float32). After k of them the factor lies within
    1 ± k·u / (1 - k·u) (Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1).

    A sum of n products a·b rounds each product once and is itself rounded n - 1 times, in whatever
    order it is made: no term passes more than n roundings. Add one for each factor that is the
    result of a rounding, and one for a division at the end.

    Args:
        roundings: Largest number k of roundings that one term passes through.
        magnitude: Bound of the sum of the absolute values of all terms: 1 for an average of
            numbers in [0, 1].
        dtype: Type of the numbers that are rounded to.

    Returns:
        k·u / (1 - k·u) × magnitude.
    """
    unit = torch.finfo(dtype).eps / 2
    return roundings * unit / (1 - roundings * unit) * magnitude
