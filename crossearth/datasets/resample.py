"""Scenes on a grid of square metres, resampled where and when a window is read.

A resampled scene is a view: it has the CRS, transform and size of its new grid, so samplers and
geographic slices work on it unchanged, and keeps the scene that it was made from.
"""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from affine import Affine
from jaxtyping import Bool, Float32, Float64, Int64, Shaped
from pyproj import CRS, Transformer

from crossearth.datasets.ground import ground_gsd, local_metric_crs
from crossearth.datasets.scene import Scene
from crossearth.errors import ConfigError
from crossearth.geometry import Window

__all__ = ['SourceGrid', 'resampled_scene', 'sample_bilinear', 'sample_nearest', 'source_grid']

_WGS84 = CRS.from_epsg(4326)
_SAME_GSD = 0.02  # as for mapping: pixels this close to the asked size are read as they are
_LARGEST_SPAN_M = 8e6
_TOLERANCE_PX = 0.1  # of a native pixel and of a resampled one: stated is 0.25
_FIRST_STEPS = 8
_EDGE_POINTS = 65


def resampled_scene(scene: Scene, gsd_m: float | int) -> Scene:
    """A scene on a grid of square pixels of a given size on the ground.

    The grid lies in the UTM zone of the scene's middle (UPS near the poles, Lambert's equal-area
    projection for more than 300 km), its edges at multiples of the pixel, around the whole scene;
    corners that a rotated scene does not fill hold no data.

    Args:
        scene: In its file's pixels.
        gsd_m: Side of a pixel, in metres on the ground.

    Returns:
        The view; the scene itself if its pixels are that large along both axes, to 2 %.

    Raises:
        ConfigError: If `gsd_m` is not positive, the scene has no CRS and transform, or it covers
            more of the globe than one projection is fair to.
    """
    if not (math.isfinite(gsd_m) and gsd_m > 0):
        raise ConfigError(f'gsd_m is {gsd_m}: expected metres, more than 0')
    if scene.crs is None or scene.transform == Affine.identity():
        raise ConfigError(
            f'{scene.image}: has no CRS and transform, so its pixels have no size on the ground: '
            "pass crs='EPSG:...' if a world file places it, or leave gsd_m out"
        )
    across, down = ground_gsd(scene.crs, scene.transform, height=scene.height, width=scene.width)
    span_m = max(across * scene.width, down * scene.height)
    if not span_m <= _LARGEST_SPAN_M:
        raise ConfigError(
            f'{scene.image}: spans {span_m / 1000:.0f} km, where no grid has square pixels: cut it '
            f'into pieces below {_LARGEST_SPAN_M / 1000:.0f} km, or leave gsd_m out'
        )
    if all(abs(size / gsd_m - 1) <= _SAME_GSD for size in (across, down)):
        return scene
    lon, lat = _transformer(scene.crs, _WGS84).transform(
        *(scene.transform @ (scene.width / 2, scene.height / 2))
    )
    crs = local_metric_crs(lon, lat, span_m=span_m)
    crs = scene.crs if crs == scene.crs else crs
    xs, ys = _move(scene.transform, *_border(scene.height, scene.width))
    xs, ys = _transformer(scene.crs, crs).transform(xs, ys)
    if not np.isfinite([xs, ys]).all():
        raise ConfigError(f'{scene.image}: reaches beyond the globe; leave gsd_m out')
    left, top = math.floor(min(xs) / gsd_m) * gsd_m, math.ceil(max(ys) / gsd_m) * gsd_m
    return dataclasses.replace(
        scene,
        crs=crs,
        transform=Affine(gsd_m, 0, left, 0, -gsd_m, top),
        height=max(math.ceil((top - min(ys)) / gsd_m), 1),
        width=max(math.ceil((max(xs) - left) / gsd_m), 1),
        native=scene,
    )


@dataclass(frozen=True, slots=True)
class SourceGrid:
    """Where the pixels of a resampled window lie in the file.

    Args:
        window: Pixels of the file that are needed, aligned to multiples of `factor`; None where
            the window misses the scene.
        factor: Pixels of the file that are averaged along each axis before sampling, where the
            asked pixels are that many times as large.
        cols: Columns of the pixel centres, counted from the corner of the scene, (h, w).
        rows: Rows of them.
    """

    window: Window | None
    factor: int
    cols: Float32[torch.Tensor, 'h w']
    rows: Float32[torch.Tensor, 'h w']
    native_hw: tuple[int, int]

    @property
    def inside(self) -> Bool[torch.Tensor, 'h w']:
        """Which pixel centres lie in the scene."""
        height, width = self.native_hw
        cols, rows = self.cols, self.rows
        return (cols >= 0) & (cols < width) & (rows >= 0) & (rows < height)


class _Mesh(NamedTuple):
    cols: Float64[np.ndarray, 'n m']
    rows: Float64[np.ndarray, 'n m']


def source_grid(scene: Scene, window: Window) -> SourceGrid:
    """The pixels of the file under a window of a resampled scene.

    Positions are computed on a coarse mesh and interpolated; the mesh is refined until its own
    midpoints are within 0.1 pixel, of the file and of the window, of their exact positions.
    """
    native = scene.native
    assert native is not None  # callers read native scenes directly
    steps = _FIRST_STEPS
    mesh = _mesh(scene, native, window, steps)
    scale = _scale(mesh, window, steps)
    while steps < max(window.height, window.width):
        finer = _mesh(scene, native, window, 2 * steps)
        if _largest_error(mesh, finer) <= _TOLERANCE_PX * min(1.0, *scale):
            break
        mesh, steps = finer, 2 * steps
    stacked = torch.from_numpy(np.stack(mesh))[None]
    full = F.interpolate(
        stacked, (window.height, window.width), mode='bilinear', align_corners=True
    )[0].float()
    factor = max(int(min(scale) + 1e-6), 1)
    return SourceGrid(
        window=_needed(native, mesh, factor),
        factor=factor,
        cols=full[0],
        rows=full[1],
        native_hw=(native.height, native.width),
    )


def sample_bilinear(
    pixels: Shaped[np.ndarray, 'c a b'], valid: Bool[np.ndarray, 'a b'], grid: SourceGrid
) -> Shaped[np.ndarray, 'c h w']:
    """Pixels between those of a block, each weighted by its nearness among those with data.

    Args:
        pixels: The block that `grid.window` asks for, averaged by `grid.factor`.
        valid: Which of them hold data.
        grid: Positions.

    Returns:
        In the type of the block, rounded for whole numbers; 0 where no neighbour holds data.
    """
    assert grid.window is not None  # callers have nothing to sample there
    height, width = pixels.shape[1:]
    x = (grid.cols - grid.window.col) / grid.factor
    y = (grid.rows - grid.window.row) / grid.factor
    flow = torch.stack([2 * x / width - 1, 2 * y / height - 1], dim=-1)[None]
    kind = (
        torch.float64 if pixels.dtype.itemsize > 2 and pixels.dtype != np.float32 else torch.float32
    )
    values = torch.from_numpy(np.ascontiguousarray(pixels).astype(_plain(pixels.dtype), copy=False))
    values = values.to(kind)
    if valid.all():
        sampled = F.grid_sample(
            values[None], flow.to(kind), padding_mode='border', align_corners=False
        )[0]
    else:
        weight = torch.from_numpy(valid)
        values = torch.where(weight, values, 0)
        both = torch.cat([values, weight[None].to(kind)])
        both = F.grid_sample(both[None], flow.to(kind), padding_mode='border', align_corners=False)[
            0
        ]
        sampled = torch.where(both[-1:] > 1e-3, both[:-1] / both[-1:].clamp(min=1e-3), 0)
    if pixels.dtype.kind in 'iu':
        limits = np.iinfo(pixels.dtype)
        sampled = sampled.round().clamp(limits.min, limits.max)
    result: Shaped[np.ndarray, 'c h w'] = sampled.numpy().astype(pixels.dtype)
    return result


def sample_nearest(
    values: Shaped[np.ndarray, '*c a b'], grid: SourceGrid, *, factor: int = 1
) -> Shaped[np.ndarray, '*c h w']:
    """The value of the pixel that each position lies in.

    Args:
        values: The block that `grid.window` asks for.
        grid: Positions.
        factor: Pixels of the file that a value of the block stands for, along each axis.

    Returns:
        Values; those of the nearest edge outside the block.
    """
    assert grid.window is not None  # callers have nothing to sample there
    height, width = values.shape[-2:]
    cols = _cells(grid.cols, grid.window.col, factor, width)
    rows = _cells(grid.rows, grid.window.row, factor, height)
    found: Shaped[np.ndarray, '*c h w'] = values[..., rows, cols]
    return found


def _cells(
    positions: Float32[torch.Tensor, 'h w'], start: int, factor: int, size: int
) -> Int64[np.ndarray, 'h w']:
    cells = torch.div(positions - start, factor, rounding_mode='floor').long().clamp(0, size - 1)
    found: Int64[np.ndarray, 'h w'] = cells.numpy()
    return found


def _plain(dtype: np.dtype) -> np.dtype:
    """A type that torch computes with: it knows unsigned integers of more than 8 bits by name."""
    return np.dtype({'uint16': 'int32', 'uint32': 'int64'}.get(dtype.name, dtype.name))


def _mesh(scene: Scene, native: Scene, window: Window, steps: int) -> _Mesh:
    """Native positions of `steps` + 1 points along each axis, from first to last pixel centre."""
    cols, rows = np.meshgrid(
        np.linspace(window.col + 0.5, window.col + window.width - 0.5, steps + 1),
        np.linspace(window.row + 0.5, window.row + window.height - 0.5, steps + 1),
    )
    xs, ys = _move(scene.transform, cols.ravel(), rows.ravel())
    if scene.crs is not native.crs and scene.crs is not None and native.crs is not None:
        xs, ys = _transformer(scene.crs, native.crs).transform(xs, ys)
    cols, rows = _move(~native.transform, np.asarray(xs), np.asarray(ys))
    far = 1e7  # off the globe, thus outside of every scene
    shape = (steps + 1, steps + 1)
    return _Mesh(
        np.nan_to_num(cols, nan=far, posinf=far, neginf=-far).reshape(shape),
        np.nan_to_num(rows, nan=far, posinf=far, neginf=-far).reshape(shape),
    )


def _scale(mesh: _Mesh, window: Window, steps: int) -> tuple[float, float]:
    """Native pixels to one of the window, along its columns and rows."""
    across = np.hypot(np.diff(mesh.cols, axis=1), np.diff(mesh.rows, axis=1)).mean()
    down = np.hypot(np.diff(mesh.cols, axis=0), np.diff(mesh.rows, axis=0)).mean()
    return (
        float(across) * steps / max(window.width - 1, 1),
        float(down) * steps / max(window.height - 1, 1),
    )


def _largest_error(mesh: _Mesh, finer: _Mesh) -> float:
    """How far interpolation misses the midpoints of a mesh, in native pixels."""
    worst = 0.0
    for coarse, fine in zip(mesh, finer, strict=True):
        along = (coarse[:, :-1] + coarse[:, 1:]) / 2 - fine[::2, 1::2]
        down = (coarse[:-1] + coarse[1:]) / 2 - fine[1::2, ::2]
        middle = (coarse[:-1, :-1] + coarse[1:, 1:] + coarse[:-1, 1:] + coarse[1:, :-1]) / 4
        parts = (along, down, middle - fine[1::2, 1::2])
        worst = max(worst, *(float(np.abs(part).max()) for part in parts))
    return worst


def _needed(native: Scene, mesh: _Mesh, factor: int) -> Window | None:
    """The block of whole cells of `factor` pixels that bilinear sampling touches."""
    bounds = []
    for positions, size in ((mesh.rows, native.height), (mesh.cols, native.width)):
        low, high = float(positions.min()), float(positions.max())
        if high < 0 or low >= size:
            return None
        cells = max(size // factor, 1)  # a remainder at the border is sampled from its neighbour
        first = min(max(math.floor(low / factor - 1), 0), cells - 1)
        last = min(max(math.ceil(high / factor + 1), first + 1), cells)
        bounds.append((first * factor, min(last * factor, size)))
    (top, bottom), (left, right) = bounds
    return Window(0, top, left, bottom - top, right - left)


def _border(height: int, width: int) -> tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]:
    steps = np.linspace(0, 1, _EDGE_POINTS)
    zero, one = np.zeros_like(steps), np.ones_like(steps)
    cols = np.concatenate([steps, steps, zero, one]) * width
    rows = np.concatenate([zero, one, steps, steps]) * height
    return cols, rows


def _move(
    transform: Affine, x: Float64[np.ndarray, ' n'], y: Float64[np.ndarray, ' n']
) -> tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]:
    a, b, c, d, e, f = tuple(transform)[:6]
    return a * x + b * y + c, d * x + e * y + f


def _transformer(source: CRS, target: CRS) -> Transformer:
    return _transformer_between(source.srs, target.srs)  # CRSs themselves are slow to compare


@functools.lru_cache(maxsize=256)
def _transformer_between(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
