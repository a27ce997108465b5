"""Labels drawn as polygons or lines, burned into the windows that are read."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import fiona
import numpy as np
import shapely
from affine import Affine
from fiona.errors import FionaError
from jaxtyping import UInt8
from pyproj import CRS, Transformer
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from crossearth.datasets.ground import local_metric_crs
from crossearth.errors import ConfigError, LabelError, SceneError, SceneNotFoundError

__all__ = ['VectorLabels']

_LONGEST_SEGMENT_M = 1000.0  # a straight edge is a curve in another CRS


@dataclass(frozen=True, slots=True)
class VectorLabels:
    """Features of a vector file as labels of a scene.

    Any format that fiona reads and any CRS: features are brought into the scene's own grid, so a
    mask is exact at whatever resolution its image is read. Where features overlap, the later one
    in the file wins; a pixel belongs to a feature if its centre does.

    Args:
        path: GeoPackage, GeoJSON, Shapefile or another format of OGR.
        class_id: Class of the features, where all are of one.
        attribute: Field that tells their class, together with `classes`.
        classes: Value of the field → class id, or 255 to ignore; other values are errors.
        background: Class of pixels that no feature covers; 255 to ignore them.
        line_width_m: Width that lines are drawn with, in metres on the ground.
        layer: Layer of the file; None for the first.
        crs: CRS of a file that names none.

    Raises:
        ConfigError: If only one of `attribute` and `classes` is given, or the width is not
            positive.

    Example:
        >>> VectorLabels('roads.gpkg', line_width_m=7.0).background
        0
    """

    path: str | os.PathLike[str]
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
                'attribute names the field and classes the id of each of its values: give both, '
                'or neither and class_id'
            )
        if self.line_width_m is not None and not self.line_width_m > 0:
            raise ConfigError(f'line_width_m is {self.line_width_m}: expected metres, more than 0')

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
            SceneError: If it is no vector file, or has no such layer.
            LabelError: If a feature is a point, a line without a width, or of an unknown class.
        """
        if crs is None:
            raise ConfigError(
                f'{os.fspath(self.path)}: its image has no CRS, so nothing says where the features '
                "lie: pass crs='EPSG:...' if its coordinates are known"
            )
        shapes = _features(_Frozen(self), crs.to_wkt())
        ids = np.full((height, width), self.background, np.uint8)
        corners = np.array(
            [transform @ c for c in ((0, 0), (width, 0), (width, height), (0, height))]
        )
        touched = sorted(shapes.tree.query(shapely.Polygon(corners), predicate='intersects'))
        if touched:
            rasterize(
                ((shapes.tree.geometries[i], shapes.ids[i]) for i in touched),
                out=ids,
                transform=transform,
            )
        return ids


class _Frozen:
    """A key for the cache of features: labels are equal if they are one object's equal copy."""

    def __init__(self, labels: VectorLabels) -> None:
        self.labels = labels
        classes = None if labels.classes is None else tuple(sorted(labels.classes.items(), key=str))
        self._key = (
            os.fspath(labels.path), labels.class_id, labels.attribute, classes,
            labels.line_width_m, labels.layer, labels.crs,
        )  # fmt: skip

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and other._key == self._key


@dataclass(frozen=True, slots=True)
class _Features:
    tree: shapely.STRtree
    ids: list[int]


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
                raise ConfigError(f"{name}: names no CRS; pass crs='EPSG:...', the one it is in")
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
    return _Features(shapely.STRtree(_project(drawn, own_crs, crs)), ids)


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
        raise LabelError(f'{name}: holds lines; pass line_width_m, the width they are drawn with')
    to_degrees = Transformer.from_crs(crs, CRS.from_epsg(4326), always_xy=True)
    middle = geometry.centroid
    lon, lat = to_degrees.transform(middle.x, middle.y)
    metric = local_metric_crs(lon, lat)
    (line,) = _project([geometry], crs, metric)
    (area,) = _project([line.buffer(labels.line_width_m / 2)], metric, crs)
    return area


def _project(geometries: list[BaseGeometry], own: CRS, other: CRS) -> list[BaseGeometry]:
    if own == other:
        return geometries
    transformer = Transformer.from_crs(own, other, always_xy=True)
    step = _LONGEST_SEGMENT_M / own.axis_info[0].unit_conversion_factor
    if own.is_geographic:
        step = _LONGEST_SEGMENT_M / 111_000

    def move(points: np.ndarray) -> np.ndarray:
        return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)

    return [
        shapely.transform(shapely.segmentize(shapely.force_2d(geometry), step), move)
        for geometry in geometries
    ]
