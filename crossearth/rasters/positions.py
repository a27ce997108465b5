"""Positions of the pixels of one grid in another, the same for every window that contains them.

Exact positions take a projection per pixel. Here they are exact at the corners of cells, which lie
at multiples of a size counted from the grid's origin. Within a cell they are interpolated if the
error is less than 0.01 pixel; other cells are split, down to single pixels if necessary. A position
thus depends only on its pixel, and not on the window that asks for it.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from crossearth.geometry import Window

__all__ = ['FRACTIONS', 'Places', 'Positions', 'places_of', 'positions_of']

FRACTIONS = 256
"""Positions are rounded to this fraction of a source pixel, so that arithmetic on them is exact."""

_CELLS_PX = (32, 8, 1)  # sides of cells; those whose error is too large are split
_TOLERANCE_PX = 0.01  # of a source pixel, and of a pixel of the grid
_WIDEST_PX = 4096  # near a pole, where a pixel may cover half of the source
_NOWHERE = -(1 << 30)  # in fractions of a pixel: outside of every raster

type Points = tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]
type PixelMap = Callable[[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']], Points]


@dataclass(frozen=True)
class Positions:
    """Positions of a window's pixels in a source raster; lengths in `FRACTIONS` of its pixels.

    Args:
        cols: Column of each pixel centre, counted from the source's left edge.
        rows: Row of each pixel centre, counted from its upper edge.
        widths: Columns of the source that a pixel covers, at least one; None if that is one
            everywhere, because no pixel is wider than one of the source.
        heights: Rows that it covers, likewise.
    """

    cols: Int32[np.ndarray, 'h w']
    rows: Int32[np.ndarray, 'h w']
    widths: Int32[np.ndarray, 'h w'] | None
    heights: Int32[np.ndarray, 'h w'] | None

    @functools.cached_property
    def extent(self) -> tuple[int, int, int, int]:
        """Smallest row, largest row, smallest column, largest column of the pixel centres."""
        rows, cols = self.rows, self.cols
        return int(rows.min()), int(rows.max()), int(cols.min()), int(cols.max())

    def inside(self, height: int, width: int) -> Bool[np.ndarray, 'h w'] | None:
        """Which pixel centres lie in a source of that size; None if all do."""
        top, low, left, far = self.extent
        right, bottom = width * FRACTIONS, height * FRACTIONS
        if top >= 0 and low < bottom and left >= 0 and far < right:
            return None
        within: Bool[np.ndarray, 'h w'] = (
            (self.cols >= 0) & (self.cols < right) & (self.rows >= 0) & (self.rows < bottom)
        )
        return within

    @property
    def has_place(self) -> Bool[np.ndarray, 'h w']:
        """Which pixels have coordinates in the source at all, inside or outside of it."""
        placed: Bool[np.ndarray, 'h w'] = (self.cols != _NOWHERE) & (self.rows != _NOWHERE)
        return placed


@dataclass(frozen=True)
class Places:
    """Positions of a window's pixels along one axis of a source, in `FRACTIONS` of its pixels.

    Args:
        centres: Centre of each pixel, counted from the source's first edge.
        side: Pixels of the source that one covers, at least one.
    """

    centres: Int32[np.ndarray, ' n']
    side: int

    def counted_from(self, first: int) -> 'Places':
        """The same places, counted from a pixel of the source."""
        return Places(self.centres - np.int32(first * FRACTIONS), self.side)

    def inside(self, length: int) -> Bool[np.ndarray, ' n']:
        """Which centres lie in a source of that length."""
        within: Bool[np.ndarray, ' n'] = (self.centres >= 0) & (self.centres < length * FRACTIONS)
        return within

    def nearest(self, length: int) -> Int32[np.ndarray, ' n']:
        """The pixels of a source of that length that contain the centres, or its nearest edge."""
        found: Int32[np.ndarray, ' n'] = np.clip(self.centres // FRACTIONS, 0, length - 1)
        return found

    def needed(self, length: int) -> tuple[int, int]:
        """First and end (exclusive) of the source's pixels that are touched; equal for none."""
        inside = self.centres[self.inside(length)]
        if not len(inside):
            return 0, 0
        half = self.side // 2 + 1
        low, high = int(inside[0]) - half, int(inside[-1]) + half
        return max(low // FRACTIONS, 0), min(high // FRACTIONS + 1, length)


def places_of(first: int, count: int, step_px: float) -> Places:
    """Positions of larger or smaller pixels along an axis of a source.

    Args:
        first: First of the pixels, counted from the same edge as those of the source.
        count: Number of pixels.
        step_px: Pixels of the source from one pixel to the next.
    """
    centres = np.rint((np.arange(first, first + count) + 0.5) * (step_px * FRACTIONS))
    return Places(centres.astype(np.int32), max(round(step_px * FRACTIONS), FRACTIONS))


def positions_of(pixel_map: PixelMap, window: Window, *, height: int, width: int) -> Positions:
    """The positions of a window's pixels.

    Args:
        pixel_map: Columns and rows of the grid → columns and rows of the source, both in pixels
            from the upper-left corner; not finite where there is no counterpart.
        window: Pixels of the grid.
        height: Rows of the source.
        width: Columns of the source.
    """
    size = _CELLS_PX[0]
    top, left = window.row // size, window.col // size
    count = -(-window.stop[0] // size) - top, -(-window.stop[1] // size) - left
    first = np.array([[top, left]])
    cells = _cells(pixel_map, first, size=size, count=count, source_hw=(height, width))
    plane = _Planes(cells, size)
    failed = np.argwhere(cells.failed[0])
    if len(failed):
        plane.refine(pixel_map, failed, first[0], source_hw=(height, width))
    row, col = window.row - top * size, window.col - left * size
    return plane.positions(slice(row, row + window.height), slice(col, col + window.width))


class _Cells(NamedTuple):
    """Cells of m blocks: positions of their corners, and whether to interpolate between them."""

    cols: Float64[np.ndarray, 'm r c 2 2']
    rows: Float64[np.ndarray, 'm r c 2 2']
    failed: Bool[np.ndarray, 'm r c']


def _cells(
    pixel_map: PixelMap,
    first: Int64[np.ndarray, 'm 2'],
    *,
    size: int,
    count: tuple[int, int],
    source_hw: tuple[int, int],
) -> _Cells:
    """The cells of blocks of `count` cells, the first of which is `first`, in cells."""
    # One more corner on each side shows how straight the lines through a cell are.
    rows = (first[:, :1] + np.arange(-1, count[0] + 2)) * size
    cols = (first[:, 1:] + np.arange(-1, count[1] + 2)) * size
    shape = (len(first), count[0] + 3, count[1] + 3)
    at_rows = np.broadcast_to(rows[:, :, None], shape).astype(np.float64)
    at_cols = np.broadcast_to(cols[:, None, :], shape).astype(np.float64)
    found = pixel_map(at_cols.ravel(), at_rows.ravel())
    knots = [np.asarray(plane, np.float64).reshape(shape) for plane in found]
    known = np.isfinite(knots[0]) & np.isfinite(knots[1])
    knots = [np.where(known, plane, np.inf) for plane in knots]
    corners = [_corners(plane[:, 1:-1, 1:-1]) for plane in knots]
    with np.errstate(invalid='ignore'):
        steps = np.maximum(*(np.abs(corner - corner[..., ::-1, ::-1]) for corner in corners))
        step = steps.max(axis=(-2, -1))  # source pixels from corner to corner of a cell
        sag = np.maximum(*(_sag(plane) for plane in knots))
        # the tolerance holds in pixels of the source and in pixels of the grid
        straight = sag <= _TOLERANCE_PX * np.minimum(1.0, step / size)
        # nothing is read for cells far outside the source, so their positions need not be exact
        far = np.zeros(straight.shape, bool)
        for corner, length in zip(corners, (source_hw[1], source_hw[0]), strict=True):
            far |= corner.min(axis=(-2, -1)) > length + step
            far |= corner.max(axis=(-2, -1)) < -step
    nowhere = ~_corners(known[:, 1:-1, 1:-1]).any(axis=(-2, -1))
    failed = ~(straight | (far & np.isfinite(step)) | nowhere)
    return _Cells(corners[0], corners[1], failed)


def _corners[T: np.generic](knots: np.ndarray[Any, np.dtype[T]]) -> np.ndarray[Any, np.dtype[T]]:
    """The four corners of each cell, (…, r, c, 2, 2)."""
    upper = np.stack([knots[..., :-1, :-1], knots[..., :-1, 1:]], axis=-1)
    lower = np.stack([knots[..., 1:, :-1], knots[..., 1:, 1:]], axis=-1)
    return np.stack([upper, lower], axis=-2)


def _sag(knots: Float64[np.ndarray, 'm a b']) -> Float64[np.ndarray, 'm r c']:
    """Upper bound of how far a cell's middle is from its interpolation: an eighth of the change."""
    # linear interpolation is off by at most h² |f''| / 8, and a second difference is h² f''
    down = np.abs(np.diff(knots, n=2, axis=1))[:, :, 1:-1]
    across = np.abs(np.diff(knots, n=2, axis=2))[:, 1:-1]
    worst: Float64[np.ndarray, 'm r c'] = (
        np.maximum(
            _corners(down).max(axis=(-2, -1)),
            _corners(across).max(axis=(-2, -1)),
        )
        / 8
    )
    return worst


class _Planes:
    """Positions of a block of whole cells, computed level by level."""

    def __init__(self, cells: _Cells, size: int) -> None:
        self._size = size
        self._cols = _interpolated(cells.cols[0], size)
        self._rows = _interpolated(cells.rows[0], size)
        self._cell_widths = _side(cells.cols, size)[0]
        self._cell_heights = _side(cells.rows, size)[0]
        self._widths: Int32[np.ndarray, 'h w'] | None = None
        self._heights: Int32[np.ndarray, 'h w'] | None = None

    def refine(
        self,
        pixel_map: PixelMap,
        failed: Int64[np.ndarray, 'm 2'],
        first: Int64[np.ndarray, ' 2'],
        *,
        source_hw: tuple[int, int],
    ) -> None:
        """Split cells, counted within the block, again and again, down to pixels."""
        self._widths, self._heights = (
            np.repeat(np.repeat(plane, self._size, axis=0), self._size, axis=1)
            for plane in (self._cell_widths, self._cell_heights)
        )
        large = self._size
        for size in _CELLS_PX[1:]:
            parts = large // size
            origin = (failed + first * (self._size // large)) * parts
            cells = _cells(pixel_map, origin, size=size, count=(parts, parts), source_hw=source_hw)
            for plane, corners in ((self._cols, cells.cols), (self._rows, cells.rows)):
                if size > 1:
                    values = np.stack([_interpolated(block, size) for block in corners])
                else:
                    values = _exact(pixel_map, origin, parts)[plane is self._rows]
                _put(plane, failed, values)
            for plane, corners in ((self._widths, cells.cols), (self._heights, cells.rows)):
                sides = _side(corners, size)
                _put(plane, failed, np.repeat(np.repeat(sides, size, axis=1), size, axis=2))
            block, row, col = np.nonzero(cells.failed)
            failed = failed[block] * parts + np.stack([row, col], axis=1)
            large = size
            if not len(failed):
                break

    def positions(self, rows: slice, cols: slice) -> Positions:
        """Positions of a part of the block."""
        sides: list[Int32[np.ndarray, 'h w'] | None] = []
        for plane, cells in (
            (self._widths, self._cell_widths),
            (self._heights, self._cell_heights),
        ):
            if plane is not None:
                part = plane[rows, cols]
                sides.append(part if part.max() > FRACTIONS else None)
            elif cells.max() > FRACTIONS:
                whole = np.repeat(np.repeat(cells, self._size, axis=0), self._size, axis=1)
                sides.append(whole[rows, cols])
            else:
                sides.append(None)
        return Positions(self._cols[rows, cols], self._rows[rows, cols], *sides)


def _interpolated(corners: Float64[np.ndarray, 'r c 2 2'], size: int) -> Int32[np.ndarray, 'h w']:
    """Positions of the pixel centres of cells."""
    height, width = corners.shape[:2]
    at = (np.arange(size) + 0.5) / size
    scaled = corners * FRACTIONS
    with np.errstate(invalid='ignore'):
        left, right = (
            scaled[:, None, :, 0, side]
            + (scaled[:, None, :, 1, side] - scaled[:, None, :, 0, side]) * at[None, :, None]
            for side in (0, 1)
        )
        values = (right - left)[..., None] * at
        values += left[..., None]
    return _whole(values).reshape(height * size, width * size)


def _exact(
    pixel_map: PixelMap, origin: Int64[np.ndarray, 'm 2'], side: int
) -> tuple[Int32[np.ndarray, 'm h w'], Int32[np.ndarray, 'm h w']]:
    """Positions of the pixel centres of blocks, each through the projection."""
    shape = (len(origin), side, side)
    centres = np.arange(side) + 0.5
    rows = np.broadcast_to(origin[:, :1, None] + centres[:, None], shape)
    cols = np.broadcast_to(origin[:, 1:, None] + centres[None, :], shape)
    found = pixel_map(cols.ravel(), rows.ravel())
    at_cols, at_rows = (
        _whole(np.asarray(plane, np.float64).reshape(shape) * FRACTIONS) for plane in found
    )
    return at_cols, at_rows


def _whole(values: Float64[np.ndarray, '...']) -> Int32[np.ndarray, '...']:
    np.rint(values, out=values)
    if not (values.min() > _NOWHERE and values.max() < -_NOWHERE):  # not finite, or far off
        values = np.nan_to_num(values, nan=_NOWHERE, posinf=_NOWHERE, neginf=_NOWHERE)
        values = np.clip(values, _NOWHERE, -_NOWHERE)
    whole: Int32[np.ndarray, ...] = values.astype(np.int32)
    return whole


def _side(corners: Float64[np.ndarray, 'm r c 2 2'], size: int) -> Int32[np.ndarray, 'm r c']:
    """How much of the source a pixel of each cell covers along one axis, at least one pixel.

    A pixel that is rotated against the source covers as much as if it were not.
    """
    with np.errstate(invalid='ignore'):
        down = (corners[..., 1, :] - corners[..., 0, :]).mean(axis=-1)
        across = (corners[..., :, 1] - corners[..., :, 0]).mean(axis=-1)
        side = np.hypot(down, across) * (FRACTIONS / size)
    side = np.nan_to_num(side, nan=FRACTIONS, posinf=FRACTIONS)
    sides: Int32[np.ndarray, 'm r c'] = np.rint(
        np.clip(side, FRACTIONS, _WIDEST_PX * FRACTIONS)
    ).astype(np.int32)
    return sides


def _put(
    plane: Int32[np.ndarray, 'h w'],
    cells: Int64[np.ndarray, 'm 2'],
    values: Int32[np.ndarray, 'm s s'],
) -> None:
    """Write blocks into a plane, in place."""
    side = values.shape[1]
    height, width = plane.shape
    view = plane.reshape(height // side, side, width // side, side)
    # the slice between the two index arrays makes NumPy put their dimension first: (m, s, s)
    view[cells[:, 0], :, cells[:, 1], :] = values
