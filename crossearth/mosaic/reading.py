"""Reads maps on the grid of a mosaic.

A pixel of the mosaic takes the class of the map pixel that contains its centre, because class ids
must not be interpolated. Probabilities are interpolated between the pixel centres of the map.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from jaxtyping import Bool, Float32, Float64, UInt16
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader

from crossearth.geometry import Window
from crossearth.inference.interpolation import between_centres
from crossearth.mosaic.grid import MosaicGrid, Placed
from crossearth.rasters import GroundToPixels
from crossearth.rasters.georeference import apply_affine
from crossearth.rasters.opening import damaged
from crossearth.rasters.positions import FRACTIONS, positions_of

__all__ = ['MapReader', 'Seen']

_MOST_OPEN = 96  # open files; opening one again takes only milliseconds


@dataclass(frozen=True, slots=True)
class Seen:
    """A map in a window of the mosaic.

    Args:
        ids: Class ids.
        known: True where the map has data; the other ids mean nothing.
        nearness: Closeness to the middle of the map: 1 in its middle, 0 at its edges.
        confidence: From 0 to 1, and 0 where unknown; None unless requested.
        probabilities: One per class, from 0 to 1; None unless requested.
    """

    ids: UInt16[np.ndarray, 'h w']
    known: Bool[np.ndarray, 'h w']
    nearness: Float32[np.ndarray, 'h w']
    confidence: Float32[np.ndarray, 'h w'] | None = None
    probabilities: Float32[np.ndarray, 'k h w'] | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the pixels of a window lie in a map. Pixels outside get the map's nearest pixel.

    Args:
        inside: True where the centre lies in the map.
        x: Columns, counted from the left edge of the map.
        y: Rows, counted from the upper edge of the map.
    """

    inside: Bool[np.ndarray, 'h w']
    x: Float64[np.ndarray, 'h w']
    y: Float64[np.ndarray, 'h w']


class MapReader:
    """Reads maps on the grid of a mosaic; a context manager.

    Args:
        grid: Grid of the mosaic.
        wants_confidence: Whether to read the confidence too.
        wants_probabilities: Whether to read the probabilities too.
    """

    def __init__(
        self, grid: MosaicGrid, *, wants_confidence: bool, wants_probabilities: bool
    ) -> None:
        self._grid = grid
        self._wants_confidence, self._wants_probabilities = wants_confidence, wants_probabilities
        self._open: OrderedDict[Path, DatasetReader] = OrderedDict()
        self._to_pixels: dict[Path, GroundToPixels] = {}

    def __enter__(self) -> 'MapReader':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def see(self, placed: Placed, window: Window) -> Seen | None:
        """Read a map in a window; None if it has no pixel there.

        Raises:
            SceneError: If its pixels cannot be read.
        """
        source = placed.source
        place = self._place(placed, window)
        if not place.inside.any():
            return None
        rows, cols = _range(place.y, source.height), _range(place.x, source.width)
        y, x = place.y - rows[0], place.x - cols[0]
        at = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
        ids, known = self._read_ids(placed, rows, cols)
        known_here = place.inside & known[at]
        nearness = _nearness(place.y, source.height) * _nearness(place.x, source.width)
        confidence = probabilities = None
        if self._wants_confidence:
            assert source.confidence is not None
            confidence = self._read_amounts(source.confidence, rows, cols)[0][0][at]
        if self._wants_probabilities:
            assert source.probabilities is not None
            values, has_data = self._read_amounts(source.probabilities, rows, cols)
            # on one grid, pixel centres coincide, and there is nothing to interpolate
            if placed.corner is not None:
                probabilities = values[:, *at]
            else:
                probabilities, weight = between_centres(values, has_data, x, y)
                np.divide(probabilities, weight, out=probabilities, where=weight > 0)
        return Seen(ids[at], known_here, nearness.astype(np.float32), confidence, probabilities)

    def _place(self, placed: Placed, window: Window) -> _Place:
        source = placed.source
        shape = window.height, window.width
        if placed.corner is not None:
            y = np.arange(window.row, window.stop[0]) - placed.corner[0] + 0.5
            x = np.arange(window.col, window.stop[1]) - placed.corner[1] + 0.5
            y, x = np.broadcast_to(y[:, None], shape), np.broadcast_to(x[None], shape)
        else:
            to_pixels = self._pixel_map(placed)
            transform = self._grid.transform
            positions = positions_of(
                lambda cols, rows: to_pixels(*apply_affine(transform, cols, rows)),
                window,
                height=source.height,
                width=source.width,
            )
            y, x = positions.rows / FRACTIONS, positions.cols / FRACTIONS
        inside = (y >= 0) & (y < source.height) & (x >= 0) & (x < source.width)
        if inside.any():  # outside pixels take the place of one that is read anyway
            first = np.unravel_index(int(inside.argmax()), shape)
            y, x = np.where(inside, y, y[first]), np.where(inside, x, x[first])
        return _Place(inside, x, y)

    def _pixel_map(self, placed: Placed) -> GroundToPixels:
        source = placed.source
        if source.path not in self._to_pixels:
            self._to_pixels[source.path] = GroundToPixels(
                source.georeference,
                self._grid.crs,
                height=source.height,
                width=source.width,
                name=str(source.path),
            )
        return self._to_pixels[source.path]

    def _read_ids(
        self, placed: Placed, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[UInt16[np.ndarray, 'r s'], Bool[np.ndarray, 'r s']]:
        source = placed.source
        ids = self._read(source.path, lambda one: one.read(1, window=(rows, cols)), rows)
        known = np.ones(ids.shape, bool) if source.nodata is None else ids != source.nodata
        if source.has_mask:
            known &= self._read(
                source.path, lambda one: one.read_masks(1, window=(rows, cols)) > 0, rows
            )
        return ids.astype(np.uint16), known

    def _read_amounts(
        self, path: Path, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[Float32[np.ndarray, 'k r s'], Bool[np.ndarray, 'r s']]:
        """Values (0 where there is no data), and True where there is data."""

        def read(dataset: DatasetReader) -> tuple[Any, Any]:
            raw = dataset.read(window=(rows, cols))
            has_data = np.isfinite(raw[0])
            if dataset.nodata is not None:
                has_data &= raw[0] != dataset.nodata
            return raw.astype(np.float32) * np.float32(dataset.scales[0]), has_data

        values, has_data = self._read(path, read, rows)
        values[:, ~has_data] = 0
        return values, has_data

    def _read[T](self, path: Path, read: Callable[[DatasetReader], T], rows: tuple[int, int]) -> T:
        try:
            if path not in self._open:
                self._open[path] = rasterio.open(path)
                if len(self._open) > _MOST_OPEN:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(path)
            return read(self._open[path])
        except RasterioIOError as error:
            raise damaged(str(path), f'rows {rows[0]} to {rows[1] - 1}', error) from error


def _range(at: Float64[np.ndarray, 'h w'], length: int) -> tuple[int, int]:
    """The pixels that contain the points, and one more on both sides for interpolation."""
    return max(int(at.min()) - 1, 0), min(int(at.max()) + 2, length)


def _nearness(at: Float64[np.ndarray, 'h w'], length: int) -> Float64[np.ndarray, 'h w']:
    part = at / length
    nearness: Float64[np.ndarray, 'h w'] = 2 * np.minimum(part, 1 - part)
    return nearness
