"""Parts of scenes: what remains of a scene in one split of a dataset.

A part is a scene like any other, with the transform and size of its rectangle of pixels, but reads
from the whole image. A pixel belongs to a part if its centre lies inside the part's geometry, so
parts that only share a border share no pixels. Pixels of the rectangle outside the geometry are
hidden: 0 in images and 255 in masks, as if the scene ended there.
"""

import dataclasses
import math

import numpy as np
import shapely
from affine import Affine
from jaxtyping import Bool, Float64
from pyproj import CRS
from pyproj.exceptions import ProjError
from rasterio.features import geometry_mask

from crossearth.datasets.scene import Part, Scene
from crossearth.errors import ConfigError, SceneNotFoundError
from crossearth.geometry import Window, scaled_start
from crossearth.rasters import nearest_turn, resampled, scaled, transformer_between, turn_of
from crossearth.rasters.georeference import PixelsToGround, apply_affine

__all__ = [
    'cut_scene',
    'footprint_of',
    'hidden_pixels',
    'in_image',
    'resampled_scene',
    'scaled_scene',
    'to_pixels',
]

_MARGIN_PX = 1e-3  # width of a border that belongs to neither side: far above rounding noise
# Borders on whole and half pixels stay clear of the point that decides: a pixel's centre + this.
_TIE_PX = 1 / 361
_SAME_PX = 1e-6
_BEND_PX = 0.05  # tolerated deviation of a border from its true place in another CRS
_EDGE_POINTS = 21
_FITTED_STEPS = 256  # along the longer side, between which control points bend a border little
_MOST_POINTS = 1 << 14


def cut_scene(scene: Scene, geometry: shapely.Geometry, crs: CRS | None) -> Scene | None:
    """The part of a scene that lies in a geometry.

    A border in another CRS is a curve in the scene's pixels. Pixels within 0.05 pixel of it belong
    to neither side.

    Args:
        scene: A georeferenced scene, or a part of one.
        geometry: What to keep.
        crs: CRS of the geometry; None for that of the scene.

    Returns:
        The part, or None if the geometry contains no pixel of the scene.
    """
    before = Part(0, 0, scene.height, scene.width) if scene.part is None else scene.part
    frame = before.area or shapely.box(
        before.col, before.row, before.col + before.width, before.row + before.height
    )
    area, bend = _in_pixels(geometry, dataclasses.replace(scene, part=None), crs)
    area = shapely.intersection(area, frame)
    if area.is_empty:
        return None
    left, top, right, bottom = shapely.bounds(area)
    margin = _MARGIN_PX + bend
    kept = None
    if not _is_rectangle(area):
        kept = shapely.buffer(area, -margin, join_style='mitre')
        if kept.is_empty:
            return None
        # prepared, because `hidden_pixels` asks about it for every window
        shapely.prepare(kept)
    first_row, stop_row = _pixels_between(top, bottom, margin)
    first_col, stop_col = _pixels_between(left, right, margin)
    if stop_row <= first_row or stop_col <= first_col:
        return None
    part = Part(first_row, first_col, stop_row - first_row, stop_col - first_col, kept)
    return dataclasses.replace(scene, part=part)


def resampled_scene(scene: Scene, gsd_m: float) -> Scene:
    """A scene in square pixels on the ground, see `resampled`; for a part, the same part of it.

    Raises:
        ConfigError: If it cannot be resampled.
        SceneNotFoundError: If no pixel of that size has its centre in the part.
    """
    raster = resampled(scene.raster, gsd_m)
    whole = dataclasses.replace(scene, raster=raster, part=None)
    if scene.part is None or raster is scene.raster:
        return dataclasses.replace(scene, raster=raster)
    if scene.crs is None and raster.crs is not None:
        part = cut_scene(whole, _fitted_footprint(scene, raster.crs), None)
    else:
        part = cut_scene(whole, footprint_of(scene, None), scene.crs)
    if part is None:
        raise SceneNotFoundError(
            f'{scene.image}: no pixel of {gsd_m:g} m has its centre in the part that remains after '
            'a split: choose finer pixels, or leave it out'
        )
    return part


def scaled_scene(scene: Scene, row_step: float, col_step: float) -> Scene:
    """A scene in larger or smaller pixels along its own axes, see `scaled`; for a part, its part.

    A pixel belongs to the part if its centre lies in it.
    """
    raster, part = scaled(scene.raster, (row_step, col_step)), scene.part
    if part is None:
        return dataclasses.replace(scene, raster=raster)
    ends = (part.row, part.row + part.height), (part.col, part.col + part.width)
    rows, cols = (
        [int(scaled_start(end, step)) for end in both]
        for both, step in zip(ends, (row_step, col_step), strict=True)
    )
    area = part.area
    if area is not None:
        area = shapely.transform(area, lambda points: points / (col_step, row_step))
    placed = Part(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0], area)
    return dataclasses.replace(scene, raster=raster, part=placed)


def in_image(scene: Scene, window: Window) -> Window:
    """A window of a scene, in pixel coordinates of its image."""
    part = scene.part
    if part is None:
        return window
    row, col = window.row + part.row, window.col + part.col
    return Window(window.scene, row, col, window.height, window.width)


def hidden_pixels(scene: Scene, window: Window) -> Bool[np.ndarray, 'h w'] | None:
    """Which pixels of a window lie outside of a scene or part; None if none do."""
    inside = window.inside(scene.height, scene.width)
    if scene.part is None or scene.part.area is None:
        if inside:
            return None
        hidden = np.ones((window.height, window.width), bool)
        bottom, right = window.stop
        rows = slice(max(-window.row, 0), window.height - max(bottom - scene.height, 0))
        cols = slice(max(-window.col, 0), window.width - max(right - scene.width, 0))
        hidden[rows, cols] = False
        return hidden
    row, col = window.row + scene.part.row, window.col + scene.part.col
    box = shapely.box(col, row, col + window.width + 2 * _TIE_PX, row + window.height + 2 * _TIE_PX)
    if inside and shapely.covers(scene.part.area, box):
        return None
    place = Affine.translation(col + _TIE_PX, row + _TIE_PX)
    outside: Bool[np.ndarray, 'h w'] = geometry_mask(
        [scene.part.area], (window.height, window.width), place
    )
    return outside


def footprint_of(scene: Scene, crs: CRS | None) -> shapely.Geometry:
    """The ground that a scene covers, in a CRS; None for its own CRS.

    A scene without a transform lies where control points or rational polynomials place it.

    Raises:
        ConfigError: If there is no transformation from the CRS of the scene to the other.
    """
    if crs is not None and scene.crs is None and scene.raster.georeference.tie is not None:
        return _fitted_footprint(scene, crs)
    if scene.part is None or scene.part.area is None:
        corners = [(0, 0), (scene.width, 0), (scene.width, scene.height), (0, scene.height)]
        outline: shapely.Geometry = shapely.Polygon(corners)
        transform = scene.transform
    else:
        outline, transform = scene.part.area, scene.raster.transform
    if crs is None or scene.crs is None or scene.crs == crs:
        return shapely.transform(outline, lambda points: _apply(transform, points))
    # Straight edges become curves in other CRSs.
    outline = shapely.segmentize(outline, max(scene.width, scene.height) / (_EDGE_POINTS - 1))
    try:
        transformer = transformer_between(scene.crs, crs)
    except ProjError as error:
        raise ConfigError(
            f'{scene.image}: there is no transformation from its CRS to that of the dataset, '
            f'{crs.name} ({error}): read it in another dataset'
        ) from error

    def move(points: Float64[np.ndarray, 'n 2']) -> Float64[np.ndarray, 'n 2']:
        xs, ys = transformer.transform(*_apply(transform, points).T)
        # A footprint continues across the antimeridian.
        return np.stack([nearest_turn(np.asarray(xs), xs[0], turn=turn_of(crs)), ys], axis=1)

    return shapely.transform(outline, move)


def _fitted_footprint(scene: Scene, crs: CRS) -> shapely.Geometry:
    """The ground that a scene covers, in a CRS, by control points or rational polynomials."""
    raster = scene.raster.native or scene.raster
    part = scene.part or Part(0, 0, raster.height, raster.width)
    frame = shapely.box(part.col, part.row, part.col + part.width, part.row + part.height)
    outline = frame if part.area is None else part.area
    # steps of the whole scene, so that neighbouring parts share the points of their border
    step = max(raster.height, raster.width) / _FITTED_STEPS
    to_ground = PixelsToGround(raster.georeference, crs, name=str(scene.image))

    def move(points: Float64[np.ndarray, 'n 2']) -> Float64[np.ndarray, 'n 2']:
        return np.stack(to_ground(*points.T), axis=1)

    return shapely.transform(shapely.segmentize(outline, step), move)


def to_pixels(
    points_xy: Float64[np.ndarray, 'n 2'], scene: Scene, crs: CRS | None
) -> Float64[np.ndarray, 'n 2']:
    """Columns and rows, from pixel corners, of places in a CRS; None for the scene's own CRS."""
    if scene.crs is not None and crs is not None and scene.crs != crs:
        transformer = transformer_between(crs, scene.crs)
        xs, ys = transformer.transform(*points_xy.T)
        middle, _ = scene.transform @ (scene.width / 2, scene.height / 2)
        points_xy = np.stack([nearest_turn(xs, middle, turn=turn_of(scene.crs)), ys], axis=1)
    return _apply(~scene.transform, points_xy)


def _in_pixels(
    geometry: shapely.Geometry, scene: Scene, crs: CRS | None
) -> tuple[shapely.Geometry, float]:
    """A geometry in the pixels of a scene, and how far its borders may deviate."""

    def move(points: Float64[np.ndarray, 'n 2']) -> Float64[np.ndarray, 'n 2']:
        return to_pixels(points, scene, crs)

    if crs is None or scene.crs == crs:
        return shapely.transform(geometry, move), 0.0
    left, bottom, right, top = shapely.bounds(geometry)
    step = max(right - left, top - bottom)
    while True:
        dense = shapely.segmentize(geometry, step)
        moved = shapely.transform(dense, move)
        finer = shapely.transform(shapely.segmentize(geometry, step / 2), move)
        points = np.asarray(shapely.points(shapely.get_coordinates(finer)), object)
        border = shapely.boundary(moved)
        # Halving the step divides the error by four, so the remaining error is less than measured.
        if shapely.distance(points, border).max() <= _BEND_PX / 2:
            return finer, _BEND_PX
        step /= 2
        if len(points) > _MOST_POINTS:
            raise ConfigError(
                f'{scene.image}: a border of the split bends too much in its CRS, '
                f'{scene.crs and scene.crs.name}: split in the CRS of the scenes'
            )


def _is_rectangle(area: shapely.Geometry) -> bool:
    """Whether a polygon is the rectangle of its bounds."""
    if not isinstance(area, shapely.Polygon) or len(area.interiors):
        return False
    points = shapely.get_coordinates(area)
    low, high = points.min(axis=0), points.max(axis=0)
    at_low, at_high = np.abs(points - low) < _SAME_PX, np.abs(points - high) < _SAME_PX
    on_edge = at_low | at_high
    corners = {(bool(x), bool(y)) for x, y in at_high[on_edge.all(axis=1)]}
    return bool(on_edge.any(axis=1).all()) and len(corners) == 4


def _pixels_between(low: float, high: float, margin: float) -> tuple[int, int]:
    """First and end (exclusive) of the pixels whose centres lie between two borders."""
    first = math.floor(low + margin - 0.5 - _TIE_PX) + 1
    return first, math.ceil(high - margin - 0.5 - _TIE_PX)


def _apply(transform: Affine, points: Float64[np.ndarray, 'n 2']) -> Float64[np.ndarray, 'n 2']:
    return np.stack(apply_affine(transform, *points.T), axis=1)
