"""Gives outlines of buildings right angles."""

from collections.abc import Iterator

import numpy as np
import shapely
import shapely.affinity
from jaxtyping import Float64

__all__ = ['BENDS', 'square_corners']

BENDS = 3
"""Bends smaller than the tolerance divided by this do not count as corners."""

_FEWEST = 4  # edges of an outline with right angles


def square_corners(polygon: shapely.Polygon, *, tolerance: float) -> shapely.Polygon | None:
    """An outline near that of a building, whose corners are all right angles.

    First, bends below a third of the tolerance are removed from the outline, which leaves its
    walls. Each wall is turned to the building's direction or across it, whichever is nearer. Walls
    shorter than the tolerance are removed, and their two neighbours become one wall that keeps the
    area. Then all walls move in or out by the same small distance, until the area is that of the
    polygon. Two directions are tried: the mean of the walls, and that of the smallest rectangle
    around them. The outline that covers the polygon best is returned. Holes are treated the same
    way. The result is rejected if it needs more than twice the corners of the outline without bends
    below the tolerance, such as stairs around a round tower.

    Args:
        polygon: Outline in metres.
        tolerance: How far the outline may move, in metres.

    Returns:
        A valid polygon with the same number of holes and the same area to a thousandth, nowhere
        further from the outline than the tolerance. None if there is no such polygon, as for round
        buildings.

    Source:
        The mean direction of walls modulo 90° follows Duchêne et al. (2003), "Quantitative and
        qualitative description of building orientation". Removing edges while their neighbours keep
        the area follows the edge moves of Buchin et al. (2016), "Area-preserving simplification and
        schematization of polygonal subdivisions", along one direction and across it.

    Example:
        >>> bitten = shapely.Polygon([(0, 0), (10, 0), (10, 6), (9.5, 6), (9.5, 6.5), (0, 6.5)])
        >>> made = square_corners(bitten, tolerance=1)
        >>> len(made.exterior.coords) - 1, round(made.area, 2) == bitten.area
        (4, True)
    """
    walls, coarse = polygon.simplify(tolerance / BENDS), polygon.simplify(tolerance)
    # the result is one polygon, because the simplification preserves the topology
    assert isinstance(walls, shapely.Polygon)
    assert isinstance(coarse, shapely.Polygon)
    most_corners = 2 * (len(coarse.exterior.coords) - 1)
    best, least = None, np.inf
    # no wall may move by more than the tolerance, outwards or inwards
    near, inside = polygon.buffer(tolerance), polygon.buffer(-tolerance)
    for degrees in _directions(walls):
        turned = shapely.affinity.rotate(walls, -degrees, origin=(0, 0))
        rings = [_right_angled(shapely.get_coordinates(turned.exterior), tolerance)]
        rings += [_hole(ring, tolerance) for ring in turned.interiors]
        outline, *holes = rings
        if outline is None:
            continue
        made = _with_area(shapely.Polygon(outline, holes), polygon.area)
        if made is None or len(made.interiors) != len(polygon.interiors):
            continue
        if len(made.exterior.coords) - 1 > most_corners:
            continue
        made = shapely.affinity.rotate(made, degrees, origin=(0, 0))
        if not (made.is_valid and near.covers(made) and made.covers(inside)):
            continue
        missed = polygon.symmetric_difference(made).area
        if missed < least:
            best, least = made, missed
    return best


def _directions(walls: shapely.Polygon) -> Iterator[float]:
    """Directions that a building may have, in degrees."""
    steps = np.diff(shapely.get_coordinates(walls.exterior), axis=0)
    lengths, angles = np.hypot(*steps.T), np.arctan2(steps[:, 1], steps[:, 0])
    # four times the angle is the same for walls that are parallel or at right angles
    yield float(np.degrees(np.angle((lengths * np.exp(4j * angles)).sum()) / 4))
    (x0, y0), (x1, y1) = shapely.get_coordinates(shapely.minimum_rotated_rectangle(walls))[:2]
    yield float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))


def _hole(ring: shapely.LinearRing, tolerance: float) -> Float64[np.ndarray, 'n 2']:
    corners = shapely.get_coordinates(ring)
    made = _right_angled(corners, tolerance)
    return corners if made is None else made


def _right_angled(
    corners: Float64[np.ndarray, 'n 2'], tolerance: float
) -> Float64[np.ndarray, 'm 2'] | None:
    """A ring whose edges run along the axes; None if nothing is left of it.

    Edges alternate between the axes. So one number defines an edge, the x or y at which it lies,
    and its length is the distance between its two neighbours.
    """
    places = _places(corners)
    while len(places) >= _FEWEST:
        spans = np.roll(places, -1) - np.roll(places, 1)
        shortest = int(np.abs(spans).argmin())
        if abs(spans[shortest]) >= tolerance:
            break
        if len(places) == _FEWEST:
            return None
        places = _without(places, spans, shortest)
    if len(places) < _FEWEST:
        return None
    # the first edge lies at an x
    x, y = places[::2], places[1::2]
    return np.stack([np.repeat(x, 2), np.roll(np.repeat(y, 2), 1)], 1)


def _places(corners: Float64[np.ndarray, 'n 2']) -> Float64[np.ndarray, ' m']:
    """Where runs of edges lie: in x for edges that go mainly along y, in y for the others.

    A run is placed so that the area between it and the axis stays the same.
    """
    steps = np.diff(corners, axis=0)
    along_x = np.abs(steps[:, 0]) >= np.abs(steps[:, 1])
    if along_x.all() or not along_x.any():
        return np.empty(0)
    # begin where a run of edges across x begins
    begin = int(np.flatnonzero(~along_x & np.roll(along_x, 1))[0])
    steps, along_x = np.roll(steps, -begin, 0), np.roll(along_x, -begin)
    middles = np.roll((corners[:-1] + corners[1:]) / 2, -begin, 0)
    places = []
    for run in np.split(np.arange(len(steps)), np.flatnonzero(np.diff(along_x)) + 1):
        axis = int(along_x[run[0]])  # a run along x is placed by its y
        lengths, at = steps[run, 1 - axis], middles[run, axis]
        # steps of a run that turns back cancel, and weights that add up to 0 have no average
        same_way = abs(lengths.sum()) > np.abs(lengths).sum() / 2
        places.append(np.average(at, weights=lengths if same_way else np.abs(lengths)))
    return np.array(places)


def _without(
    places: Float64[np.ndarray, ' n'], spans: Float64[np.ndarray, ' n'], index: int
) -> Float64[np.ndarray, ' m']:
    """Remove one edge: its neighbours become a single edge, which keeps the area."""
    number = len(places)
    before, after = (index - 1) % number, (index + 1) % number
    one, other = spans[before], spans[after]
    if one * other > 0:
        joined = (one * places[before] + other * places[after]) / (one + other)
    else:  # a spike or a notch, where the longer one stays
        joined = places[before] if abs(one) > abs(other) else places[after]
    places = places.copy()
    places[before] = places[after] = joined
    # the ring still begins with an edge at an x
    return np.delete(places, [before, index] if after == 0 else [index, after])


def _with_area(polygon: shapely.Polygon, area: float) -> shapely.Polygon | None:
    """A polygon with the given area, made by moving all edges by the same distance."""
    # distance × length is the change of area only to first order, hence the repeats
    for _ in range(3):
        if not isinstance(polygon, shapely.Polygon) or polygon.is_empty or not polygon.is_valid:
            return None
        if abs(polygon.area - area) <= 1e-4 * area:
            return polygon
        polygon = polygon.buffer((area - polygon.area) / polygon.length, join_style='mitre')
    kept = isinstance(polygon, shapely.Polygon) and abs(polygon.area - area) <= 1e-3 * area
    return polygon if kept else None
