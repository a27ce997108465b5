from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossearth.errors import ConfigError
from crossearth.inference.grid import Grid, Unit
from crossearth.inference.stitching import Stitcher, most_likely
from tests.inference.test_grid import grids, most_at_once
from tests.rounding import rounding_error


@settings(deadline=None, max_examples=40)
@given(grids(), st.integers(0, 2**31), st.data())
def test_ring_of_rows_equals_a_sum_over_the_whole_scene(
    sizes: dict[str, Any], seed: int, data: st.DataObject
) -> None:
    grid = Grid(**sizes)
    row0 = data.draw(st.integers(0, grid.height - 1))
    row1 = data.draw(st.integers(row0 + 1, grid.height))
    col0 = data.draw(st.integers(0, grid.width - 1))
    unit = Unit(row0, row1, col0, data.draw(st.integers(col0 + 1, grid.width)))
    generator = torch.Generator().manual_seed(seed)
    windows = torch.rand(
        (len(grid.row_starts), len(grid.col_starts), 2, *grid.tile_hw), generator=generator
    )
    whole = torch.zeros((2, grid.height, grid.width), dtype=torch.float64)
    down, across = torch.from_numpy(grid.row_weights()), torch.from_numpy(grid.col_weights())
    for i, row in enumerate(grid.row_starts):
        for j, col in enumerate(grid.col_starts):
            part = whole[:, row : row + grid.tile_hw[0], col : col + grid.tile_hw[1]]
            part += torch.outer(down[i], across[j]) * windows[i, j]

    stitcher = Stitcher(grid, unit, num_classes=2, device=torch.device('cpu'))
    given_back = []
    rows, cols = grid.touching(unit)
    for i in rows:
        for j in cols:
            stitcher.add(windows[i, j], row_index=i, col_index=j)
        stop = grid.row_starts[i + 1] if i + 1 < rows.stop else unit.row1
        if stop > stitcher.next_row:
            given_back += [part.clone() for part in stitcher.finished(stop)]
            stitcher.release(stop)

    expected = whole[:, unit.row0 : unit.row1, unit.col0 : unit.col1]
    # of up to n windows at a pixel; both weights and their product are rounded as well
    atol = rounding_error(most_at_once(grid) + 3)
    torch.testing.assert_close(torch.cat(given_back, 1).double(), expected, rtol=0, atol=atol)


def labels_of(scores: torch.Tensor, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    labels = torch.full(scores.shape[1:], 77, dtype=dtype)
    most_likely(scores, out=labels)
    return labels


@settings(deadline=None)
@given(st.integers(1, 7), st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**31))
def test_running_maximum_equals_argmax_with_the_first_of_equals(
    classes: int, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (classes, height, width), generator=generator).float()
    labels = torch.empty((height, width), dtype=torch.uint8)
    best = torch.empty((height, width))
    most_likely(scores, out=labels, best=best)
    np.testing.assert_array_equal(labels.numpy(), scores.numpy().argmax(0))
    assert torch.equal(best, scores.amax(0))


def test_running_maximum_goes_over_chunks_without_a_seam() -> None:
    scores = torch.rand((3, 300, 997), generator=torch.Generator().manual_seed(1))
    assert torch.equal(labels_of(scores).long(), scores.argmax(0))


def test_running_maximum_knows_255_classes() -> None:
    scores = torch.rand((255, 3, 400), generator=torch.Generator().manual_seed(2))
    assert torch.equal(labels_of(scores).long(), scores.argmax(0))


@pytest.mark.parametrize('dtype', [torch.uint8, torch.uint16])
@pytest.mark.parametrize('index', [0, 2])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_scores_that_are_no_numbers_are_errors_in_any_class(
    dtype: torch.dtype, index: int, value: float
) -> None:
    scores = torch.zeros(3, 4, 4)
    scores[index, 2, 1] = value
    with pytest.raises(ConfigError, match='scores that are not finite: check its weights'):
        labels_of(scores, dtype)


def test_more_classes_than_a_byte_holds() -> None:
    scores = torch.zeros(300, 1, 2)
    scores[299, 0, 1] = 1
    assert labels_of(scores, torch.uint16).tolist() == [[0, 299]]
