import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from crossearth.errors import ConfigError, WindowError
from crossearth.geometry import Window, axis_starts, window_grid, window_transform


@given(
    length=st.integers(1, 3000),
    tile=st.integers(1, 700),
    data=st.data(),
)
def test_starts_cover_every_pixel_and_none_overhangs(length, tile, data):
    stride = data.draw(st.integers(1, tile))
    starts = axis_starts(length, tile, stride)
    covered = {pixel for start in starts for pixel in range(start, min(start + tile, length))}
    assert covered == set(range(length))
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert starts[-1] == max(length - tile, 0)


def test_chip_counts_of_the_benchmark_follow_from_tile_sizes():
    per_tile = len(axis_starts(6000, 512, 512)) ** 2
    assert (24 * per_tile, 14 * per_tile) == (3456, 2016)
    assert len(axis_starts(5000, 1024, 1024)) ** 2 == 25


def test_grid_of_a_small_scene_is_one_window_of_its_size():
    assert window_grid(3, 40, 50, tile_px=64, stride_px=32) == [Window(3, 0, 0, 40, 50)]


@pytest.mark.parametrize(('length', 'tile', 'stride'), [(0, 4, 4), (9, 0, 1)])
def test_empty_axes_are_refused(length, tile, stride):
    with pytest.raises(ConfigError, match='cannot be cut'):
        axis_starts(length, tile, stride)


@pytest.mark.parametrize('stride', [0, 5])
def test_strides_that_leave_gaps_are_refused(stride):
    with pytest.raises(ConfigError, match='choose 1 to 4'):
        axis_starts(9, 4, stride)


def test_window_takes_whole_pixels_only(unchecked):
    with pytest.raises(WindowError, match='whole pixels'):
        Window(0, 1.5, 0, 4, 4)  # type: ignore[arg-type]
    with pytest.raises(WindowError, match='empty'):
        Window(0, 0, 0, 0, 4)


def test_window_transform_keeps_float64_at_large_northings():
    scene = Affine(0.05, 0, 366_675.85, 0, -0.05, 5_808_000.15)
    x, y = window_transform(scene, 5999, 17) @ (0, 0)
    assert (x, y) == pytest.approx((366_675.85 + 17 * 0.05, 5_808_000.15 - 5999 * 0.05), abs=1e-9)


def test_window_transform_follows_rotation():
    scene = Affine.translation(1000, 2000) @ Affine.rotation(30) @ Affine.scale(2, -2)
    assert window_transform(scene, 3, 5) @ (1, 1) == pytest.approx(scene @ (6, 4), abs=1e-9)
