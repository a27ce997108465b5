"""Labels drawn as polygons or lines, burned into the windows that are read."""

import contextlib
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import fiona
import numpy as np
import shapely
from affine import Affine
from fiona.errors import FionaError
from jaxtyping import UInt8
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.features import rasterize
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from crossearth.errors import ConfigError, LabelError, SceneError, SceneNotFoundError
from crossearth.labels import IGNORE_INDEX
from crossearth.rasters.georeference import transformer_between
from crossearth.rasters.globe import nearest_turn, turn_of
from crossearth.rasters.ground_grid import local_metric_crs

__all__ = ['VectorLabels']

_LONGEST_SEGMENT_M = 1000.0  # a longer straight edge is a visible curve in another CRS


@dataclass(frozen=True, slots=True)
class VectorLabels:
    """Features of a vector file as labels of a scene.

    Any format that fiona reads and any CRS can be used. Features are transformed to the scene's own
    grid, so a mask is exact at whatever resolution its image is read. Where features overlap, the
    later one in the file wins. A pixel belongs to a feature if its centre does.

    Args:
        path: GeoPackage, GeoJSON, Shapefile or another format of OGR.
        class_id: Class of the features, if all have the same.
        attribute: Field that states their class, together with `classes`.
        classes: Value of the field → class id, or 255 to ignore; other values are errors.
        background: Class of pixels that no feature covers; 255 to ignore them.
        line_width_m: Width that lines are drawn with, in metres on the ground.
        layer: Layer of the file; None for the first.
        crs: CRS of a file that names none.

    Raises:
        ConfigError: If only one of `attribute` and `classes` is given, the width is not positive,
            or `crs` is not a CRS.
        LabelError: If a class is not a whole number from 0 to 255.

    Example:
        >>> VectorLabels('roads.gpkg', line_width_m=7.0).background
        0
    """

    path: str | Path
    class_id: int = 1
    attribute: str | None = None
    classes: Mapping[str | int, int] | None = None
    background: int = 0
    line_width_m: float | None = None
    layer: str | None = None
    crs: str | None = None

    def __post_init__(self) -> None:
        if (self.attribute is None) != (self.classes is None):
            raise ConfigError(
                'only one of attribute (the field) and classes (the id of each of its values) is '
                'given: pass both, or neither and class_id'
            )
        if self.line_width_m is not None and not self.line_width_m > 0:
            raise ConfigError(f'line_width_m is {self.line_width_m}: expected metres, more than 0')
        wrong = [i for i in self.ids if i not in range(IGNORE_INDEX + 1)]
        if wrong:
            raise LabelError(f'class ids {wrong} are out of range: expected 0 to {IGNORE_INDEX}')
        if self.crs is not None:
            try:
                CRS.from_user_input(self.crs)
            except CRSError as error:
                raise ConfigError(
                    f"crs={self.crs!r} is not a CRS: expected one such as 'EPSG:4326'"
                ) from error

    @property
    def ids(self) -> list[int]:
        """Every id that a mask may hold, with 255 if something is ignored."""
        drawn = [self.class_id] if self.classes is None else self.classes.values()
        return sorted({self.background, *drawn})

    def burn(
        self, crs: CRS | None, transform: Affine, *, height: int, width: int
    ) -> UInt8[np.ndarray, 'h w']:
        """Class ids of a grid.

        Args:
            crs: CRS of the grid.
            transform: `(col, row)` → `(x, y)` of the grid.
            height: Rows.
            width: Columns.

        Raises:
            ConfigError: If the grid or the file has no CRS.
            SceneNotFoundError: If the file is missing.
            SceneError: If it is not a vector file, or has no such layer.
            LabelError: If a feature is a point, a line without a width, or of an unknown class, or
                the file has no such field.
        """
        if crs is None:
            raise ConfigError(
                f'{os.fspath(self.path)}: its image has no CRS, so the place of the features is '
                "not known: pass crs='EPSG:...' if the coordinates of the image are known"
            )
        shapes = _features(_Frozen(self), crs.to_wkt())
        ids = np.full((height, width), self.background, np.uint8)
        corners = np.array(
            [transform @ c for c in ((0, 0), (width, 0), (width, height), (0, height))]
        )
        turn = turn_of(crs)
        # a grid may continue across the antimeridian, or count longitudes from 0 to 360
        drawn: list[tuple[int, BaseGeometry]] = []
        for shift in (0.0,) if turn is None else (-turn, 0.0, turn):
            here = shapely.Polygon(corners - (shift, 0))
            found = {i: shapes.tree.geometries[i] for i in shapes.tree.query(here, 'intersects')}
            found |= _near(shapes, here, crs)
            drawn += [(i, translate(shape, shift)) for i, shape in found.items()]
        if drawn:
            # in the order of the file, because later features win
            drawn.sort(key=itemgetter(0))
            rasterize(((shape, shapes.ids[i]) for i, shape in drawn), out=ids, transform=transform)
        return ids


class _Frozen:
    """A key for the cache of features; two keys are equal if their labels have equal values."""

    def __init__(self, labels: VectorLabels) -> None:
        self.labels = labels
        classes = None if labels.classes is None else tuple(sorted(labels.classes.items(), key=str))
        # with the time stamp, so that a changed file is read again
        self._key = (
            os.fspath(labels.path), labels.class_id, labels.attribute, classes,
            labels.line_width_m, labels.layer, labels.crs, _stamp(os.fspath(labels.path)),
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and other._key == self._key


@dataclass(frozen=True, slots=True)
class _Features:
    """Features in the CRS of a grid; those too large for that CRS stay in their own."""

    tree: shapely.STRtree
    ids: list[int]
    far: dict[int, BaseGeometry]
    own: CRS


def _stamp(name: str) -> tuple[int, ...]:
    """Numbers that change with a file, and with the attributes next to a Shapefile."""
    parts = []
    for path in (name, f'{name.removesuffix(".shp")}.dbf'):
        with contextlib.suppress(OSError):
            about = os.stat(path)  # noqa: PTH116  # asked once a window
            parts += [about.st_size, about.st_mtime_ns]
    return tuple(parts)


@functools.lru_cache(maxsize=64)
def _features(key: _Frozen, wkt: str) -> _Features:
    """The features of a file in one CRS, ready to be looked up by place."""
    labels = key.labels
    name = os.fspath(labels.path)
    geometries, ids = [], []
    try:
        with fiona.open(labels.path, layer=labels.layer) as source:
            own = source.crs_wkt or labels.crs
            if not own:
                raise ConfigError(f"{name}: names no CRS; pass crs='EPSG:...', its CRS")
            fields = list(source.schema['properties'])
            if labels.attribute is not None and labels.attribute not in fields:
                raise LabelError(
                    f'{name}: has no field {labels.attribute!r}, expected one of {fields}'
                )
            for feature in source:
                if feature.geometry is None:
                    continue
                geometries.append(shapely.geometry.shape(feature.geometry))
                ids.append(_class_of(labels, name, feature))
    except (FionaError, ValueError) as error:
        if isinstance(error, ConfigError | LabelError):
            raise
        if not Path(name).exists():
            raise SceneNotFoundError(f'{name}: no such file; check the path') from error
        raise SceneError(
            f'{name}: no vectors to read there ({error}); expected GeoPackage, GeoJSON, Shapefile '
            'or another format of OGR, and one of its layers'
        ) from error
    own_crs, crs = CRS.from_user_input(own), CRS.from_wkt(wkt)
    drawn = [_as_area(labels, name, geometry, own_crs) for geometry in geometries]
    moved = _project(drawn, own_crs, crs, joined=True)
    turn = turn_of(own_crs)
    far = {}
    for i, (geometry, there) in enumerate(zip(drawn, moved, strict=True)):
        left, _, right, _ = geometry.bounds if not geometry.is_empty else (0.0,) * 4
        wide = turn is not None and own_crs != crs and right - left > turn / 6
        if wide or not np.isfinite(shapely.get_coordinates(there)).all():
            # an empty polygon keeps the index of every other feature
            far[i], moved[i] = shapely.make_valid(geometry), shapely.Polygon()
    return _Features(shapely.STRtree(moved), ids, far, own_crs)


def _near(shapes: _Features, here: shapely.Polygon, crs: CRS) -> dict[int, BaseGeometry]:
    """The parts of large features around a window, in its CRS.

    A continent cannot be shown in a UTM zone, but the part of it around a window can.
    """
    if not shapes.far:
        return {}
    # straight edges of the window are curves in the CRS of the features
    ring = shapely.segmentize(here.exterior, here.exterior.length / 64)
    (around,) = _project([shapely.Polygon(ring)], crs, shapes.own)
    if not np.isfinite(shapely.get_coordinates(around)).all():
        return {}
    left, low, right, high = around.bounds
    x, y = (right - left) / 10, (high - low) / 10
    parts = {
        i: shapely.clip_by_rect(geometry, left - x, low - y, right + x, high + y)
        for i, geometry in shapes.far.items()
    }
    kept = {i: part for i, part in parts.items() if not part.is_empty and part.area > 0}
    return dict(zip(kept, _project(list(kept.values()), shapes.own, crs), strict=True))


def _class_of(labels: VectorLabels, name: str, feature: fiona.Feature) -> int:
    if labels.attribute is None or labels.classes is None:
        return labels.class_id
    value = feature.properties.get(labels.attribute)
    if value not in labels.classes:
        raise LabelError(
            f'{name}: a feature has {labels.attribute}={value!r}, expected one of '
            f'{list(labels.classes)}: add it to classes, with 255 to ignore it'
        )
    return labels.classes[value]


def _as_area(labels: VectorLabels, name: str, geometry: BaseGeometry, crs: CRS) -> BaseGeometry:
    if geometry.geom_type in ('Polygon', 'MultiPolygon'):
        return geometry
    if geometry.geom_type not in ('LineString', 'MultiLineString'):
        raise LabelError(
            f'{name}: holds a {geometry.geom_type}, expected polygons or lines; buffer points first'
        )
    if labels.line_width_m is None:
        raise LabelError(f'{name}: holds lines; pass line_width_m, the width to draw them with')
    middle = geometry.centroid
    lon, lat = transformer_between(crs, CRS.from_epsg(4326)).transform(middle.x, middle.y)
    metric = local_metric_crs(lon, lat)
    (line,) = _project([geometry], crs, metric)
    (area,) = _project([line.buffer(labels.line_width_m / 2)], metric, crs, joined=True)
    return area


def _project(
    geometries: list[BaseGeometry], own: CRS, other: CRS, *, joined: bool = False
) -> list[BaseGeometry]:
    """Geometries in another CRS; `joined` continues each across the antimeridian."""
    if own == other:
        return geometries
    transformer = transformer_between(own, other)
    turn = turn_of(other) if joined else None
    step = _LONGEST_SEGMENT_M / own.axis_info[0].unit_conversion_factor
    if own.is_geographic:
        step = _LONGEST_SEGMENT_M / 111_000

    def move(points: np.ndarray) -> np.ndarray:
        xs, ys = transformer.transform(points[:, 0], points[:, 1])
        return np.stack([nearest_turn(xs, xs[0], turn=turn) if len(xs) else xs, ys], axis=1)

    return [
        shapely.transform(shapely.segmentize(shapely.force_2d(geometry), step), move)
        for geometry in geometries
    ]
