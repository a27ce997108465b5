"""Distinguishes alpha bands that mark no-data from infrared bands that files call alpha.

GDAL takes the fourth band of a plain 8-bit file for an alpha band, whatever it holds. A true alpha
band holds 0 and one other value nearly everywhere, with some values in between where borders are
smoothed. A measured band holds many values.
"""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from crossearth.errors import ConfigError
from crossearth.rasters.opening import damaged, open_raster
from crossearth.spelling import check_choice

__all__ = ['Alpha', 'hides_pixels']

Alpha = Literal['auto', 'mask', 'image']
"""What an alpha band is: `'mask'` marks where there is data, `'image'` is a band like others."""

_BLOCKS = 16  # blocks to look at, spread over the file
_BLOCK_PX = 1024
_MOST_BLOCKS = 256
_ALIKE_IN_MASKS = 0.9  # of the values above 0, the rest are smoothed borders
_ALIKE_IN_IMAGES = 0.5  # at most, even in a band with much saturation


def hides_pixels(path: str | os.PathLike[str], band: int, alpha: Alpha) -> bool:
    """Whether a band that the file calls alpha marks where there is data.

    `'auto'` looks at the values of up to 16 blocks of the file, and at more while all of them are
    0.

    Args:
        path: Path of the raster.
        band: 1-based number of the band.
        alpha: What the band is, or `'auto'`.

    Raises:
        ConfigError: If `alpha` is unknown, or `'auto'` cannot decide by the values.
        SceneError: If the file cannot be read.
    """
    check_choice('alpha', alpha, get_args(Alpha))
    if alpha != 'auto':
        return alpha == 'mask'
    with open_raster(path) as source:
        try:
            alike, others_hold_data = _look(source, band)
        except RasterioError as error:
            raise damaged(os.fspath(path), f'band {band}', error) from error
    if alike is None:
        if not others_hold_data:
            return True
        seen = 'all 0 in the blocks that were checked, while other bands hold data'
    elif alike >= _ALIKE_IN_MASKS:
        return True
    elif alike <= _ALIKE_IN_IMAGES:
        return False
    else:
        seen = f'{100 * alike:.0f} % of those above 0 are the same'
    raise ConfigError(
        f'{os.fspath(path)}: the file calls band {band} alpha, but its values do not show whether '
        f"it is ({seen}): pass alpha='mask' (--alpha mask) if it marks where there is data, or "
        "alpha='image' (--alpha image) if it is measured, such as a near-infrared band"
    )


def _look(source: DatasetReader, band: int) -> tuple[float | None, bool]:
    """Share of the commonest of the values above 0, if any, and whether other bands hold data."""
    counts: Counter[float] = Counter()
    others_hold_data = False
    others = [i for i in source.indexes if i != band]
    for number, window in enumerate(_spread_blocks(source, band)):
        if number >= (_BLOCKS if counts else _MOST_BLOCKS):
            break
        values = source.read(band, window=window)
        found, times = np.unique(values[values > 0], return_counts=True)
        counts.update(dict(zip(found.tolist(), times.tolist(), strict=True)))
        if not counts and not others_hold_data:
            others_hold_data = bool(source.read(others, window=window).any())
    if not counts:
        return None, others_hold_data
    return max(counts.values()) / counts.total(), others_hold_data


def _spread_blocks(source: DatasetReader, band: int) -> Iterator[RasterWindow]:
    """Blocks of a raster in an order that soon reaches all of its parts."""
    height, width = source.block_shapes[band - 1]
    # blocks of files stored in strips may be a single row
    height, width = max(min(height, _BLOCK_PX), 16), min(width, _BLOCK_PX)
    across = -(-source.width // width)
    count = -(-source.height // height) * across
    step = max(int(count * 0.618), 1)  # the golden ratio spreads best
    # without a common divisor, steps around the file meet each block once
    while np.gcd(step, count) != 1:
        step += 1
    for i in range(count):
        row, col = divmod(i * step % count, across)
        yield RasterWindow(
            col * width,
            row * height,
            min(width, source.width - col * width),
            min(height, source.height - row * height),
        )
