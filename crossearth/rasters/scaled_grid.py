"""The grid of larger or smaller pixels along a raster's own axes."""

import dataclasses
import math

from affine import Affine

from crossearth.errors import ConfigError
from crossearth.geometry import scaled_start
from crossearth.rasters.raster import Raster

__all__ = ['FINEST', 'scaled']

FINEST = 50
"""Pixels that are more than this many times finer than the file's show nothing new."""


def scaled(raster: Raster, steps_px: float | int | tuple[float | int, float | int]) -> Raster:
    """A raster whose pixels are those of its file, made larger or smaller along its own axes.

    Both grids begin at the file's upper-left corner. A pixel at the right or lower border exists if
    its centre lies in the file. CRS and transform, if there are any, keep the pixels in place;
    without a CRS, the transform counts in pixels of the file.

    Args:
        raster: On its file's own grid.
        steps_px: Rows and columns of the file from one pixel to the next, or one number for both.

    Raises:
        ConfigError: If a step is not positive or far too small, or no pixel would be left.

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
    down, across = steps_px if isinstance(steps_px, tuple) else (steps_px, steps_px)
    if not all(math.isfinite(step) and step >= 1 / FINEST for step in (down, across)):
        raise ConfigError(
            f'{raster.path}: pixels of {down:g} by {across:g} of its own: expected at least '
            f'1/{FINEST}, because finer ones show nothing new'
        )
    height, width = int(scaled_start(raster.height, down)), int(scaled_start(raster.width, across))
    if min(height, width) < 1:
        raise ConfigError(
            f'{raster.path}: has {raster.height} x {raster.width} pixels. One of those to read is '
            f'{down:g} by {across:g} of them, more than twice the image: choose finer ones'
        )
    # with two different steps, one number no longer states the size of a pixel
    stated_m = raster.pixel_m if down == across else None
    return dataclasses.replace(
        raster,
        transform=raster.transform @ Affine.scale(across, down),
        height=height,
        width=width,
        native=raster,
        steps_px=(float(down), float(across)),
        pixel_m=None if stated_m is None else stated_m * down,
    )
