"""Brings maps from the grid that a model saw back to the grid of the scene."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch
from jaxtyping import Bool, Float32, Float64, Shaped
from rasterio.io import DatasetReader

from crossearth.geometry import Window
from crossearth.inference.decision import Decision
from crossearth.inference.interpolation import between_centres, pixel_of
from crossearth.inference.rendering import Product, render_rows
from crossearth.inference.scene import OpenScene
from crossearth.inference.writer import BLOCK_PX, Layer, Piece, RasterWriter
from crossearth.rasters import Raster
from crossearth.rasters.native_pixels import from_native
from crossearth.rasters.positions import FRACTIONS, Positions, positions_of

__all__ = ['Draft', 'MergeScores', 'regrid_to_scene']

_STRIP_PX = 8 * BLOCK_PX
_LEAST_WEIGHT = 1e-3  # with less weight around a point, there is too little data to interpolate


type Scores = Float32[np.ndarray, 'k h w']
type Known = Bool[np.ndarray, 'h w']
type MergeScores = Callable[[Sequence[Scores], Sequence[Known]], tuple[Scores, Known]]


@dataclass(frozen=True, slots=True)
class Draft:
    """A map on a grid that the model saw.

    Args:
        grid: The scene as the model saw it.
        files: Rasters on that grid: the requested ones, or `'scores'`.
    """

    grid: Raster
    files: Mapping[Product, Path]


def regrid_to_scene(
    drafts: Sequence[Draft],
    scene: OpenScene,
    layers: Mapping[Product, Layer],
    paths: Mapping[Product, Path],
    *,
    merge: MergeScores,
    decision: Decision,
    draft: bool,
) -> None:
    """Write rasters of the model's grids on the scene's own grid.

    A pixel has a value where the scene has data. Labels and probabilities are copied from the
    nearest pixel of the model's grid. Scores are interpolated between the four pixels around, and
    the requested rasters are made from them. Pixels of the model's grid without data are ignored.
    At the edge of the data, where none of these pixels has any, the nearest of the eight neighbours
    with data is used.

    Args:
        drafts: The map on the grid of the model, or its scores on several grids.
        scene: The scene, on its own grid.
        layers: The requested rasters.
        paths: Where they go.
        merge: Merges the scores of several grids.
        decision: How classes are chosen from scores.
        draft: As in `RasterWriter`.

    Raises:
        SceneError: If a block of the scene cannot be read.
        WriteError: If a file cannot be written.
    """
    with ExitStack() as stack:
        writers = {
            product: stack.enter_context(
                RasterWriter(
                    paths[product],
                    height=scene.height,
                    width=scene.width,
                    layer=layer,
                    georeference=scene.georeference,
                    draft=draft,
                )
            )
            for product, layer in layers.items()
        }
        rasters = [
            {
                product: stack.enter_context(rasterio.open(path))
                for product, path in one.files.items()
            }
            for one in drafts
        ]
        maps = [from_native(one.grid) for one in drafts]
        for block, valid in _blocks(scene):
            places = [
                positions_of(pixel_map, block, height=one.grid.height, width=one.grid.width)
                for pixel_map, one in zip(maps, drafts, strict=True)
            ]
            if 'scores' in rasters[0]:
                found = [
                    _interpolated(there['scores'], positions)
                    for there, positions in zip(rasters, places, strict=True)
                ]
                scores, known = found[0]
                if len(found) > 1:
                    scores, known = merge(*map(list, zip(*found, strict=True)))
                parts = render_rows(
                    [torch.from_numpy(scores)],
                    valid & known,
                    layers=dict(layers),
                    decision=decision,
                )
            else:
                parts = {
                    product: _nearest(raster, places[0]) for product, raster in rasters[0].items()
                }
                for product, part in parts.items():
                    part[:, ~valid] = layers[product].nodata
            for product, writer in writers.items():
                bands = tuple(range(1, layers[product].count + 1))
                writer.place(Piece(bands, block.row, block.col, parts[product]))


def _blocks(scene: OpenScene) -> Iterator[tuple[Window, Bool[np.ndarray, 'h w']]]:
    """Blocks of the scene, and where they have data."""
    for row in range(0, scene.height, BLOCK_PX):
        rows = min(BLOCK_PX, scene.height - row)
        for col in range(0, scene.width, _STRIP_PX):
            width = min(_STRIP_PX, scene.width - col)
            pixels = np.empty((len(scene.bands), rows, width), scene.dtype)
            valid = scene.read(row, row + rows, col, col + width, out=pixels)
            if valid is None:
                valid = np.ones((rows, width), bool)
            for left in range(0, width, BLOCK_PX):
                block = Window(0, row, col + left, rows, min(BLOCK_PX, width - left))
                yield block, valid[:, left : left + block.width]


def _nearest(made: DatasetReader, positions: Positions) -> Shaped[np.ndarray, 'c h w']:
    out = np.full((made.count, *positions.cols.shape), made.nodata, made.dtypes[0])
    around = _around(made, positions)
    if around is None:
        return out
    placed, values, x, y = around
    rows, cols = pixel_of(y, values.shape[1]), pixel_of(x, values.shape[2])
    out = np.where(placed, values[:, rows, cols], out)
    has_data = values[0] != made.nodata
    missing = placed & ~has_data[rows, cols]
    if missing.any() and has_data.any():
        _fill_from_around(out, missing, values, has_data, x, y)
    return out


def _interpolated(
    made: DatasetReader, positions: Positions
) -> tuple[Float32[np.ndarray, 'k h w'], Bool[np.ndarray, 'h w']]:
    """Scores interpolated between four pixel centres, and where there are any."""
    around = _around(made, positions)
    if around is None:
        out = np.zeros((made.count, *positions.cols.shape), np.float32)
        return out, np.zeros(positions.cols.shape, bool)
    placed, values, x, y = around
    has_data = ~np.isnan(values[0])
    # 0 times NaN is NaN, so values without data would spoil weighted sums
    values[:, ~has_data] = 0
    out, total = between_centres(values, has_data, x, y)
    known = placed & (total > _LEAST_WEIGHT)
    np.divide(out, total, out=out, where=known)
    missing = placed & ~known
    if missing.any() and has_data.any():
        known |= _fill_from_around(out, missing, values, has_data, x, y)
    out[:, ~known] = 0
    return out, known


def _around(
    made: DatasetReader, positions: Positions
) -> (
    tuple[
        Bool[np.ndarray, 'h w'],
        Shaped[np.ndarray, 'c r s'],
        Float64[np.ndarray, 'h w'],
        Float64[np.ndarray, 'h w'],
    ]
    | None
):
    """Which points lie on the grid, the values around them, and their positions among these."""
    x, y = positions.cols / FRACTIONS, positions.rows / FRACTIONS
    placed = positions.has_place
    if not placed.any():
        return None
    # points without a place take that of another one, and are masked by the caller
    x, y = np.where(placed, x, x[placed][0]), np.where(placed, y, y[placed][0])
    cols, rows = pixel_of(x, made.width), pixel_of(y, made.height)
    # one pixel more on each side, for interpolation and for filling gaps
    col0, col1 = max(int(cols.min()) - 1, 0), min(int(cols.max()) + 2, made.width)
    row0, row1 = max(int(rows.min()) - 1, 0), min(int(rows.max()) + 2, made.height)
    return placed, made.read(window=((row0, row1), (col0, col1))), x - col0, y - row0


def _fill_from_around(
    out: Shaped[np.ndarray, 'c h w'],
    missing: Bool[np.ndarray, 'h w'],
    values: Shaped[np.ndarray, 'c r s'],
    has_data: Bool[np.ndarray, 'r s'],
    x: Float64[np.ndarray, 'h w'],
    y: Float64[np.ndarray, 'h w'],
) -> Bool[np.ndarray, 'h w']:
    """Fill missing pixels from the nearest of eight neighbours, and return which were filled."""
    at_row, at_col = np.nonzero(missing)
    px, py = x[missing], y[missing]
    best = np.full(px.size, np.inf)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            rows = np.clip(np.floor(py).astype(np.int64) + down, 0, values.shape[1] - 1)
            cols = np.clip(np.floor(px).astype(np.int64) + across, 0, values.shape[2] - 1)
            distance = np.hypot(rows + 0.5 - py, cols + 0.5 - px)
            nearer = has_data[rows, cols] & (distance < best)
            best[nearer] = distance[nearer]
            out[:, at_row[nearer], at_col[nearer]] = values[:, rows, cols][:, nearer]
    filled = np.zeros(missing.shape, bool)
    filled[at_row, at_col] = np.isfinite(best)
    return filled
