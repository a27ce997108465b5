"""Maps on a model's grid, brought back to the grid of their scene."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from jaxtyping import Float64, Int64, Shaped
from rasterio.io import DatasetReader

from crossearth.inference.ground import PixelPath
from crossearth.inference.scene import Scene
from crossearth.inference.writer import BLOCK_PX, Piece

__all__ = ['own_grid_pieces']

_PIECE_PX = 8 * BLOCK_PX
_KNOT_PX = 16
_KNOT_ERROR_PX = 0.01


def own_grid_pieces(scene: Scene, made: Path) -> Iterator[Piece]:
    """A raster of the model's grid on the scene's own, by nearest pixels.

    A pixel has a value where the scene has data. Where the nearest pixel of the model's grid has
    none, at the edge of the data, it takes that of the nearest of the eight around.

    Args:
        scene: The scene, on its own grid.
        made: Raster on the model's grid, with nodata.

    Yields:
        Blocks, in the order they have in a file.

    Raises:
        SceneError: If a block of the scene cannot be read.
    """
    with rasterio.open(made) as raster:
        path = PixelPath(scene.georeference, raster.crs, name=scene.name)
        to_pixels = ~raster.transform
        for row in range(0, scene.height, BLOCK_PX):
            rows = min(BLOCK_PX, scene.height - row)
            for left in range(0, scene.width, _PIECE_PX):
                width = min(_PIECE_PX, scene.width - left)
                out = np.full((raster.count, rows, width), raster.nodata, raster.dtypes[0])
                for col in range(0, width, BLOCK_PX):
                    cols = min(BLOCK_PX, width - col)
                    x, y = _block_coordinates(path, to_pixels, row, left + col, rows, cols)
                    out[:, :, col : col + cols] = _nearest(raster, x, y)
                pixels = np.empty((len(scene.bands), rows, width), scene.dtype)
                valid = scene.read(row, row + rows, left, left + width, out=pixels)
                if valid is not None:
                    out[:, ~valid] = raster.nodata
                yield Piece(raster.indexes, row, left, out)


def _block_coordinates(
    path: PixelPath, to_pixels: Affine, row: int, col: int, rows: int, cols: int
) -> tuple[Float64[np.ndarray, 'h w'], Float64[np.ndarray, 'h w']]:
    """Model pixels of the centres of a block: exact at knots, bilinear between them."""

    def exact(at_cols: np.ndarray, at_rows: np.ndarray) -> np.ndarray:
        grid_rows, grid_cols = np.meshgrid(at_rows, at_cols, indexing='ij')
        x, y = path(grid_cols.ravel() + col, grid_rows.ravel() + row)
        a, b, c, d, e, f = to_pixels[:6]
        pixels = np.stack([a * x + b * y + c, d * x + e * y + f])
        return pixels.reshape(2, len(at_rows), len(at_cols))

    knots_row = np.linspace(0.5, rows - 0.5, -(-rows // _KNOT_PX) + 1)
    knots_col = np.linspace(0.5, cols - 0.5, -(-cols // _KNOT_PX) + 1)
    coarse = exact(knots_col, knots_row)
    # worst between knots: see whether the middles of their cells are where they should be
    middles = exact((knots_col[:-1] + knots_col[1:]) / 2, (knots_row[:-1] + knots_row[1:]) / 2)
    guessed = (
        coarse[:, :-1, :-1] + coarse[:, 1:, :-1] + coarse[:, :-1, 1:] + coarse[:, 1:, 1:]
    ) / 4
    if not np.abs(middles - guessed).max() < _KNOT_ERROR_PX:
        full = exact(np.arange(cols) + 0.5, np.arange(rows) + 0.5)
        return full[0], full[1]
    down = _interpolation(rows, knots_row)
    across = _interpolation(cols, knots_col)
    full = np.einsum('hr,krc,wc->khw', down, coarse, across, optimize=True)
    return full[0], full[1]


def _interpolation(
    length: int, knots: Float64[np.ndarray, ' n']
) -> Float64[np.ndarray, 'length n']:
    at = np.arange(length) + 0.5
    weights = np.zeros((length, knots.size))
    upper = np.clip(np.searchsorted(knots, at), 1, knots.size - 1)
    gap = knots[upper] - knots[upper - 1]
    part = np.where(gap > 0, (at - knots[upper - 1]) / np.where(gap > 0, gap, 1), 0.0)
    weights[np.arange(length), upper] += part
    weights[np.arange(length), upper - 1] += 1 - part
    return weights


def _nearest(
    made: DatasetReader, x: Float64[np.ndarray, 'h w'], y: Float64[np.ndarray, 'h w']
) -> Shaped[np.ndarray, 'c h w']:
    out = np.full((made.count, *x.shape), made.nodata, made.dtypes[0])
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return out
    cols = _clipped(x, known, made.width)
    rows = _clipped(y, known, made.height)
    col0, col1 = max(int(cols.min()) - 1, 0), min(int(cols.max()) + 2, made.width)
    row0, row1 = max(int(rows.min()) - 1, 0), min(int(rows.max()) + 2, made.height)
    values = made.read(window=((row0, row1), (col0, col1)))
    out = np.where(known, values[:, rows - row0, cols - col0], out)
    missing = known & (out[0] == made.nodata)
    if missing.any() and (values[0] != made.nodata).any():
        _fill_from_around(out, missing, values, x - col0, y - row0, made.nodata)
    return out


def _clipped(
    values: Float64[np.ndarray, 'h w'], known: Shaped[np.ndarray, 'h w'], length: int
) -> Int64[np.ndarray, 'h w']:
    return np.clip(np.floor(np.where(known, values, values[known][0])), 0, length - 1).astype(
        np.int64
    )


def _fill_from_around(
    out: Shaped[np.ndarray, 'c h w'],
    missing: Shaped[np.ndarray, 'h w'],
    values: Shaped[np.ndarray, 'c r s'],
    x: Float64[np.ndarray, 'h w'],
    y: Float64[np.ndarray, 'h w'],
    nodata: float | int,
) -> None:
    at_row, at_col = np.nonzero(missing)
    px, py = x[missing], y[missing]
    best = np.full(px.size, np.inf)
    found = np.full((values.shape[0], px.size), nodata, values.dtype)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            rows = np.clip(np.floor(py).astype(np.int64) + down, 0, values.shape[1] - 1)
            cols = np.clip(np.floor(px).astype(np.int64) + across, 0, values.shape[2] - 1)
            distance = np.hypot(rows + 0.5 - py, cols + 0.5 - px)
            nearer = (values[0, rows, cols] != nodata) & (distance < best)
            best[nearer] = distance[nearer]
            found[:, nearer] = values[:, rows, cols][:, nearer]
    out[:, at_row, at_col] = found
