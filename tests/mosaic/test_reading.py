from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossearth.geometry import Window
from crossearth.mosaic.grid import choose_grid
from crossearth.mosaic.reading import MapReader
from crossearth.mosaic.sources import describe_maps


@pytest.mark.parametrize('corner', [(0, 0), (7, -3), (-20, 40)])
def test_copied_pixels_are_those_that_coordinates_lead_to(
    write_map: Callable[..., Path],
    write_amounts: Callable[..., Path],
    corner: tuple[int, int],
) -> None:
    generator = np.random.default_rng(0)
    frame = write_map('frame.tif', np.zeros((90, 80)), size=0.3)
    at = (400_000 + 0.3 * corner[1], 5_000_000 - 0.3 * corner[0])
    own = write_map('own.tif', generator.integers(0, 3, (50, 70)), at=at, size=0.3)
    amounts = [
        write_amounts(f'p{i}.tif', path, generator.random((3, *shape)))
        for i, (path, shape) in enumerate([(frame, (90, 80)), (own, (50, 70))])
    ]
    sources = describe_maps([frame, own], probabilities=amounts)
    grid, (_, placed) = choose_grid(sources, crs=None, pixel_size=None)
    assert placed.corner is not None
    window = Window(0, 5, 3, grid.height - 5, grid.width - 3)
    with MapReader(grid, wants_confidence=False, wants_probabilities=True) as reader:
        copied = reader.see(placed, window)
        moved = reader.see(replace(placed, corner=None), window)
    assert copied is not None
    assert moved is not None
    assert copied.known.any()
    np.testing.assert_array_equal(copied.known, moved.known)
    np.testing.assert_array_equal(copied.ids[copied.known], moved.ids[moved.known])
    np.testing.assert_allclose(copied.nearness, moved.nearness, atol=1e-3)
    one, other = copied.probabilities, moved.probabilities
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one[:, copied.known], other[:, moved.known], atol=0.02)
