"""Counts the values in mask files."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import rasterio
from jaxtyping import Shaped
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from crossearth.errors import LabelError
from crossearth.rasters import gdal_environment, open_raster
from crossearth.rasters.opening import damaged

__all__ = ['MaskValues', 'Tile', 'Value', 'read_mask_values']

type RGB = tuple[int, int, int]
type Value = int | RGB

_TILE_PX = 256
_LOSSY = ('.jpg', '.jpeg')


@dataclass(frozen=True, slots=True)
class Tile:
    """Part of a mask, and how often each value occurs in it.

    Args:
        row: First row.
        col: First column.
        height: Rows.
        width: Columns.
        counts: Value → pixels.
    """

    row: int
    col: int
    height: int
    width: int
    counts: Mapping[Value, int]


@dataclass(frozen=True, slots=True)
class MaskValues:
    """The values of one mask file.

    Args:
        path: The file.
        dtype: Data type of its values.
        bands: Number of its bands.
        nodata: The file's nodata value; None if it has none.
        palette: Colours of its numbers; None without a palette.
        lossy: Whether its format blurs values.
        tiles: The parts that were read.
    """

    path: str
    dtype: str
    bands: int
    nodata: float | None
    palette: Mapping[int, RGB] | None
    lossy: bool
    tiles: tuple[Tile, ...]

    @property
    def coloured(self) -> bool:
        """Whether some of its values are colours other than grey."""
        return any(isinstance(value, tuple) for tile in self.tiles for value in tile.counts)

    @property
    def read_px(self) -> int:
        """Number of pixels read."""
        return sum(tile.height * tile.width for tile in self.tiles)

    def in_colour(self) -> 'MaskValues':
        """The same with grey as colours, as in a picture of colours that shows none."""
        return replace(self, tiles=tuple(_in_colour(tile, {}) for tile in self.tiles))

    def counts(self) -> Counter[Value]:
        """How often each value occurs in the parts that were read."""
        total: Counter[Value] = Counter()
        for tile in self.tiles:
            total.update(tile.counts)
        return total


def read_mask_values(path: str, *, most_px: int) -> MaskValues:
    """Count the values of a mask, in all of it or in strips spread over it.

    Three equal bands count as one. For a mask with a palette, the values are its colours, as long
    as the numbers that occur have different ones.

    Args:
        path: The file.
        most_px: Maximum number of pixels to read; at least one strip of tiles is always read.

    Raises:
        SceneError: If the file cannot be read.
        LabelError: If it holds anything but whole numbers, or has two bands.
    """
    with gdal_environment(), open_raster(path) as source:
        kind = np.dtype(source.dtypes[0])
        if kind.kind not in 'iub':
            raise LabelError(
                f'{path}: mask holds {kind} values, expected whole numbers: if they are classes, '
                f"convert them with gdal_translate -ot Byte '{path}' out.tif"
            )
        if source.count == 2:
            raise LabelError(
                f'{path}: mask has 2 bands, expected one, or red, green and blue: '
                f"keep the first with gdal_translate -b 1 '{path}' out.tif"
            )
        bands = [1] if source.count == 1 else [1, 2, 3]
        tiles: list[Tile] = []
        for row in _strips(source, most_px):
            height = min(_TILE_PX, source.height - row)
            try:
                raw = source.read(bands, window=RasterWindow(0, row, source.width, height))
            except RasterioError as error:
                raise damaged(path, f'rows {row}-{row + height - 1}', error) from error
            for col in range(0, source.width, _TILE_PX):
                part = raw[:, :, col : col + _TILE_PX]
                tiles.append(Tile(row, col, height, part.shape[2], _count(part)))
        palette = None
        if source.colorinterp[0] == ColorInterp.palette:
            palette = {number: rgba[:3] for number, rgba in source.colormap(1).items()}
            if _tells_apart(palette, tiles):
                tiles = [_in_colour(tile, palette) for tile in tiles]
        elif source.count > 3 or any(isinstance(v, tuple) for t in tiles for v in t.counts):
            tiles = [_in_colour(tile, {}) for tile in tiles]
        return MaskValues(
            path=path,
            dtype=str(kind),
            bands=source.count,
            nodata=source.nodatavals[0],
            palette=palette,
            lossy=os.path.splitext(path)[1].lower() in _LOSSY,  # noqa: PTH122  # once a file
            tiles=tuple(tiles),
        )


def _strips(source: rasterio.DatasetReader, most_px: int) -> list[int]:
    """First rows of strips of tiles: all of them, or some spread over the file."""
    rows = list(range(0, source.height, _TILE_PX))
    most = max(-(-most_px // (_TILE_PX * source.width)), 1)
    if len(rows) <= most:
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _count(raw: Shaped[np.ndarray, 'c h w']) -> dict[Value, int]:
    if len(raw) == 3 and not ((raw[0] == raw[1]).all() and (raw[0] == raw[2]).all()):
        if raw.dtype.kind != 'u' or raw.dtype.itemsize > 2:
            colours, times = np.unique(raw.reshape(3, -1), axis=1, return_counts=True)
            return {
                (int(red), int(green), int(blue)): int(count)
                for red, green, blue, count in zip(*colours, times, strict=True)
            }
        # one number per colour is counted by hashing; `np.unique` over rows would sort them
        red, green, blue = raw.astype(np.uint64)
        packed = (red << 32 | green << 16 | blue).ravel()
        found = pd.Series(packed).value_counts(sort=False)
        return {
            (int(value) >> 32, int(value) >> 16 & 65535, int(value) & 65535): int(count)
            for value, count in found.items()
        }
    band = raw[0]
    # `bincount` keeps a counter for every possible value, so only for small types
    if band.dtype.kind == 'u' and band.dtype.itemsize <= 2:
        counts = np.bincount(band.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    values, times = np.unique(band, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, times, strict=True)}


def _tells_apart(palette: Mapping[int, RGB], tiles: list[Tile]) -> bool:
    """Whether the values that occur have different colours in the palette."""
    values = {value for tile in tiles for value in tile.counts if isinstance(value, int)}
    return len({palette[v] for v in values if v in palette}) == len(values)


def _in_colour(tile: Tile, palette: Mapping[int, RGB]) -> Tile:
    """Replace numbers by colours: those of the palette, or grey."""
    counts: dict[Value, int] = {
        value if isinstance(value, tuple) else palette.get(value, (value, value, value)): count
        for value, count in tile.counts.items()
    }
    return Tile(tile.row, tile.col, tile.height, tile.width, counts)
