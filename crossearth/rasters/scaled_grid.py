"""The grid of larger or smaller pixels that a raster is seen on without any georeference."""

import dataclasses
import math

from affine import Affine

from crossearth.errors import ConfigError
from crossearth.rasters.raster import Raster

__all__ = ['FINEST', 'scaled']

FINEST = 50
"""Pixels that are more often finer than those of the file are refused: they show nothing new."""


def scaled(raster: Raster, step_px: float | int) -> Raster:
    """A raster whose pixels are those of its file, made larger or smaller along its own axes.

    Both grids begin at the file's upper-left corner. A pixel at the right or lower border is
    there if its centre lies in the file. CRS and transform, if there are any, lie in the same
    place; without a CRS, the transform counts in pixels of the file.

    Args:
        raster: On its file's own grid.
        step_px: Pixels of the file from one pixel to the next.

    Raises:
        ConfigError: If `step_px` is not positive or far too small, or no pixel would be left.

    Example:
        >>> from crossearth.rasters import Georeference
        >>> chip = Raster(
        ...     'a.png', 10, 15, None, Affine.identity(), (1,), ('uint8',), 'uint8', (None,), (),
        ...     None, None, Georeference(), pixel_m=0.2,
        ... )
        >>> half = scaled(chip, 2)
        >>> half.height, half.width, half.gsd_m()
        (5, 7, (0.4, 0.4))
    """
    assert raster.native is None
    if not (math.isfinite(step_px) and step_px >= 1 / FINEST):
        raise ConfigError(
            f'{raster.path}: pixels of {step_px:g} of its own: expected at least 1/{FINEST}, for '
            'finer ones show nothing new'
        )
    height, width = (math.ceil(side / step_px - 0.5) for side in (raster.height, raster.width))
    if min(height, width) < 1:
        raise ConfigError(
            f'{raster.path}: has {raster.height} x {raster.width} pixels, less than half of one '
            f'that is {step_px:g} times as large: choose finer pixels'
        )
    return dataclasses.replace(
        raster,
        transform=raster.transform @ Affine.scale(step_px),
        height=height,
        width=width,
        native=raster,
        step_px=float(step_px),
        pixel_m=None if raster.pixel_m is None else raster.pixel_m * step_px,
    )
