"""Cuts shapes in degrees at the antimeridian, as GeoJSON requires."""

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray

from crossearth.rasters import nearest_turn

__all__ = ['in_one_turn']


def in_one_turn(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shapes in degrees, cut where they cross the antimeridian, as RFC 7946, 3.1.9, requires."""
    bounds = shapely.bounds(shapes)
    # longitudes that jump from 180 to -180 make a small shape look wider than half a turn
    wide = bounds[:, 2] - bounds[:, 0] > 180
    beyond = (bounds[:, 0] < -180) | (bounds[:, 2] > 180)
    shapes = shapes.copy()
    for index in np.flatnonzero(wide | beyond):
        shape = shapes[index]
        first = shapely.get_coordinates(shape)[0, 0]

        def next_to_first(at: NDArray[np.float64], first: float = first) -> NDArray[np.float64]:
            return np.stack([nearest_turn(at[:, 0], first, turn=360.0), at[:, 1]], 1)

        whole = shapely.transform(shape, next_to_first) if wide[index] else shape
        if not whole.is_valid:
            continue  # it encloses a pole, so it has no closed outline in degrees
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
        several = (
            shapely.MultiPolygon if isinstance(shape, shapely.Polygon) else shapely.MultiLineString
        )
        shapes[index] = parts[0] if len(parts) == 1 else several(parts)
    return shapes
