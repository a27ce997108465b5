"""The grid of larger or smaller pixels that a raster is seen on along its own axes."""

import dataclasses
import math

from affine import Affine

from crossearth.errors import ConfigError
from crossearth.geometry import scaled_start
from crossearth.rasters.raster import Raster

__all__ = ['scaled']

_FINEST = 50


def scaled(raster: Raster, steps_px: tuple[float, float]) -> Raster:
    """A raster whose pixels are those of its file, made larger or smaller along its own axes.

    Both grids begin at the file's upper-left corner. A pixel at the right or lower border is there
    if its centre lies in the file. CRS and transform, if there are any, lie in the same place.

    Args:
        raster: On its file's own grid.
        steps_px: Rows and columns of the file from one pixel to the next.

    Raises:
        ConfigError: If a step is not positive or far too small, or no pixel would be left.

    Example:
        >>> from crossearth.rasters import Georeference
        >>> chip = Raster(
        ...     'a.png', 10, 15, None, Affine.identity(), (1,), ('uint8',), 'uint8', (None,), (),
        ...     None, None, Georeference(),
        ... )
        >>> wide = scaled(chip, (2, 0.5))
        >>> wide.height, wide.width
        (5, 30)
    """
    assert raster.native is None
    down, across = steps_px
    if not all(math.isfinite(step) and step >= 1 / _FINEST for step in steps_px):
        raise ConfigError(
            f'{raster.path}: pixels of {down:g} by {across:g} of its own: expected at least '
            f'1/{_FINEST}, for finer ones show nothing new'
        )
    height, width = int(scaled_start(raster.height, down)), int(scaled_start(raster.width, across))
    if min(height, width) < 1:
        raise ConfigError(
            f'{raster.path}: has {raster.height} x {raster.width} pixels, less than half of one '
            f'that is {down:g} by {across:g} times as large: choose finer pixels'
        )
    return dataclasses.replace(
        raster,
        transform=raster.transform @ Affine.scale(across, down),
        height=height,
        width=width,
        native=raster,
        steps_px=(float(down), float(across)),
    )
