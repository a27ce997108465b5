"""Cuts shapes in degrees at the antimeridian, as GeoJSON requires."""

from itertools import pairwise

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray

from crossearth.rasters import nearest_turn

__all__ = ['in_one_turn']


def in_one_turn(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shapes in degrees, cut where they cross the antimeridian, as RFC 7946, 3.1.9, requires.

    Args:
        shapes: Polygons or lines whose points are less than half a turn from the next.
    """
    bounds = shapely.bounds(shapes)
    # longitudes that jump from 180 to -180 make a small shape look wider than half a turn
    wide = bounds[:, 2] - bounds[:, 0] > 180
    beyond = (bounds[:, 0] < -180) | (bounds[:, 2] > 180)
    shapes = shapes.copy()
    for index in np.flatnonzero(wide | beyond):
        shape = shapes[index]
        whole = _unwrapped(shape)
        if whole is None or not shapely.is_valid(whole):
            continue  # it encloses a pole, so it has no closed outline in degrees
        low, _, high, _ = shapely.bounds(whole)
        if low >= -180 and high <= 180:
            continue
        world = shapely.box(-180, -90, 180, 90)
        cut = [
            shapely.intersection(shapely.affinity.translate(whole, turn), world)
            for turn in (-360, 0, 360)
        ]
        # an intersection also gives points and lines where a shape only touches the antimeridian
        parts = [
            part
            for part in shapely.get_parts(cut)
            if isinstance(part, type(shape)) and not part.is_empty
        ]
        if isinstance(shape, shapely.Polygon):
            # the parts of a polygon around the globe meet again on its other side
            shapes[index] = shapely.union_all(parts)
        else:
            shapes[index] = parts[0] if len(parts) == 1 else shapely.MultiLineString(parts)
    return shapes


def _unwrapped(shape: shapely.Geometry) -> shapely.Geometry | None:
    """A shape whose longitudes do not jump; None if a ring goes around a pole."""
    kind, at, (parts, *outer) = shapely.to_ragged_array([shape], include_z=False)
    middle = None
    for first, stop in pairwise(parts):
        lon = np.unwrap(at[first:stop, 0], period=360.0)
        if isinstance(shape, shapely.Polygon) and abs(lon[-1] - lon[0]) > 180:
            return None
        own = (lon.min() + lon.max()) / 2
        middle = own if middle is None else middle
        # holes belong on the turn of their outline
        at[first:stop, 0] = lon + nearest_turn(np.array([own]), middle, turn=360.0) - own
    whole: shapely.Geometry = shapely.from_ragged_array(kind, at, (parts, *outer))[0]
    return whole
