"""Chooses the grid of a mosaic, and places maps on it."""

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from jaxtyping import Float64
from pyproj import CRS
from pyproj.exceptions import CRSError

from crossearth.errors import ConfigError
from crossearth.mosaic.sources import MapSource
from crossearth.rasters import Georeference, PixelsToGround, nearest_turn, turn_of

__all__ = ['MosaicGrid', 'Placed', 'choose_grid']

_EDGE_POINTS = 65
_SLACK_PX = 0.01  # pixels that are this close count as coinciding
_MOST_PIXELS = 10**13

type Frame = tuple[float, float, float, float]
"""Minimum x, minimum y, maximum x, maximum y."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A map on the grid of a mosaic, in pixels of the mosaic.

    Args:
        source: The map.
        rows: First row that it may touch, and end row (exclusive).
        cols: First column that it may touch, and end column (exclusive).
        corner: Row and column of its first pixel, if its pixels coincide with pixels of the mosaic;
            otherwise None.
    """

    source: MapSource
    rows: tuple[int, int]
    cols: tuple[int, int]
    corner: tuple[int, int] | None

    @property
    def source_px(self) -> float:
        """Pixels of the map per pixel of the mosaic, along a side."""
        spans = (stop - first for first, stop in (self.rows, self.cols))
        sides = self.source.height, self.source.width
        return max(side / max(span, 1) for side, span in zip(sides, spans, strict=True))


@dataclass(frozen=True, slots=True)
class MosaicGrid:
    """A north-up grid that contains all maps.

    Args:
        crs: CRS.
        transform: `(col, row)` → `(x, y)`, from pixel corners.
        height: Rows.
        width: Columns.
    """

    crs: CRS
    transform: Affine
    height: int
    width: int

    @property
    def georeference(self) -> Georeference:
        """The georeference of a file of the mosaic."""
        return Georeference(self.crs.to_wkt(), self.transform)

    def __str__(self) -> str:
        """Describe the grid in words."""
        unit = 'degrees' if self.crs.is_geographic else self.crs.axis_info[0].unit_name
        across, down = self.transform.a, -self.transform.e
        size = f'{across:.6g}' if across == down else f'{across:.6g} × {down:.6g}'
        return f'{self.width} × {self.height} px of {size} ({unit}), {self.crs.name}'


def choose_grid(
    sources: Sequence[MapSource], *, crs: str | None, pixel_size: float | int | None
) -> tuple[MosaicGrid, list[Placed]]:
    """Choose the grid of a mosaic, and place its maps on it.

    Args:
        sources: The maps.
        crs: CRS of the mosaic, as `EPSG:32633` or WKT; None for that of most maps. Ties go to the
            first map.
        pixel_size: Side of a pixel in units of the CRS; None for that of most maps in that CRS. If
            no map has the CRS, pixels are square, and there are as many along the diagonals of the
            first map as in the map itself.

    Returns:
        The grid, and the placed maps in their order. The pixels of the grid coincide with those of
        the first map that has its CRS and pixel size. If there is none, they start at multiples of
        their size.

    Raises:
        ConfigError: If the CRS is invalid or not on the body of the maps, the pixel size is not
            positive or larger than all maps, a map has no place on the ground, or the mosaic would
            have more pixels than can be stored.
    """
    if pixel_size is not None and not (math.isfinite(pixel_size) and pixel_size > 0):
        raise ConfigError(f'pixel_size is {pixel_size}: expected a number above 0')
    target = _crs_of(crs) if crs is not None else _most_common_crs(sources)
    sides, origin = _pixels_of(sources, target, pixel_size)
    frames = _frames(sources, target)
    _require_smaller(sides, frames)
    low_x, low_y = (min(frame[i] for frame in frames) for i in (0, 1))
    high_x, high_y = (max(frame[i] for frame in frames) for i in (2, 3))
    turn = turn_of(target)
    # counted like the maps, so that rounding at the antimeridian does not lose a column
    origin_x = float(nearest_turn(np.array([origin[0]]), (low_x + high_x) / 2, turn=turn)[0])
    left, right = _covering((low_x - origin_x) / sides[0], (high_x - origin_x) / sides[0])
    top, bottom = _covering((origin[1] - high_y) / sides[1], (origin[1] - low_y) / sides[1])
    height, width = bottom - top, right - left
    if height * width > _MOST_PIXELS or max(height, width) >= 1 << 31:
        raise ConfigError(
            f'the mosaic would have {width} × {height} px: choose maps that are closer together, '
            'or a larger pixel_size'
        )
    transform = Affine(
        sides[0], 0, origin_x + left * sides[0], 0, -sides[1], origin[1] - top * sides[1]
    )
    grid = MosaicGrid(target, transform, height, width)
    return grid, [_placed(s, f, grid) for s, f in zip(sources, frames, strict=True)]


def _require_smaller(sides: tuple[float, float], frames: Sequence[Frame]) -> None:
    """Refuse pixels that are larger than every map, because most would have no class."""
    widest, tallest = (max(frame[i + 2] - frame[i] for frame in frames) for i in (0, 1))
    if sides[0] > widest or sides[1] > tallest:
        raise ConfigError(
            f'a pixel of the mosaic would be {sides[0]:.6g} × {sides[1]:.6g} in units of its CRS, '
            f'but no map is larger than {widest:.6g} × {tallest:.6g}: choose a smaller '
            'pixel_size'
        )


def _crs_of(text: str) -> CRS:
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise ConfigError(f'crs is {text!r}: expected a CRS, such as EPSG:32633') from error


def _most_common_crs(sources: Sequence[MapSource]) -> CRS:
    counts = Counter(_tie_crs(source).srs for source in sources)
    return CRS.from_user_input(counts.most_common(1)[0][0])


def _tie_crs(source: MapSource) -> CRS:
    return source.georeference.require_tie(str(source.path))


def _pixels_of(
    sources: Sequence[MapSource], crs: CRS, pixel_size: float | int | None
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Sides of the pixels, and a corner of one of them."""
    same = _sameness(crs)
    upright = [
        transform
        for source in sources
        if same(_tie_crs(source).srs) and _is_upright(transform := source.georeference.transform)
    ]
    if pixel_size is not None:
        sides = (float(pixel_size), float(pixel_size))
    elif upright:
        sides = Counter((t.a, -t.e) for t in upright).most_common(1)[0][0]
    else:
        suggested = _suggested(sources[0], crs)
        return suggested, (0.0, 0.0)
    for transform in upright:
        if (transform.a, -transform.e) == sides:
            return sides, (transform.c, transform.f)
    return sides, (0.0, 0.0)


def _is_upright(transform: Affine) -> bool:
    identity = bool(transform == Affine.identity())
    return not identity and transform.b == transform.d == 0 and transform.a > 0 > transform.e


def _suggested(source: MapSource, crs: CRS) -> tuple[float, float]:
    """Sides of square pixels, with as many along the diagonals of a map as it has itself."""
    if source.georeference.tie != 'transform':
        raise ConfigError(
            f'{source.path} is georeferenced by control points or polynomials, which do not define '
            'a pixel size for the mosaic: pass pixel_size (--pixel-size)'
        )
    cols, rows = np.array([[0.0, 1, 1, 0], [0.0, 1, 0, 1]])
    x, y = _on_one_turn(source, crs, cols * source.width, rows * source.height)
    diagonals = np.hypot(x[::2] - x[1::2], y[::2] - y[1::2])
    if not np.isfinite(diagonals).all():
        raise ConfigError(
            f'{source.path}: not all of its corners have a place in {crs.name}: pass pixel_size '
            '(--pixel-size), or choose another crs'
        )
    side = float(diagonals.mean()) / math.hypot(source.width, source.height)
    return side, side


def _sameness(crs: CRS) -> 'functools._lru_cache_wrapper[bool]':
    """A cached test for equality with a CRS: comparing is slow, and many maps share one."""
    return functools.cache(lambda srs: bool(CRS.from_user_input(srs) == crs))


def _frames(sources: Sequence[MapSource], crs: CRS) -> list[Frame]:
    """Bounds of the maps, with x continuous across the antimeridian."""
    frames: list[Frame] = []
    turn = turn_of(crs)
    for source in sources:
        low_x, low_y, high_x, high_y = _frame(source, crs)
        if frames:
            middle = np.array([(low_x + high_x) / 2])
            around = (frames[0][0] + frames[0][2]) / 2
            shift = float((nearest_turn(middle, around, turn=turn) - middle)[0])
            low_x, high_x = low_x + shift, high_x + shift
        frames.append((low_x, low_y, high_x, high_y))
    return frames


def _frame(source: MapSource, crs: CRS) -> Frame:
    """Bounds of a map, from points along its edges and, because of poles, a few inside."""
    x, y = _on_one_turn(source, crs, *_outline(source.height, source.width))
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise ConfigError(f'{source.path} has no place in {crs.name}: choose another crs')
    x, y = x[known], y[known]
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _on_one_turn(
    source: MapSource, crs: CRS, cols: Float64[np.ndarray, ' n'], rows: Float64[np.ndarray, ' n']
) -> tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]:
    """Coordinates of points of a map, with x continuous across the antimeridian from its middle."""
    try:
        to_ground = PixelsToGround(source.georeference, crs, name=str(source.path))
    except ConfigError as error:
        raise ConfigError(
            f'{source.path} has the CRS {_tie_crs(source).name!r}, which cannot be transformed to '
            f'{crs.name!r}, the CRS of the mosaic: choose a crs on the same body'
        ) from error
    x, y = to_ground(cols, rows)
    (middle,), _ = to_ground(np.array([source.width / 2]), np.array([source.height / 2]))
    return nearest_turn(x, float(middle), turn=turn_of(crs)), y


def _outline(
    height: int, width: int
) -> tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]:
    along, inside = np.linspace(0, 1, _EDGE_POINTS), np.linspace(0, 1, 9)
    zeros = np.zeros_like(along)
    grid_x, grid_y = (axis.ravel() for axis in np.meshgrid(inside, inside))
    x = np.concatenate([along, along, zeros, zeros + 1, grid_x])
    y = np.concatenate([zeros, zeros + 1, along, along, grid_y])
    return x * width, y * height


def _covering(low: float, high: float) -> tuple[int, int]:
    return math.floor(low + _SLACK_PX), math.ceil(high - _SLACK_PX)


def _placed(source: MapSource, frame: Frame, grid: MosaicGrid) -> Placed:
    low_x, low_y, high_x, high_y = frame
    transform = grid.transform
    across, down = transform.a, -transform.e
    cols = _covering((low_x - transform.c) / across, (high_x - transform.c) / across)
    rows = _covering((transform.f - high_y) / down, (transform.f - low_y) / down)
    corner = None
    own = source.georeference.transform
    if _is_upright(own) and _sameness(grid.crs)(_tie_crs(source).srs):
        # a small difference in size adds up over the pixels of the map
        drift = max(
            abs(own.a / across - 1) * source.width, abs(own.e / transform.e - 1) * source.height
        )
        row, col = (transform.f - high_y) / down, (low_x - transform.c) / across
        off = max(abs(row - round(row)), abs(col - round(col)))
        if drift + off < _SLACK_PX:
            corner = round(row), round(col)
            rows = corner[0], corner[0] + source.height
            cols = corner[1], corner[1] + source.width
    return Placed(source, rows, cols, corner)
