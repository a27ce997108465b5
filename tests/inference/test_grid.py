import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossearth.errors import ConfigError
from crossearth.inference.grid import Grid, Unit, axis_weights, column_units, window_profile
from tests.rounding import rounding_error

BLENDS = ['hann', 'gaussian', 'mean', 'crop']


@st.composite
def grids(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of a Grid, which is built in the test: shape checks draw random numbers."""
    tile = draw(st.integers(1, 40))
    return {
        'height': draw(st.integers(1, 150)),
        'width': draw(st.integers(1, 150)),
        'tile_px': tile,
        'stride_px': draw(st.integers(1, tile)),
        'blend': draw(st.sampled_from(BLENDS)),
    }


def most_at_once(grid: Grid) -> int:
    """The largest number of windows that lie on one pixel."""
    axes = zip((grid.row_starts, grid.col_starts), grid.tile_hw, strict=True)
    return math.prod(
        max(sum(last - size < start <= last for start in starts) for last in starts)
        for starts, size in axes
    )


@settings(deadline=None)
@given(grids())
def test_weights_of_all_windows_add_up_to_one_at_every_pixel(sizes: dict[str, Any]) -> None:
    grid = Grid(**sizes)
    total = np.zeros((grid.height, grid.width))
    rows, cols = grid.row_weights(), grid.col_weights()
    for row, down in zip(grid.row_starts, rows, strict=True):
        for col, across in zip(grid.col_starts, cols, strict=True):
            total[row : row + down.size, col : col + across.size] += np.outer(down, across)
    # a weight is the product of two quotients by sums over windows, and the weights are summed
    atol = rounding_error(2 * most_at_once(grid) + 5, dtype=torch.float64)
    np.testing.assert_allclose(total, 1, rtol=0, atol=atol)


@pytest.mark.parametrize('blend', BLENDS)
def test_profiles_are_symmetric_positive_and_highest_in_the_middle(blend: str) -> None:
    for tile in (1, 2, 7, 512):
        profile = window_profile(tile, blend=blend)
        np.testing.assert_array_equal(profile, profile[::-1])
        assert profile.min() > 0
        assert profile.max() == profile[tile // 2]


def test_gaussian_falls_by_its_standard_deviation_of_an_eighth() -> None:
    profile = window_profile(513, blend='gaussian')
    assert profile[256] == pytest.approx(1)
    assert profile[256 + 64] == pytest.approx(np.exp(-0.5 * (64 / 513 * 8) ** 2))


def test_crop_gives_every_pixel_to_the_window_with_the_nearest_centre() -> None:
    starts, tile = (0, 3, 5), 8
    weights = axis_weights(starts, tile, blend='crop')
    for pixel in range(13):
        distances = [
            abs(pixel + 0.5 - start - tile / 2) if start <= pixel < start + tile else np.inf
            for start in starts
        ]
        owner = int(np.argmin(distances))
        given_to = [
            weights[i, pixel - s] if s <= pixel < s + tile else 0.0 for i, s in enumerate(starts)
        ]
        assert given_to == [float(i == owner) for i in range(3)]


@settings(deadline=None)
@given(grids(), st.integers(1, 200), st.integers(1, 16))
def test_units_tile_the_width_on_block_borders(
    sizes: dict[str, Any], widest: int, block: int
) -> None:
    grid = Grid(**sizes)
    units = column_units(grid, max_width_px=widest, block_px=block)
    assert units[0].col0 == 0
    assert units[-1].col1 == grid.width
    assert all(left.col1 == right.col0 for left, right in pairwise(units))
    assert all(unit.col0 % block == 0 for unit in units)
    assert all(unit.width <= max(widest, block) for unit in units)


def test_units_prefer_borders_where_one_column_of_windows_runs_twice() -> None:
    grid = Grid(512, 16384, tile_px=512, stride_px=341)
    units = column_units(grid, max_width_px=6000, block_px=512)
    ran = sum(len(grid.touching(unit)[1]) for unit in units)
    assert ran == len(grid.col_starts) + len(units) - 1


def test_the_whole_world_is_cut_in_seconds_so_that_a_dry_run_tells_its_size() -> None:
    side = 1 << 26  # tiles of a map service at level 18
    grid = Grid(side, side, tile_px=512, stride_px=341)
    units = column_units(grid, max_width_px=32_768, block_px=512)
    assert (units[0].col0, units[-1].col1) == (0, side)
    ran = sum(len(grid.touching(unit)[1]) for unit in units)
    assert len(grid.col_starts) < ran <= len(grid.col_starts) + 2 * len(units)


@settings(deadline=None)
@given(grids(), st.data())
def test_touching_names_exactly_the_windows_that_share_a_pixel(
    sizes: dict[str, Any], data: st.DataObject
) -> None:
    grid = Grid(**sizes)
    row0 = data.draw(st.integers(0, grid.height - 1))
    row1 = data.draw(st.integers(row0 + 1, grid.height))
    rows, _ = grid.touching(Unit(row0, row1, 0, grid.width))
    expected = [
        index
        for index, start in enumerate(grid.row_starts)
        if set(range(start, start + grid.tile_hw[0])) & set(range(row0, row1))
    ]
    assert list(rows) == expected


def test_stride_with_gaps_is_an_error() -> None:
    with pytest.raises(ConfigError, match='stride of 9 px would leave gaps'):
        Grid(20, 20, tile_px=8, stride_px=9)
