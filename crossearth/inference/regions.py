"""Regions of equal labels from strips of a map, merged at the seams, with shared borders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import shapely
import shapely.affinity
from jaxtyping import Bool, Float32, Float64, Integer
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes

__all__ = ['Region', 'regions']


@dataclass(frozen=True, slots=True)
class Region:
    """A 4-connected region of one label.

    Args:
        label: Its label.
        polygon: Its outline in pixels, `(col, row)`, from the upper-left corner of the map.
        mean: Mean of the values of its pixels; None if no values were given.
    """

    label: int
    polygon: shapely.Polygon
    mean: float | None = None


class _Amount(NamedTuple):
    """Pixels of a piece of a region, and the sum of their values."""

    pixels: int
    total: float


@dataclass(slots=True, eq=False)
class _Open:
    """A region that touches the seam to the next strip, or did before it was merged."""

    label: int
    parts: list[shapely.Polygon] = field(default_factory=list)
    amount: '_Amount | None' = None
    merged_into: '_Open | None' = None

    def root(self) -> '_Open':
        region = self
        while region.merged_into is not None:
            region = region.merged_into
        return region

    def whole(self) -> Region:
        return Region(self.label, _merged(self.parts), _mean(self.amount))


def regions(
    strips: Iterator[Integer[np.ndarray, 'h w']],
    *,
    nodata: int | None,
    simplify_px: float | int = 0,
    amounts: Iterator[Float32[np.ndarray, 'h w']] | None = None,
) -> Iterator[Region]:
    """Regions of equal labels, from strips of a map, top to bottom.

    A region is yielded as soon as no strip below can touch it, so only regions that cross the seam
    are held in memory. Polygons are valid, and neighbouring regions share the vertices of their
    border, because each border is simplified once for both sides. The ends of a border stay fixed:
    the points where three regions meet, and where a border crosses a seam or the edge of the map.

    Args:
        strips: Labels, all of the same width.
        nodata: Label that belongs to no region; None if every label does.
        simplify_px: How coarse borders may become, in pixels. This is the square root of the area
            that removing a vertex may move from one side to the other. 0 keeps the pixel edges.
        amounts: Values of the pixels of each strip; each region gets their mean.

    Yields:
        Regions, in no particular order.

    Source:
        Visvalingam & Whyatt (1993), applied to coverages by GEOS.

    Example:
        >>> strips = iter([np.array([[1, 1, 2]], np.uint8), np.array([[1, 2, 2]], np.uint8)])
        >>> sorted((region.label, region.polygon.area) for region in regions(strips, nodata=0))
        [(1, 3.0), (2, 3.0)]
    """
    row = 0
    above: list[tuple[float, float, _Open]] = []  # pieces along the seam, from left to right
    for before, labels, after in _with_neighbours(strips):
        stop = row + labels.shape[0]
        top: list[tuple[float, float, _Open]] = []
        bottom: list[tuple[float, float, _Open]] = []
        touched = {id(region.root()): region.root() for _, _, region in above}
        here = None if amounts is None else next(amounts)
        for value, polygon, amount in _pieces(before, labels, after, row, simplify_px, here):
            if value == nodata:
                continue
            corners = shapely.get_coordinates(polygon.exterior)
            upper, lower = _along(corners, row), _along(corners, stop)
            if not upper and not lower:
                yield Region(value, polygon, _mean(amount))
                continue
            region = _Open(value, [polygon], amount)
            touched[id(region)] = region
            top += [(left, right, region) for left, right in upper]
            bottom += [(left, right, region) for left, right in lower]
        # from left to right, because `_join` sweeps along the seam
        _join(above, sorted(top, key=lambda run: run[0]))
        goes_on = {id(region.root()) for _, _, region in bottom}
        for region in touched.values():
            if region.merged_into is None and id(region) not in goes_on:
                yield region.whole()
        above, row = sorted(bottom, key=lambda run: run[0]), stop
    rest = {id(region.root()): region.root() for _, _, region in above}
    for region in rest.values():
        yield region.whole()


def _with_neighbours(
    strips: Iterator[Integer[np.ndarray, '_ w']],
) -> Iterator[
    tuple[
        Integer[np.ndarray, ' w'] | None,
        Integer[np.ndarray, 'h w'],
        Integer[np.ndarray, ' w'] | None,
    ]
]:
    """Strips with the row above and the row below."""
    before = None
    strip = next(strips, None)
    while strip is not None:
        following = next(strips, None)
        yield before, strip, None if following is None else following[0]
        before, strip = strip[-1], following


def _pieces(
    before: Integer[np.ndarray, ' w'] | None,
    labels: Integer[np.ndarray, 'h w'],
    after: Integer[np.ndarray, ' w'] | None,
    row: int,
    simplify_px: float | int,
    amounts: Float32[np.ndarray, 'h w'] | None,
) -> Iterator[tuple[int, shapely.Polygon, _Amount | None]]:
    """Regions within a strip, with all vertices that their neighbours have."""
    polygons: list[shapely.Polygon] = []
    values: list[int] = []
    for shape, value in shapes(labels, connectivity=4):
        outline, *holes = shape['coordinates']
        polygons.append(shapely.Polygon(outline, holes))
        values.append(int(value))
    # before simplification, which moves borders off the pixel edges
    totals = _amounts(polygons, amounts)
    # the polygoniser omits the vertex where a third region meets a straight border
    pieces = shapely.segmentize(polygons, 1.0)
    if simplify_px > 0:
        # the outer boundary holds the seams, whose vertices the next strip has as well
        pieces = shapely.coverage_simplify(pieces, simplify_px, simplify_boundary=False)
    pieces = _without_midpoints(pieces, _junctions(before, labels, after))
    down = np.array([0.0, row])
    placed = shapely.transform(pieces, lambda at: at + down)
    yield from zip(values, placed, totals, strict=True)


def _amounts(
    polygons: Sequence[shapely.Polygon], amounts: Float32[np.ndarray, 'h w'] | None
) -> Sequence[_Amount | None]:
    """Number and sum of the pixel values of each polygon, whose edges are pixel edges."""
    if amounts is None:
        return [None] * len(polygons)
    numbered = rasterize(
        zip(polygons, range(len(polygons)), strict=True), amounts.shape, dtype='int32'
    ).ravel()
    pixels = np.bincount(numbered, minlength=len(polygons))
    totals = np.bincount(numbered, amounts.ravel(), minlength=len(polygons))
    return [_Amount(*pair) for pair in zip(pixels.tolist(), totals.tolist(), strict=True)]


def _mean(amount: _Amount | None) -> float | None:
    return None if amount is None else amount.total / amount.pixels


def _junctions(
    before: Integer[np.ndarray, ' w'] | None,
    labels: Integer[np.ndarray, 'h w'],
    after: Integer[np.ndarray, ' w'] | None,
) -> Bool[np.ndarray, 'y x']:
    """Pixel corners where three or more regions meet; the outside of the map counts as one."""
    # signed and wider than the labels, so that −1 can stand for the outside
    around = np.full((labels.shape[0] + 2, labels.shape[1] + 2), -1, np.int64)
    around[1:-1, 1:-1] = labels
    if before is not None:
        around[0, 1:-1] = before
    if after is not None:
        around[-1, 1:-1] = after
    sideways = (around[:, 1:] != around[:, :-1]).astype(np.uint8)
    downwards = (around[1:] != around[:-1]).astype(np.uint8)
    borders = sideways[1:] + sideways[:-1] + downwards[:, 1:] + downwards[:, :-1]
    return np.asarray(borders >= 3)


def _without_midpoints(
    polygons: NDArray[np.object_], junctions: Bool[np.ndarray, 'y x']
) -> NDArray[np.object_]:
    """Polygons without the vertices on straight borders, except at junctions."""
    kind, at, (rings, outlines) = shapely.to_ragged_array(list(polygons), include_z=False)
    if kind is not shapely.GeometryType.POLYGON:  # the arrays below assume polygons only
        return polygons
    first, last = rings[:-1], rings[1:] - 1  # the last vertex of a ring repeats its first
    earlier, later = np.roll(at, 1, 0), np.roll(at, -1, 0)
    earlier[first] = at[last - 1]
    later[last] = at[first + 1]
    one, other = at - earlier, later - at
    straight = one[:, 0] * other[:, 1] == one[:, 1] * other[:, 0]
    kept = ~straight | junctions[at[:, 1].astype(np.int64), at[:, 0].astype(np.int64)]
    kept[last] = False  # the ring is closed again below, wherever it now begins
    numbers = np.add.reduceat(kept, first, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(numbers + 1)])
    coordinates = np.empty((starts[-1], 2))
    body = np.ones(starts[-1], bool)
    body[starts[1:] - 1] = False
    coordinates[body] = at[kept]
    coordinates[starts[1:] - 1] = coordinates[starts[:-1]]
    return np.asarray(
        shapely.from_ragged_array(shapely.GeometryType.POLYGON, coordinates, (starts, outlines))
    )


def _along(corners: Float64[np.ndarray, 'n 2'], row: int) -> list[tuple[float, float]]:
    """Runs of an outline along a row of pixel corners."""
    on_row = corners[:, 1] == row
    edges = np.flatnonzero(on_row[:-1] & on_row[1:])
    ends = np.sort(np.stack([corners[edges, 0], corners[edges + 1, 0]], 1), 1)
    return [(float(left), float(right)) for left, right in ends]


def _join(
    above: Sequence[tuple[float, float, _Open]], below: Sequence[tuple[float, float, _Open]]
) -> None:
    """Merge regions of the same label that share a piece of the seam."""
    first = 0
    for left, right, upper in above:
        while first < len(below) and below[first][1] <= left:
            first += 1
        for start, _, lower in below[first:]:
            if start >= right:
                break
            one, other = upper.root(), lower.root()
            if one is not other and one.label == other.label:
                one.parts += other.parts
                if one.amount is not None and other.amount is not None:
                    one.amount = _Amount(
                        one.amount.pixels + other.amount.pixels,
                        one.amount.total + other.amount.total,
                    )
                other.parts, other.merged_into = [], one


def _merged(parts: list[shapely.Polygon]) -> shapely.Polygon:
    if len(parts) == 1:
        return parts[0]
    merged = shapely.union_all(parts)
    # all parts share pieces of a seam, so their union is one polygon
    assert isinstance(merged, shapely.Polygon)
    return merged
