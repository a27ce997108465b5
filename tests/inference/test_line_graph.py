import numpy as np
import pytest

from crossearth.inference.line_graph import Line, lines_of
from crossearth.inference.skeletons import Skeleton


def skeleton(picture: str, *, reach: float = 1.0) -> tuple[Skeleton, int]:
    """A skeleton as it is drawn, and the width of its map."""
    pixels = np.array([list(row) for row in picture.split()]) == '#'
    keys = np.flatnonzero(pixels)
    ones = np.ones(len(keys), np.float32)
    return Skeleton(keys, ones * reach, np.full(len(keys), 3), ones * np.nan), pixels.shape[1]


def ends(line: Line) -> list[tuple[float, float]]:
    return sorted(map(tuple, line.at[[0, -1]].tolist()))


CROSSING = """
....#....
....#....
....#....
....#....
#########
....#....
....#....
....#....
....#....
"""


def test_lines_meet_at_a_point_and_share_the_pixels() -> None:
    drawn, width = skeleton(CROSSING)
    lines, dropped = lines_of(drawn, width=width)
    assert dropped == 0
    assert sorted(ends(line) for line in lines) == [
        [(0.5, 4.5), (4.5, 4.5)],
        [(4.5, 0.5), (4.5, 4.5)],
        [(4.5, 4.5), (4.5, 8.5)],
        [(4.5, 4.5), (8.5, 4.5)],
    ]
    assert sum(line.pixel_area for line in lines) == pytest.approx(3 * 17)


def test_spurs_shorter_than_the_class_is_wide_go_and_what_is_left_is_one_line() -> None:
    drawn, width = skeleton(
        """
        ..........#....
        ..........#....
        ...#......#....
        ...#......#....
        ###############
        """,
        reach=1.5,  # 3 px wide: the spur of 2 px goes, that of 4 px stays
    )
    lines, dropped = lines_of(drawn, width=width)
    assert dropped == 1
    assert sorted(ends(line) for line in lines) == [
        [(0.5, 4.5), (10.5, 4.5)],
        [(10.5, 0.5), (10.5, 4.5)],
        [(10.5, 4.5), (14.5, 4.5)],
    ]
    lines, dropped = lines_of(drawn, width=width, min_length_px=4.2)
    assert dropped == 2
    assert [ends(line) for line in lines] in (
        [[(0.5, 4.5), (14.5, 4.5)]],
        [[(0.5, 4.5), (10.5, 0.5)]],
    )


def test_two_junctions_of_a_crossing_are_one() -> None:
    drawn, width = skeleton(
        """
        .....#......
        .....#......
        .....#......
        .....#......
        #########...
        ........####
        ........#...
        ........#...
        ........#...
        """,
        reach=4.0,
    )
    lines, _ = lines_of(drawn, width=width, min_length_px=0)
    degrees: dict[tuple[float, float], int] = {}
    for line in lines:
        for end in ends(line):
            degrees[end] = degrees.get(end, 0) + 1
    assert max(degrees.values()) <= 4
    assert len(lines) <= 4


def test_rings_without_a_junction_are_closed() -> None:
    drawn, width = skeleton(
        """
        .###.
        #...#
        #...#
        .###.
        """
    )
    ((line,), dropped) = lines_of(drawn, width=width)
    assert dropped == 0
    assert line.at[0].tolist() == line.at[-1].tolist()
    assert len(line.pixels) == 10
    assert line.pixel_area == 30


def test_steps_of_stairs_are_no_junctions_and_rows_do_not_wrap() -> None:
    drawn, width = skeleton(
        """
        ##....
        .##...
        ..##..
        #..###
        """
    )
    lines, dropped = lines_of(drawn, width=width)
    assert [ends(line) for line in lines] == [[(0.5, 0.5), (5.5, 3.5)]]
    assert dropped == 0


def test_what_is_shorter_than_it_is_wide_is_no_line() -> None:
    drawn, width = skeleton('######', reach=2.6)
    assert lines_of(drawn, width=width) == ([], 1)
    drawn, width = skeleton('######', reach=2.4)
    assert len(lines_of(drawn, width=width)[0]) == 1


def test_no_pixels_are_no_lines() -> None:
    nothing = np.empty(0, np.float32)
    empty = Skeleton(np.empty(0, np.int64), nothing, np.empty(0, np.int64), nothing)
    assert lines_of(empty, width=5) == ([], 0)
