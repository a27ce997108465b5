"""A stated pixel size resamples along the axes of the file, as a georeference would."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from crossearth.datasets import SceneDataset, read_scene
from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.labels import ISPRS
from crossearth.rasters import RasterReader, describe_mask, describe_raster, resampled, scaled
from crossearth.rasters.ground_grid import on_local_projection
from crossearth.rasters.native_pixels import from_native, to_native

type Write = Callable[..., Path]
rng = np.random.default_rng(0)
IMAGE = rng.integers(0, 255, (3, 61, 44), np.uint8)
IDS = rng.integers(0, 6, (1, 61, 44), np.uint8)
WRONG = Affine(2, 0, 400_000, 0, -2, 5_800_000)


def test_a_stated_size_is_the_size_and_goes_before_a_georeference(write_raster: Write) -> None:
    placeless = write_raster('a.tif', IMAGE, crs=None)
    assert describe_raster(placeless).gsd_m() is None
    assert describe_raster(placeless, native_gsd_m=0.21).gsd_m() == (0.21, 0.21)
    placed = describe_raster(write_raster('b.tif', IMAGE, transform=WRONG), native_gsd_m=0.5)
    assert placed.gsd_m() == (0.5, 0.5)
    seen = resampled(placed, 1.0)
    assert seen.gsd_m() == (1.0, 1.0)
    assert (seen.crs, seen.transform) == (placed.crs, WRONG @ Affine.scale(2))


@pytest.mark.parametrize('gsd_m', [1.0, 2.0, 0.25])
def test_pixels_are_those_of_the_same_file_with_a_georeference(
    write_raster: Write, gsd_m: float
) -> None:
    placed = describe_raster(write_raster('a.tif', IMAGE))  # 0.5 m, its corner at whole metres
    stated = describe_raster(write_raster('b.tif', IMAGE, crs=None), native_gsd_m=0.5)
    georeferenced, along_axes = resampled(placed, gsd_m), resampled(stated, gsd_m)
    on_ground = on_local_projection(placed, gsd_m)
    assert along_axes.crs is None
    assert (on_ground.transform.c, on_ground.transform.f) == (400_000, 5_800_000)
    window = Window(0, 0, 0, along_axes.height, along_axes.width)
    ours, valid = RasterReader().read(along_axes, window)
    assert valid is None  # pixels at the border are there if their centre is
    assert (georeferenced.height, georeferenced.width) == (along_axes.height, along_axes.width)
    for other in (georeferenced, on_ground):
        theirs, _ = RasterReader().read(other, window)
        np.testing.assert_array_equal(ours, theirs)


def test_half_the_size_is_the_mean_of_four_pixels(write_raster: Write) -> None:
    raster = describe_raster(write_raster('a.png', IMAGE, crs=None, driver='PNG'), native_gsd_m=0.2)
    half = resampled(raster, 0.4)
    assert (half.height, half.width, half.steps_px) == (30, 22, (2, 2))
    pixels, valid = RasterReader().read(half, Window(0, 0, 0, 30, 22))
    assert valid is None
    blocks = IMAGE[:, :60].reshape(3, 30, 2, 22, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(pixels, np.rint(blocks))


def test_masks_take_the_pixel_at_the_centre(write_raster: Write) -> None:
    image = write_raster('a.png', IMAGE, crs=None, driver='PNG')
    mask = write_raster('m.png', IDS, crs=None, driver='PNG')
    data = SceneDataset([read_scene(image, mask, native_gsd_m=0.2)], ISPRS, gsd_m=0.6)
    sample = data[0]
    assert data.gsd_range_m == pytest.approx((0.6, 0.6))
    assert data.crs is None
    assert sample['mask'].shape == (20, 15)  # 20.3 and 14.7 pixels
    np.testing.assert_array_equal(sample['mask'].numpy()[:, :14], IDS[0, 1:60:3, 1:42:3])
    np.testing.assert_allclose(sample['transform'].reshape(3, 3)[:2, :2], 3 * np.eye(2))


def test_a_mask_with_its_own_place_lies_there_under_a_scaled_image(write_raster: Write) -> None:
    place = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
    image = write_raster('a.tif', IMAGE, transform=place)
    shifted = write_raster('m.tif', IDS, transform=place @ Affine.translation(6, 0))
    raster = describe_raster(image, native_gsd_m=0.1)
    view = resampled(raster, 0.3)
    ids = RasterReader().labels(
        view,
        describe_mask(shifted, raster),
        Window(0, 0, 0, view.height, view.width),
        lambda raw: raw[0],
    )
    assert (ids[:, :2] == 255).all()
    np.testing.assert_array_equal(ids[:, 2:], IDS[0, 1::3, 1::3][:20, : view.width - 2])


def test_ways_between_pixels_are_inverse(write_raster: Write) -> None:
    placed = describe_raster(write_raster('a.tif', IMAGE))
    stated = describe_raster(write_raster('b.tif', IMAGE, crs=None), native_gsd_m=0.5)
    points = rng.uniform(0, 40, (2, 9))
    for view in (on_local_projection(placed, 0.83), resampled(stated, 0.83)):
        there = to_native(view)(*points)
        assert np.abs(np.subtract(there, points)).max() > 1
        np.testing.assert_allclose(from_native(view)(*there), points, atol=1e-6)
    np.testing.assert_allclose(to_native(resampled(stated, 0.83))(*points), points * 1.66)


def test_sizes_without_meaning_are_refused(write_raster: Write) -> None:
    path = write_raster('a.tif', IMAGE, crs=None)
    for wrong in (0, -1, float('nan'), float('inf')):
        with pytest.raises(ConfigError, match=r'a\.tif: native_gsd_m is .*metres on the ground'):
            describe_raster(path, native_gsd_m=wrong)
    raster = describe_raster(path, native_gsd_m=0.2)
    assert resampled(raster, 0.203) is raster
    with pytest.raises(ConfigError, match='more than 50 times as large'):
        resampled(raster, 0.001)
    with pytest.raises(ConfigError, match=r'a\.tif: has 61 x 44 pixels.*more than twice'):
        resampled(raster, 30)
    with pytest.raises(ConfigError, match='expected at least 1/50'):
        scaled(raster, 0.01)
    with pytest.raises(ConfigError, match=r'a\.tif: has no CRS.*native_gsd_m=0\.21.*--gsd 0\.21'):
        resampled(describe_raster(path), 1.0)
