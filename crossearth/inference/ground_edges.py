"""Follows edges that are straight in a map as curves in degrees, and measures what they enclose.

An edge that is straight in the CRS of a map is curved in degrees. Points are added to it until
straight lines between them are close enough, see `SAG_PX`. Short edges get none.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyproj
import shapely
from jaxtyping import Bool, Float64, Integer
from numpy.typing import NDArray

from crossearth.rasters import nearest_turn

__all__ = ['GroundEdges', 'follow_edges']

SAG_PX = 0.1
"""How far an edge may be from where it belongs, in pixels of the map."""
_SHORT_PX = 4.0  # edges up to this long are nearly straight in any projection
_MOST_STEP = 45.0  # degrees of longitude, far below half a turn, so that the direction is known
_SHORTEST_PX = 0.1  # around a pole, no point is close enough to the next in longitude
_AT_POLE = 1e-9  # degrees

type Places = Float64[np.ndarray, 'n 4']
"""Columns and rows in pixels, longitudes and latitudes in degrees."""


class GroundEdges(NamedTuple):
    """Rings or lines with enough points for their edges to be straight in degrees.

    Args:
        kind: Type of the shapes.
        at: The points, ring by ring.
        middle: The middle of the edge from each point to the next; unused at the end of a ring.
        offsets: Where rings begin, and where shapes begin, as in `shapely.to_ragged_array`.
    """

    kind: shapely.GeometryType
    at: Places
    middle: Places
    offsets: tuple[Integer[np.ndarray, ' k'], ...]

    def shapes(self) -> NDArray[np.object_]:
        """The shapes in pixels, with the added points."""
        return np.asarray(
            shapely.from_ragged_array(self.kind, np.ascontiguousarray(self.at[:, :2]), self.offsets)
        )

    def areas(self, geod: pyproj.Geod) -> Float64[np.ndarray, ' n']:
        """Areas of polygons on an ellipsoid, in m²; NaN with a corner outside the globe."""
        rings, outlines = self.offsets
        areas = np.abs(_ring_areas(self, rings, geod))
        areas[np.setdiff1d(np.arange(len(areas)), outlines[:-1])] *= -1  # holes
        return np.asarray(np.add.reduceat(areas, outlines[:-1]))


def follow_edges(
    shapes: Sequence[shapely.Geometry],
    to_degrees: Callable[[Float64[np.ndarray, 'n 2']], Float64[np.ndarray, 'n 2']],
) -> GroundEdges:
    """Add points to edges until they are straight in degrees, to `SAG_PX`.

    Edges are halved, so neighbours that share an edge also share the added points.

    Args:
        shapes: Polygons or lines in pixels, `(col, row)`.
        to_degrees: Pixels → longitude and latitude.
    """
    kind, points, (parts, *outer) = shapely.to_ragged_array(list(shapes), include_z=False)

    def placed(at: Float64[np.ndarray, 'n 2']) -> Places:
        return np.concatenate([at, to_degrees(at)], 1)

    at = placed(points)
    middle = placed((at[:, :2] + np.roll(at[:, :2], -1, 0)) / 2)
    while True:
        is_edge = np.ones(len(at), bool)
        is_edge[parts[1:] - 1] = False
        halved = np.flatnonzero(is_edge & _is_too_coarse(at, middle))
        if not len(halved):
            return GroundEdges(kind, at, middle, (parts, *outer))
        at = np.insert(at, halved + 1, middle[halved], axis=0)
        middle = np.insert(middle, halved + 1, 0, axis=0)
        parts = parts + np.searchsorted(halved, parts)
        new = halved + 1 + np.arange(len(halved))
        edges = np.concatenate([new - 1, new])
        middle[edges] = placed((at[edges, :2] + at[edges + 1, :2]) / 2)


def _steps(lon: Float64[np.ndarray, ' n'], to: Float64[np.ndarray, ' n']) -> NDArray[np.float64]:
    return nearest_turn(to - lon, 0.0, turn=360.0)


def _is_too_coarse(at: Places, middle: Places) -> Bool[np.ndarray, ' n']:
    """Whether the edge from each point to the next bends, or spans a long way in longitude."""
    after = np.roll(at, -1, 0)
    long_px = np.hypot(*(after[:, :2] - at[:, :2]).T)
    with np.errstate(invalid='ignore', divide='ignore'):  # outside the globe
        first, second = _steps(at[:, 2], middle[:, 2]), _steps(middle[:, 2], after[:, 2])
        shrunk = np.cos(np.radians(middle[:, 3]))
        across, up = (first + second) * shrunk, after[:, 3] - at[:, 3]
        off_across = (first - second) / 2 * shrunk
        off_up = middle[:, 3] - (at[:, 3] + after[:, 3]) / 2
        # distance of the middle from the straight line, relative to the length of the line
        sag = np.abs(off_across * up - off_up * across) / (across**2 + up**2)
        is_wide = np.maximum(np.abs(first), np.abs(second)) > _MOST_STEP
        bends = sag * long_px > SAG_PX
    return np.asarray((bends & (long_px > _SHORT_PX)) | (is_wide & (long_px > _SHORTEST_PX)))


def _ring_areas(
    edges: GroundEdges, rings: Integer[np.ndarray, ' k'], geod: pyproj.Geod
) -> Float64[np.ndarray, ' n']:
    """Areas of rings, signed by their direction, from the integral of (q − q₀) dλ.

    q is the height on an equal-area cylinder, Snyder (1987), equation 3-12. Longitude and q are
    taken as quadratic along an edge, which Simpson's rule integrates exactly. q₀ is that of the
    pole for rings around a pole or through it, whose longitudes jump there.
    """
    at, middle, after = edges.at, edges.middle, np.roll(edges.at, -1, 0)
    starts, ends, numbers = rings[:-1], rings[1:] - 1, np.diff(rings)
    of_ring = np.repeat(np.arange(len(starts)), numbers)
    q, q_middle, q_after = (_equal_area(one[:, 3], geod.es) for one in (at, middle, after))
    with np.errstate(invalid='ignore'):  # outside the globe
        first, second = _steps(at[:, 2], middle[:, 2]), _steps(middle[:, 2], after[:, 2])
        first[ends] = second[ends] = 0.0  # no edge leads from a ring to the next
        turns = np.round(np.add.reduceat(first + second, starts) / 360)
        mean = np.add.reduceat(q, starts) / numbers
        north = np.sign(mean)
        at_pole = at[:, 3] * north[of_ring] > 90 - _AT_POLE
        has_pole = (turns != 0) | np.logical_or.reduceat(at_pole, starts)
        whole = _equal_area(np.array([90.0]), geod.es)[0]
        base = np.where(has_pole, north * whole, mean)[of_ring]
        # a pole has any longitude, so also that of the edge
        first[at_pole] = 0.0
        second[np.roll(at_pole, -1)] = 0.0
        slopes = 3 * first - second, first + second, 3 * second - first
        heights = q - base, q_middle - base, q_after - base
        before, between, behind = (h * slope for h, slope in zip(heights, slopes, strict=True))
        integrals = np.radians(before + 4 * between + behind) / 6
    integrals[ends] = 0.0
    return np.asarray(np.add.reduceat(integrals, starts) * geod.a**2 / 2)


def _equal_area(lat: Float64[np.ndarray, ' n'], es: float) -> Float64[np.ndarray, ' n']:
    """Twice the area between the equator and a parallel, per radian, on a unit ellipsoid."""
    with np.errstate(invalid='ignore'):  # outside the globe
        sine = np.sin(np.radians(lat))
        if es == 0:
            return np.asarray(2 * sine)
        e = np.sqrt(es)
        return np.asarray((1 - es) * (sine / (1 - es * sine**2) + np.arctanh(e * sine) / e))
