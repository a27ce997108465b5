"""Chooses how a model sees the images: bands, values, pixel size, windows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossearth.errors import ConfigError
from crossearth.survey.scenes import Look, SceneSet

__all__ = ['View', 'choose_view', 'gsd_range', 'percentiles']

_ONE_GSD = 1.05  # pixel sizes within this ratio count as equal
_LARGEST_WINDOW_PX = 256
_STRIDE_PX = 32  # of the model's coarsest feature map
_TAILS = (0.5, 99.5)  # percentiles of the values that become 0 and 1


@dataclass(frozen=True, slots=True)
class View:
    """How training sees the images.

    Args:
        bands: Bands, counted from 1.
        value_range: Values of black and white by data type, for types that need them.
        gsd_m: Middle pixel size of the source in metres; None if unknown.
        gsd_range_m: Finest and coarsest pixel size of the source in metres; None if unknown.
        window_px: Side of the windows.
        windows: Number of windows in the source.
    """

    bands: tuple[int, ...]
    value_range: dict[str, tuple[float, float]]
    gsd_m: float | None
    gsd_range_m: tuple[float, float] | None
    window_px: int
    windows: int


def choose_view(source: SceneSet, others: Sequence[SceneSet], bands: tuple[int, ...]) -> View:
    """The view of the source, which the unseen domains share.

    Raises:
        ConfigError: If images hold no values to scale.
    """
    known = gsd_range(source.looks)
    crooked = any(_crooked(look) for look in source.looks)
    gsd_m = None if known is None else float(f'{np.sqrt(known[0] * known[1]):.4g}')
    several = known is not None and (known[1] > known[0] * _ONE_GSD or crooked)
    factors = [
        look.gsd_m / gsd_m if several and gsd_m and look.gsd_m else 1.0 for look in source.looks
    ]
    sides = [look.side_px * factor for look, factor in zip(source.looks, factors, strict=True)]
    side = int(min(float(np.median(sides)), _LARGEST_WINDOW_PX))
    window_px = max(side // _STRIDE_PX * _STRIDE_PX, _STRIDE_PX)
    windows = sum(
        max(look.raster.height * f / window_px, 1) * max(look.raster.width * f / window_px, 1)
        for look, f in zip(source.looks, factors, strict=True)
    )
    ranges = {}
    for dtype in sorted({look.raster.dtype for found in (source, *others) for look in found.looks}):
        chosen = _value_range([k for k in source.looks if k.raster.dtype == dtype], dtype)
        if chosen is None and dtype not in {k.raster.dtype for k in source.looks}:
            looks = [k for found in others for k in found.looks if k.raster.dtype == dtype]
            chosen = _value_range(looks, dtype)
        if chosen is not None:
            ranges[dtype] = chosen
    return View(bands, ranges, gsd_m, known, window_px, int(windows))


def gsd_range(looks: Sequence[Look]) -> tuple[float, float] | None:
    """Finest and coarsest pixel size in metres; None if one of them is unknown."""
    sizes = [look.gsd_m for look in looks]
    known = [size for size in sizes if size is not None]
    return (min(known), max(known)) if known and len(known) == len(sizes) else None


def percentiles(looks: Sequence[Look]) -> tuple[float, ...] | None:
    """Minimum, 0.5th, 50th and 99.5th percentile, and maximum of the sampled values."""
    values = [look.sample for look in looks if look.sample.size]
    if not values:
        return None
    every = np.concatenate(values).astype(np.float64)
    every = every[np.isfinite(every)]
    if not every.size:
        return None
    return tuple(np.percentile(every, (0, _TAILS[0], 50, _TAILS[1], 100)).tolist())


def _value_range(looks: Sequence[Look], dtype: str) -> tuple[float, float] | None:
    """Values that become 0 and 1; None for the range of bytes."""
    if dtype == 'uint8' or not looks:
        return None
    found = percentiles(looks)
    if found is None:
        raise ConfigError(
            f'{looks[0].raster.path}: the images have no data in their middle: expected values'
        )
    least, low, _, high, most = found
    if np.dtype(dtype).kind == 'f' and least >= 0 and 0.5 < most <= 1:
        # written down, because a value of 1.3 outside the samples would stop training otherwise
        return 0.0, 1.0
    if low >= 0 and low < high / 10:
        low = 0.0
    low, high = float(f'{low:.3g}'), float(f'{high:.3g}')
    if not low < high:
        raise ConfigError(
            f'{looks[0].raster.path}: the images hold the value {low:g} nearly everywhere: '
            'expected a range of values'
        )
    return low, high


def _crooked(look: Look) -> bool:
    """Whether pixels are clearly not square on the ground, such as those in degrees."""
    sides = look.raster.gsd_m()
    return sides is not None and not 1 / _ONE_GSD < sides[0] / sides[1] < _ONE_GSD
