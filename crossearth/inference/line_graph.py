"""Traces lines between the ends and junctions of a skeleton."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import csr_array

from crossearth.inference.components import groups
from crossearth.inference.skeletons import Skeleton

__all__ = ['Line', 'lines_of']


@dataclass(frozen=True, slots=True)
class Line:
    """A line between two nodes of a skeleton.

    Args:
        at: Its points, `(col, row)` in pixels from the upper-left corner of the map.
        pixels: Indices of its skeleton pixels.
        pixel_area: Number of class pixels for which this is the nearest line.
    """

    at: Float64[np.ndarray, 'n 2']
    pixels: Int64[np.ndarray, ' k']
    pixel_area: float


@dataclass(slots=True)
class _Edge:
    """A path between two nodes: the pixels along it, including those at its ends."""

    start: int
    stop: int
    pixels: list[int]
    length_px: float


def lines_of(
    skeleton: Skeleton, *, width: int, min_length_px: float = 0.0
) -> tuple[list[Line], int]:
    """Follow a skeleton from node to node, and leave out its spurs.

    Nodes are ends and junctions. Neighbouring pixels of a junction become one node, at their mean.
    A line with a free end is a spur if it is shorter than the class is wide at its junction. The
    shortest spur is removed first. If a junction is left with only two lines, they are joined. A
    line without junctions that is shorter than the class is wide is left out as well. Thinning
    turns a crossing of four roads into two junctions of three. So if the line between two junctions
    is shorter than half the class width, they are merged into one, halfway.

    Args:
        skeleton: Skeleton pixels.
        width: Columns of the map.
        min_length_px: Spurs and lines without junctions shorter than this are also removed.

    Returns:
        The lines, and the number of lines left out.
    """
    graph = _Graph(skeleton, width)
    dropped = graph.prune(min_length_px)
    graph.contract()
    return [graph.line(edge) for edge in graph.edges.values()], dropped


class _Graph:
    """Nodes of a skeleton and the paths between them."""

    def __init__(self, skeleton: Skeleton, width: int) -> None:
        keys = skeleton.keys
        self._skeleton = skeleton
        self._at = np.stack([keys % width + 0.5, keys // width + 0.5], 1)
        one, other = _links(keys, width)
        ones = np.ones(2 * len(one), bool)
        # each link in both directions, so that a row of the matrix lists all neighbours of a pixel
        ends = np.concatenate([one, other]), np.concatenate([other, one])
        links = csr_array((ones, ends), (len(keys), len(keys)))
        self._first, self._next = links.indptr, links.indices
        self._degree = np.diff(self._first)
        # junction pixels that touch form one node; every other pixel is its own node
        fork = self._degree >= 3
        joined = fork[one] & fork[other]
        self._node, count = groups(one[joined], other[joined], len(keys))
        size = np.maximum(np.bincount(self._node, minlength=count), 1)
        self._node_at = np.stack(
            [np.bincount(self._node, axis, count) / size for axis in self._at.T], 1
        )
        self._reach = np.zeros(count)
        # `maximum.at`, because plain indexing would keep only one of several pixels of a node
        np.maximum.at(self._reach, self._node, skeleton.reach_px)
        self.edges: dict[int, _Edge] = {}
        self._at_node: dict[int, list[int]] = {}
        self._number = 0
        for edge in self._trace():
            self._add(edge)

    def _trace(self) -> Iterator[_Edge]:
        """Paths from node to node, and rings without a node."""
        degree, seen = self._degree, np.zeros(len(self._degree), bool)
        taken: set[tuple[int, int]] = set()
        for start in np.flatnonzero((degree != 2) & (degree > 0)).tolist():
            for step in self._neighbours(start):
                if self._node[step] == self._node[start] or (start, step) in taken:
                    continue
                pixels = self._walk(start, step)
                seen[pixels] = True
                # the same path starts again at its other end
                taken.add((pixels[-1], pixels[-2]))
                yield self._edge(pixels)
        # what is left are rings without ends or junctions
        for start in np.flatnonzero((degree == 2) & ~seen).tolist():
            if not seen[start]:
                pixels = self._walk(start, self._neighbours(start)[0])
                seen[pixels] = True
                yield self._edge(pixels)

    def _neighbours(self, pixel: int) -> list[int]:
        found: list[int] = self._next[self._first[pixel] : self._first[pixel + 1]].tolist()
        return found

    def _walk(self, start: int, step: int) -> list[int]:
        """Pixels from one node to the next, or around a ring back to the start."""
        pixels = [start, step]
        while self._degree[step] == 2 and step != start:
            one, other = self._neighbours(step)
            step = other if one == pixels[-2] else one
            pixels.append(step)
        return pixels

    def _edge(self, pixels: list[int]) -> _Edge:
        at = self._placed(pixels)
        length = float(np.hypot(*np.diff(at, axis=0).T).sum())
        return _Edge(int(self._node[pixels[0]]), int(self._node[pixels[-1]]), pixels, length)

    def _placed(self, pixels: list[int]) -> Float64[np.ndarray, 'n 2']:
        at = self._at[pixels]
        at[[0, -1]] = self._node_at[self._node[[pixels[0], pixels[-1]]]]
        return at

    def _add(self, edge: _Edge) -> int:
        number = self._number
        self.edges[number] = edge
        for node in (edge.start, edge.stop):
            self._at_node.setdefault(node, []).append(number)
        self._number += 1
        return number

    def _remove(self, number: int) -> _Edge:
        edge = self.edges.pop(number)
        for node in (edge.start, edge.stop):
            self._at_node[node].remove(number)
        return edge

    def prune(self, min_length_px: float) -> int:
        """Remove spurs, the shortest first, and return how many were removed."""
        waiting = [(edge.length_px, number) for number, edge in self.edges.items()]
        heapq.heapify(waiting)
        dropped = 0
        while waiting:
            length, number = heapq.heappop(waiting)
            edge = self.edges.get(number)
            # removed or joined since it was put on the heap
            if edge is None:
                continue
            degrees = [len(self._at_node[node]) for node in (edge.start, edge.stop)]
            if min(degrees) != 1 or edge.start == edge.stop:
                continue
            wide = 2 * max(self._skeleton.reach_px[edge.pixels])
            if max(degrees) > 1:
                wide = 2 * self._reach[edge.start if degrees[0] > 1 else edge.stop]
            if length >= max(wide, min_length_px):
                continue
            self._remove(number)
            dropped += 1
            # joining makes a longer line, which may itself be a spur
            for node in (edge.start, edge.stop):
                joined = self._join(node)
                if joined is not None:
                    heapq.heappush(waiting, (self.edges[joined].length_px, joined))
        return dropped

    def _join(self, node: int) -> int | None:
        """Join the two lines at a node, if exactly two are left."""
        numbers = self._at_node[node]
        if len(numbers) != 2 or numbers[0] == numbers[1]:
            return None
        one, other = (self._remove(number) for number in tuple(numbers))
        before = one.pixels if one.stop == node else one.pixels[::-1]
        after = other.pixels if other.start == node else other.pixels[::-1]
        # at a junction of several pixels, the two lines may end at different ones
        return self._add(self._edge(before + after[before[-1] == after[0] :]))

    def contract(self) -> None:
        """Merge pairs of junctions that are closer than half the width of the class."""
        for number, edge in list(self.edges.items()):
            one, other = edge.start, edge.stop
            wide = max(self._reach[[one, other]])
            crossing = min(len(self._at_node[node]) for node in (one, other)) >= 3
            if one == other or not crossing or edge.length_px >= wide:
                continue
            self._remove(number)
            self._node_at[one] = (self._node_at[one] + self._node_at[other]) / 2
            self._reach[one] = wide
            # a set, because a loop is listed twice at its node
            for moved in set(self._at_node.pop(other)):
                way = self.edges[moved]
                for end, place in (('start', 0), ('stop', -1)):
                    if getattr(way, end) == other:
                        setattr(way, end, one)
                        self._node[way.pixels[place]] = one
                        self._at_node[one].append(moved)

    def line(self, edge: _Edge) -> Line:
        """The finished line of a path. Junctions share the area that is nearest to them."""
        pixels = np.array(edge.pixels)
        # several lines end at a pixel of a junction, so they share its area
        shares = np.where(self._degree[pixels] > 2, self._degree[pixels], 1)
        # a ring repeats its first pixel, which must count once
        inner = pixels[:-1] if pixels[0] == pixels[-1] else pixels
        area = float((self._skeleton.owned[inner] / shares[: len(inner)]).sum())
        return Line(self._placed(edge.pixels), inner, area)


def _links(
    keys: Int64[np.ndarray, ' n'], width: int
) -> tuple[Int64[np.ndarray, ' k'], Int64[np.ndarray, ' k']]:
    """Pairs of pixels that touch; at a corner only where no third pixel touches both."""
    col = keys % width

    def neighbour(down: int, right: int) -> Int64[np.ndarray, ' n']:
        """The number of the pixel there; -1 where there is none."""
        wanted = keys + down * width + right
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        # keys alone would join the end of a row to the start of the next
        inside = (col + right >= 0) & (col + right < width)
        return np.where((keys[at] == wanted) & inside, at, -1)

    if not len(keys):
        return keys, keys
    right, left, below = neighbour(0, 1), neighbour(0, -1), neighbour(1, 0)
    steps = [
        right,
        below,
        np.where((right < 0) & (below < 0), neighbour(1, 1), -1),
        np.where((left < 0) & (below < 0), neighbour(1, -1), -1),
    ]
    found = [(np.flatnonzero(step >= 0), step[step >= 0]) for step in steps]
    one, other = (np.concatenate(part) for part in zip(*found, strict=True))
    return one, other
