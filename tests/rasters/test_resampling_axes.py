"""One axis after the other gives what the averages over boxes give."""

import numpy as np
import pytest

from crossearth.rasters.positions import Positions, places_of
from crossearth.rasters.resampling import resample_axes, resample_box

RNG = np.random.default_rng(0)


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
@pytest.mark.parametrize('steps', [(0.33, 0.7), (1.0, 1.0), (1.5, 0.6), (2.0, 3.7)])
@pytest.mark.parametrize('masked', [False, True])
def test_axes_in_turn_give_the_averages_over_boxes(
    dtype: str, steps: tuple[float, float], masked: bool
) -> None:
    rows, cols = places_of(-2, 24, steps[0]), places_of(3, 20, steps[1])
    height, width = int(22 * steps[0]) + 1, int(21 * steps[1]) + 1
    pixels = RNG.integers(0, 255, (3, height, width)).astype(dtype)
    valid = RNG.random((height, width)) > 0.3 if masked else None
    shape = 24, 20
    planes = [
        None if places.side == 256 else np.full(shape, places.side, np.int32)
        for places in (cols, rows)
    ]
    positions = Positions(
        np.broadcast_to(cols.centres, shape).copy(),
        np.broadcast_to(rows.centres[:, None], shape).copy(),
        *planes,
    )
    ours, shown = resample_axes(pixels, valid, rows, cols, top=0, left=0)
    theirs, known = resample_box(pixels, valid, positions, top=0, left=0)
    assert (shown is None) == (known is None)
    assert shown is None or np.array_equal(shown, known)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=0)
