"""Places the windows of a scene, weights them, and cuts a scene into units.

This module uses only integers and small float64 vectors. It needs no raster library and no device.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float

from crossearth.errors import ConfigError
from crossearth.geometry import axis_starts

__all__ = ['Blend', 'Grid', 'Unit', 'axis_weights', 'by_rows', 'column_units', 'window_profile']

type Blend = Literal['hann', 'gaussian', 'mean', 'crop']


@dataclass(frozen=True, slots=True)
class Unit:
    """A rectangle of the scene that is computed in one go. Units do not overlap.

    Windows are fixed to the scene, not to the unit. A unit runs every window that touches it, so
    the windows along its border also run in the neighbouring unit and give the same pixels.
    """

    row0: int
    row1: int
    col0: int
    col1: int

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.row1 - self.row0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.col1 - self.col0


@dataclass(frozen=True, slots=True)
class Grid:
    """The windows that cover a scene, with weights that add up to one at every pixel.

    Windows start every `stride_px` from the scene's first pixel, and the last one along each axis
    is moved back to end at the border. Along an axis where the scene is shorter than a window,
    windows have the length of the scene.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        tile_px: Side of a window.
        stride_px: Pixels from one window to the next, from 1 to `tile_px`.
        blend: Shape of the weights, see `window_profile`.

    Raises:
        ConfigError: If a size is below 1, or the stride would leave gaps.

    Example:
        >>> grid = Grid(600, 1000, tile_px=512, stride_px=341)
        >>> grid.row_starts, grid.col_starts, len(grid)
        ((0, 88), (0, 341, 488), 6)
        >>> grid.touching(Unit(0, 600, 0, 256))
        (range(0, 2), range(0, 1))
    """

    height: int
    width: int
    tile_px: int
    stride_px: int
    blend: Blend = 'hann'
    row_starts: tuple[int, ...] = field(init=False)
    col_starts: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        for name, length in (('row_starts', self.height), ('col_starts', self.width)):
            starts = tuple(axis_starts(length, self.tile_px, self.stride_px))
            object.__setattr__(self, name, starts)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.row_starts) * len(self.col_starts)

    @property
    def tile_hw(self) -> tuple[int, int]:
        """Height and width of every window."""
        return min(self.tile_px, self.height), min(self.tile_px, self.width)

    def touching(self, unit: Unit) -> tuple[range, range]:
        """Indices of the window rows and window columns that overlap a unit."""
        tile_height, tile_width = self.tile_hw
        return (
            _touching(self.row_starts, tile_height, unit.row0, unit.row1),
            _touching(self.col_starts, tile_width, unit.col0, unit.col1),
        )

    def row_weights(self) -> Float[np.ndarray, 'n tile']:
        """Weights along the rows, one vector per window row."""
        return axis_weights(self.row_starts, self.tile_hw[0], blend=self.blend)

    def col_weights(self) -> Float[np.ndarray, 'n tile']:
        """Weights along the columns, one vector per window column."""
        return axis_weights(self.col_starts, self.tile_hw[1], blend=self.blend)


def _touching(starts: tuple[int, ...], tile: int, first: int, stop: int) -> range:
    return range(bisect_right(starts, first - tile), bisect_left(starts, stop))


def window_profile(tile_px: int, *, blend: Blend) -> Float[np.ndarray, ' tile']:
    """Weight of a window along one axis, before overlaps are normalised.

    Args:
        tile_px: Pixels of the window along the axis.
        blend: `'hann'`, a raised cosine over the whole window; `'gaussian'`, with a standard
            deviation of an eighth of the window; `'mean'`, the same everywhere; `'crop'`, falling
            with the distance from the centre, so that the nearest window wins.

    Returns:
        Positive weights, symmetric, in float64.

    Source:
        The Gaussian is that of nnU-Net (Isensee et al. 2021).

    Example:
        >>> window_profile(4, blend='hann').round(3)
        array([0.146, 0.854, 0.854, 0.146])
    """
    centred = (np.arange(tile_px) + 0.5) / tile_px - 0.5
    match blend:
        case 'hann':
            profile = np.cos(np.pi * centred) ** 2
        case 'gaussian':
            profile = np.exp(-0.5 * (centred / 0.125) ** 2)
        case 'mean':
            profile = np.ones(tile_px)
        case 'crop':
            profile = 1 - np.abs(centred)
        case _:
            raise ConfigError(f"blend is {blend!r}: choose 'hann', 'gaussian', 'mean' or 'crop'")
    return np.asarray((profile + profile[::-1]) / 2)  # removes rounding asymmetry of the cosines


def axis_weights(
    starts: tuple[int, ...], tile_px: int, *, blend: Blend
) -> Float[np.ndarray, 'n tile']:
    """Weights of the windows along one axis, which add up to one at every pixel.

    The weight of a window at a pixel is the product of its row weight and its column weight. These
    products add up to one as well. Stitching therefore needs neither a map of counts nor a
    division, and borders and shifted last windows are exact.

    Args:
        starts: First pixels of the windows, increasing, without gaps.
        tile_px: Pixels of a window along the axis.
        blend: Shape, see `window_profile`. `'crop'` gives each pixel to the window whose centre
            is nearest, the first of two at the same distance.

    Returns:
        Weights in [0, 1] as float64, one row per window.

    Example:
        >>> axis_weights((0, 2), 4, blend='mean').tolist()
        [[1.0, 1.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
        >>> axis_weights((0, 1), 4, blend='crop').tolist()
        [[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
    """
    profile = window_profile(tile_px, blend=blend)
    length = starts[-1] + tile_px
    reach = np.zeros(length)
    if blend == 'crop':
        owner = np.zeros(length, np.int64)
        for index, start in enumerate(starts):
            nearer = profile > reach[start : start + tile_px]
            reach[start : start + tile_px][nearer] = profile[nearer]
            owner[start : start + tile_px][nearer] = index
        return np.stack(
            [
                (owner[start : start + tile_px] == index).astype(np.float64)
                for index, start in enumerate(starts)
            ]
        )
    for start in starts:
        reach[start : start + tile_px] += profile
    # no division by zero: profiles are positive, and windows leave no gaps
    return np.stack([profile / reach[start : start + tile_px] for start in starts])


def column_units(
    grid: Grid, *, max_width_px: int, block_px: int, height_px: int | None = None
) -> list[Unit]:
    """Cut a scene into as few units of bounded width as possible.

    Borders lie on multiples of `block_px`, so that output blocks are written whole. Among possible
    borders, those are preferred where only one column of windows has to run twice.

    Args:
        grid: Windows of the scene.
        max_width_px: Maximum width of a unit; units are at least one block wide.
        block_px: Side of an output block.
        height_px: Rows of a unit, a multiple of `block_px`; None for the whole height.

    Returns:
        Units, row by row, from left to right.

    Example:
        >>> grid = Grid(512, 4096, tile_px=512, stride_px=341)
        >>> [(u.col0, u.col1) for u in column_units(grid, max_width_px=1600, block_px=512)]
        [(0, 1536), (1536, 3072), (3072, 4096)]
    """
    tile_width = grid.tile_hw[1]
    width_px = max(max_width_px // block_px, 1) * block_px
    borders = [0]
    while grid.width - borders[-1] > width_px:
        limit = borders[-1] + width_px
        leftmost = max(borders[-1], limit - max(width_px // 3, block_px))
        candidates = range(limit, leftmost, -block_px)
        # among equally cheap borders take the rightmost, to get fewer units
        twice = [_crossing(grid.col_starts, tile_width, border) for border in candidates]
        borders.append(candidates[twice.index(min(twice))])
    borders.append(grid.width)
    step = grid.height if height_px is None else height_px
    return [
        Unit(row, min(row + step, grid.height), col0, col1)
        for row in range(0, grid.height, step)
        for col0, col1 in pairwise(borders)
    ]


def by_rows(units: Sequence[Unit]) -> list[list[int]]:
    """Indices of the units in each row.

    Example:
        >>> grid = Grid(1024, 1024, tile_px=512, stride_px=341)
        >>> by_rows(column_units(grid, max_width_px=512, block_px=512, height_px=512))
        [[0, 1], [2, 3]]
    """
    return [
        [index for index, _ in row]
        for _, row in groupby(enumerate(units), key=lambda item: item[1].row0)
    ]


def _crossing(starts: tuple[int, ...], tile: int, border: int) -> int:
    """How many windows along an axis lie on both sides of a border."""
    return bisect_left(starts, border) - bisect_right(starts, border - tile)
