"""Places shapes in pixels of a map on the ground, and measures them there."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyproj
import shapely
from jaxtyping import Float64
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.crs import CRS

from crossearth.errors import ConfigError
from crossearth.inference.antimeridian import in_one_turn
from crossearth.inference.ground_edges import GroundEdges, follow_edges
from crossearth.rasters import Georeference, nearest_turn
from crossearth.rasters.georeference import apply_affine

__all__ = ['GroundShapes', 'as_geojson', 'pixel_size_m']

_WGS84 = 'EPSG:4326'


class GroundShapes:
    """Places shapes of a map on the ground, and measures them on the ellipsoid of its body.

    Args:
        where: CRS and transform of the map.
        to_wgs84: Whether to give coordinates as degrees of EPSG:4326, not in the map's CRS.
        name: Name of the map, for messages.

    Raises:
        ConfigError: If the map has no place on a body, or with `to_wgs84` not on the Earth.
    """

    def __init__(self, where: Georeference, *, to_wgs84: bool, name: str) -> None:
        if where.crs is None or not where.has_transform:
            raise ConfigError(
                f'{name} has no CRS and transform, so its polygons cannot be placed: warp it first'
            )
        crs = pyproj.CRS.from_wkt(where.crs.to_wkt())
        geographic = crs.geodetic_crs
        if geographic is None:
            raise ConfigError(
                f'{name} has the local CRS {crs.name!r}, which is not tied to the ground, so its '
                'polygons have no area: assign the CRS that it really has, with '
                'gdal_edit.py -a_srs'
            )
        self._name = name
        self._affine = where.transform
        # without `always_xy`, PROJ follows the CRS, and EPSG:4326 has latitude first
        self._degrees = pyproj.Transformer.from_crs(crs, geographic, always_xy=True)
        self._geod = crs.get_geod() or pyproj.Geod(ellps='WGS84')
        self._out: pyproj.Transformer | None = None
        self.crs_wkt = where.crs.to_wkt()
        if to_wgs84:
            try:
                self._out = pyproj.Transformer.from_crs(crs, _WGS84, always_xy=True)
            except ProjError as error:
                raise ConfigError(
                    f'{name} has the CRS {crs.name!r}, but GeoJSON needs degrees on the Earth '
                    f'({error}): choose a name that ends in .gpkg or .fgb'
                ) from error
            self.crs_wkt = CRS.from_user_input(_WGS84).to_wkt()

    def polygons(
        self, polygons: Sequence[shapely.Polygon]
    ) -> tuple[NDArray[np.object_], Float64[np.ndarray, ' n']]:
        """Polygons in ground coordinates, with counterclockwise outlines, and their areas in m².

        Args:
            polygons: In pixels, `(col, row)`, from the upper-left corner of the map.
        """
        edges = follow_edges(polygons, self._in_degrees)
        # RFC 7946, 3.1.6, asks for counterclockwise outlines and clockwise holes
        return shapely.orient_polygons(self._written(polygons, edges)), edges.areas(self._geod)

    def lines(
        self, lines: Sequence[shapely.LineString]
    ) -> tuple[NDArray[np.object_], Float64[np.ndarray, ' n']]:
        """Lines in ground coordinates, and their lengths in metres.

        Args:
            lines: In pixels, `(col, row)`, from the upper-left corner of the map.
        """
        edges = follow_edges(lines, self._in_degrees)
        lengths = [
            self._geod.line_length(*edges.at[first:stop, 2:].T)
            for first, stop in pairwise(edges.offsets[0])
        ]
        return self._written(lines, edges), np.array(lengths)

    def frames(self, at: Float64[np.ndarray, 'n 2']) -> Float64[np.ndarray, 'n 2 2']:
        """How many metres east and north one step of a column and of a row is, at given points.

        Args:
            at: Points in pixels, `(col, row)`.

        Returns:
            One matrix per point, with rows (east, north) and columns (column, row).
        """
        steps = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        lon, lat = self._in_degrees((at[None] + steps[:, None]).reshape(-1, 2)).T
        lon, lat = np.reshape(lon, (3, -1)), np.reshape(lat, (3, -1))
        # the step of a pixel may cross the antimeridian
        lon = np.stack([nearest_turn(one, 0.0, turn=360.0) for one in lon - lon[0]])
        east, north = np.radians(lon[1:]), np.radians(lat[1:] - lat[0])
        middle = np.radians(lat[0])
        # radii of curvature: N = a / √(1 − e² sin² φ), M = a (1 − e²) / (1 − e² sin² φ)^1.5
        flat = 1 - self._geod.es * np.sin(middle) ** 2
        across = self._geod.a / np.sqrt(flat) * np.cos(middle)
        along = self._geod.a * (1 - self._geod.es) / flat**1.5
        frames: Float64[np.ndarray, 'n 2 2'] = np.stack([east * across, north * along]).transpose(
            2, 0, 1
        )
        return frames

    def _in_crs(self, at: Float64[np.ndarray, 'n 2']) -> Float64[np.ndarray, 'n 2']:
        return np.stack(apply_affine(self._affine, *at.T), 1)

    def _in_degrees(self, at: Float64[np.ndarray, 'n 2']) -> Float64[np.ndarray, 'n 2']:
        return np.stack(self._degrees.transform(*self._in_crs(at).T), 1)

    def _written(
        self, shapes: Sequence[shapely.Geometry], edges: GroundEdges
    ) -> NDArray[np.object_]:
        out = self._out
        if out is None:
            return np.asarray(shapely.transform(np.array(shapes, object), self._in_crs))
        placed = shapely.transform(
            edges.shapes(), lambda at: np.stack(out.transform(*self._in_crs(at).T), 1)
        )
        if not np.isfinite(shapely.get_coordinates(placed)).all():
            raise ConfigError(
                f'{self._name}: some shapes reach beyond the globe, where GeoJSON has no degrees: '
                'choose a name that ends in .gpkg or .fgb'
            )
        return in_one_turn(placed)


def pixel_size_m(ground: GroundShapes, shape: tuple[int, int]) -> float:
    """Side in metres of a square with the area of the pixel at the middle of a map.

    Args:
        ground: Ground shapes of the map.
        shape: Rows and columns of the map.
    """
    (frame,) = ground.frames(np.array([[shape[1] / 2, shape[0] / 2]]))
    return float(np.sqrt(abs(np.linalg.det(frame))))


def as_geojson(shapes: NDArray[np.object_]) -> Iterator[dict[str, Any]]:
    """Geometries as GeoJSON objects."""
    if any(not isinstance(shape, shapely.Polygon) for shape in shapes):
        yield from map(shapely.geometry.mapping, shapes)
        return
    _, at, (rings, outlines) = shapely.to_ragged_array(list(shapes), include_z=False)
    points = at.tolist()
    for first, stop in pairwise(outlines):
        yield {
            'type': 'Polygon',
            'coordinates': [points[rings[ring] : rings[ring + 1]] for ring in range(first, stop)],
        }
