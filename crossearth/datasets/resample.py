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
from jaxtyping import Bool, Float, Float32, Float64, Shaped
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from crossearth.datasets.ground import ground_gsd, local_metric_crs, nearest_turn, turn_of
from crossearth.datasets.scene import Scene
from crossearth.errors import ConfigError
from crossearth.geometry import Window

__all__ = ['SourceGrid', 'resampled_scene', 'sample_bilinear', 'sample_nearest', 'source_grid']

_WGS84 = CRS.from_epsg(4326)
_SAME_GSD = 0.02  # as for mapping: pixels this close to the asked size are read as they are
_LARGEST_SPAN_M = 8e6
_TOLERANCE_PX = 0.1  # of a native pixel and of a resampled one: stated is 0.25
_FIRST_STEPS = 2
_SAFE_PX = 1  # knots this far inside leave no room for a pixel between them to lie outside
_WIDE = frozenset({'int32', 'uint32', 'int64', 'uint64', 'float64'})
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
    try:
        across, down = ground_gsd(
            scene.crs, scene.transform, height=scene.height, width=scene.width
        )
    except ProjError as error:
        raise ConfigError(
            f'{scene.image}: its CRS, {scene.crs.name}, is not tied to the globe ({error}): leave '
            'gsd_m out'
        ) from error
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
        positions: Column and row of each pixel centre, from the upper-left corner of `window`,
            (h, w, 2).
        overhangs: Whether any of them lies outside the scene.
        native_hw: Rows and columns of the scene.
    """

    window: Window | None
    factor: int
    positions: Float32[torch.Tensor, 'h w 2']
    overhangs: bool
    native_hw: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the resampled window."""
        height, width, _ = self.positions.shape
        return height, width

    @property
    def inside(self) -> Bool[np.ndarray, 'h w']:
        """Which pixel centres lie in the scene."""
        height, width = self.native_hw
        if not self.overhangs:
            return np.ones(self.shape, bool)
        if self.window is None:
            return np.zeros(self.shape, bool)
        cols, rows = self.positions.numpy()[..., 0], self.positions.numpy()[..., 1]
        left, top = self.window.col, self.window.row
        inside: Bool[np.ndarray, 'h w'] = (
            (cols >= -left) & (cols < width - left) & (rows >= -top) & (rows < height - top)
        )
        return inside


class _Mesh(NamedTuple):
    cols: Float64[np.ndarray, 'n m']
    rows: Float64[np.ndarray, 'n m']


def source_grid(scene: Scene, window: Window) -> SourceGrid:
    """The pixels of the file under a window of a resampled scene.

    Positions are computed on a coarse mesh and interpolated; the mesh is refined until its own
    midpoints are within 0.1 pixel, of the file and of the window, of their exact positions, or
    every pixel has its own.
    """
    native = scene.native
    assert native is not None  # callers read native scenes directly
    steps = _FIRST_STEPS
    mesh = _mesh(scene, native, window, steps, steps)
    scale = _scale(mesh, window, steps)
    down = across = steps
    while True:
        if 2 * steps >= max(window.height, window.width):  # near a pole of a grid in degrees
            down, across = window.height - 1, window.width - 1
            mesh = _mesh(scene, native, window, down, across)
            break
        finer = _mesh(scene, native, window, 2 * steps, 2 * steps)
        error = _largest_error(mesh, finer)
        mesh, steps = finer, 2 * steps
        down = across = steps
        if error <= _TOLERANCE_PX * min(1.0, *scale):
            break
    factor = max(int(min(scale) + 1e-6), 1)
    needed = _needed(native, mesh, factor)
    left, top = (0, 0) if needed is None else (needed.col, needed.row)
    # Less the corner of the block, float32 is exact to a ten-thousandth of a pixel.
    knots = torch.from_numpy(np.stack([mesh.cols - left, mesh.rows - top], axis=-1)).float()
    rows = torch.einsum('wk,ikc->iwc', _hats(window.width, across), knots)
    positions = _hats(window.height, down) @ rows.reshape(down + 1, -1)
    return SourceGrid(
        window=needed,
        factor=factor,
        positions=positions.reshape(window.height, window.width, 2),
        overhangs=needed is None or _overhangs(mesh, native),
        native_hw=(native.height, native.width),
    )


def sample_bilinear(
    pixels: Shaped[np.ndarray, 'c a b'], valid: Bool[np.ndarray, 'a b'] | None, grid: SourceGrid
) -> Shaped[np.ndarray, 'c h w']:
    """Pixels between those of a block, each weighted by its nearness among those with data.

    Args:
        pixels: The block that `grid.window` asks for, averaged by `grid.factor`.
        valid: Which of them hold data; None for all.
        grid: Positions.

    Returns:
        In the type of the block, rounded for whole numbers; 0 where no neighbour holds data.
    """
    size = torch.tensor([pixels.shape[2], pixels.shape[1]])
    kind = torch.float64 if pixels.dtype.name in _WIDE else torch.float32
    flow = torch.addcmul(torch.tensor(-1.0), grid.positions, 2 / (grid.factor * size))[None]
    values = torch.from_numpy(pixels.astype(_plain(pixels.dtype), copy=False)).to(kind)
    if valid is None:
        sampled = _interpolate(values, flow.to(kind))
    else:
        weight = torch.from_numpy(valid)
        held = torch.cat([torch.where(weight, values, 0), weight[None].to(kind)])
        both = _interpolate(held, flow.to(kind))
        sampled = torch.where(both[-1:] > 1e-3, both[:-1] / both[-1:].clamp(min=1e-3), 0)
    if pixels.dtype.kind in 'iu':
        sampled = sampled.round_()
    result: Shaped[np.ndarray, 'c h w'] = sampled.numpy().astype(pixels.dtype)
    return result


def sample_nearest(
    values: Shaped[np.ndarray, 'a b'], grid: SourceGrid, *, factor: int = 1
) -> Shaped[np.ndarray, 'h w']:
    """The value of the pixel that each position lies in.

    Args:
        values: The block that `grid.window` asks for.
        grid: Positions.
        factor: Pixels of the file that a value of the block stands for, along each axis.

    Returns:
        Values; those of the nearest edge outside the block.
    """
    height, width = values.shape
    cells = grid.positions if factor == 1 else grid.positions / factor
    whole = cells.floor().numpy().astype(np.int32)
    cols = whole[..., 0].clip(0, width - 1)
    rows = whole[..., 1].clip(0, height - 1)
    found: Shaped[np.ndarray, 'h w'] = np.take(values, rows * width + cols)
    return found


def _interpolate(
    values: Float[torch.Tensor, 'c a b'], flow: Float[torch.Tensor, '1 h w 2']
) -> Float[torch.Tensor, 'c h w']:
    return F.grid_sample(values[None], flow, padding_mode='border', align_corners=False)[0]


@functools.lru_cache(maxsize=64)
def _hats(size: int, steps: int) -> Float32[torch.Tensor, 'n k']:
    """Weights of `steps` + 1 knots for each of `size` places from the first to the last of them."""
    places = torch.linspace(0, steps, size)[:, None]
    return (1 - (places - torch.arange(steps + 1)).abs()).clamp(min=0)


def _overhangs(mesh: _Mesh, native: Scene) -> bool:
    return bool(
        mesh.cols.min() < _SAFE_PX
        or mesh.rows.min() < _SAFE_PX
        or mesh.cols.max() >= native.width - _SAFE_PX
        or mesh.rows.max() >= native.height - _SAFE_PX
    )


def _plain(dtype: np.dtype) -> np.dtype:
    """A type that torch computes with: it knows unsigned integers of more than 8 bits by name."""
    return np.dtype({'uint16': 'int32', 'uint32': 'int64'}.get(dtype.name, dtype.name))


def _mesh(scene: Scene, native: Scene, window: Window, down: int, across: int) -> _Mesh:
    """Native positions of one more points than steps, from the first to the last pixel centre."""
    cols, rows = np.meshgrid(
        np.linspace(window.col + 0.5, window.col + window.width - 0.5, across + 1),
        np.linspace(window.row + 0.5, window.row + window.height - 0.5, down + 1),
    )
    xs, ys = _move(scene.transform, cols.ravel(), rows.ravel())
    if scene.crs is not native.crs and scene.crs is not None and native.crs is not None:
        xs, ys = _transformer(scene.crs, native.crs).transform(xs, ys)
        middle, _ = native.transform @ (native.width / 2, native.height / 2)
        xs = nearest_turn(np.asarray(xs), middle, turn=turn_of(native.crs))
    cols, rows = _move(~native.transform, np.asarray(xs), np.asarray(ys))
    far = 1e7  # off the globe, thus outside of every scene
    shape = (down + 1, across + 1)
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
