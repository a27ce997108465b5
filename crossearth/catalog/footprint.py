"""Computes the area that a map covers, in degrees."""

import numpy as np
import shapely
from pyproj import CRS

from crossearth.inference.antimeridian import in_one_turn
from crossearth.rasters import Georeference, GroundToPixels, PixelsToGround

__all__ = ['bbox_of', 'footprint']

_WGS84 = CRS.from_epsg(4326)
_EDGE_POINTS = 17
_DIGITS = 7  # about a centimetre


def footprint(
    georeference: Georeference, *, height: int, width: int, name: str
) -> shapely.Polygon | shapely.MultiPolygon:
    """The outline of a raster in EPSG:4326.

    Edges that are not straight in degrees get points in between. A footprint across the
    antimeridian is cut there, as RFC 7946 requires. One that contains a pole spans all longitudes.

    Args:
        georeference: Georeference of the raster.
        height: Rows.
        width: Columns.
        name: Name of the raster, for messages.

    Raises:
        ConfigError: If the raster has no place on the ground.
    """
    # points in between also tell a map that is wider than half a turn from one across 180 degrees
    steps = np.linspace(0, 1, _EDGE_POINTS)[:-1]
    ones = np.ones_like(steps)
    cols = np.concatenate([steps, ones, 1 - steps, 0 * ones]) * width
    rows = np.concatenate([0 * ones, steps, ones, 1 - steps]) * height
    lon, lat = PixelsToGround(georeference, _WGS84, name=name)(cols, rows)
    lat = np.clip(lat, -90, 90)
    for pole in (90.0, -90.0):
        to_pixels = GroundToPixels(georeference, _WGS84, height=height, width=width, name=name)
        (col,), (row,) = to_pixels(np.array([0.0]), np.array([pole]))
        # in degrees, a pole is an edge of the map, not a point inside it
        if georeference.crs != _WGS84 and 0 < col < width and 0 < row < height:
            reach = float(lat.min() if pole > 0 else lat.max())
            return shapely.box(-180, min(reach, pole), 180, max(reach, pole))
    outline = shapely.Polygon(np.stack([lon, lat], 1).round(_DIGITS))
    cut = in_one_turn(np.array([outline], object))
    if georeference.crs == _WGS84:
        cut = shapely.simplify(cut, 10**-_DIGITS)  # its edges are straight in degrees
    (cut,) = shapely.orient_polygons(cut)
    assert isinstance(cut, shapely.Polygon | shapely.MultiPolygon)
    return cut


def bbox_of(shape: shapely.Polygon | shapely.MultiPolygon) -> list[float]:
    """West, south, east and north; west is greater than east across the antimeridian.

    Example:
        >>> parts = [shapely.box(179, -18, 180, -17), shapely.box(-180, -18, -178, -17)]
        >>> bbox_of(shapely.MultiPolygon(parts))
        [179.0, -18.0, -178.0, -17.0]
    """
    west, south, east, north = shape.bounds
    parts = [part.bounds for part in shapely.get_parts(shape)]
    # RFC 7946, 5.2: across the antimeridian, west is greater than east
    if len(parts) > 1 and west == -180 and east == 180:
        west = min(part[0] for part in parts if part[2] == 180)
        east = max(part[2] for part in parts if part[0] == -180)
    return [float(west), float(south), float(east), float(north)]
