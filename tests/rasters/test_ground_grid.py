import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from crossearth.errors import ConfigError
from crossearth.rasters import (
    Georeference,
    describe_raster,
    ground_gsd,
    local_metric_crs,
    resampled,
)

ZEROS = np.zeros((1, 300, 340), np.uint8)


@pytest.mark.parametrize(
    ('lon', 'lat', 'span', 'code'),
    [(3, 50, 1e4, 32631), (180, -20, 1e4, 32701), (179.99, 5, 1e4, 32660), (9, -85, 1e4, 32761)],
)
def test_local_projection_is_the_zone_of_the_place(
    lon: float, lat: float, span: float, code: int
) -> None:
    assert local_metric_crs(lon, lat, span_m=span).to_epsg() == code


def test_large_scenes_get_an_equal_area_projection_of_their_own() -> None:
    operation = local_metric_crs(40.0, 12.0, span_m=1e6).coordinate_operation
    assert operation is not None
    assert operation.method_name == 'Lambert Azimuthal Equal Area'
    assert [parameter.value for parameter in operation.params[:2]] == [12.0, 40.0]


@pytest.mark.parametrize(
    ('crs', 'transform'),
    [
        ('EPSG:32633', Affine(0.5, 0, 4e5, 0, -0.5, 5e6)),
        ('EPSG:3857', Affine(1, 0, 1.1e6, 0, -1, 7.2e6)),
        ('EPSG:4326', Affine(1e-5, 0, 13, 0, -6e-6, 52)),
        ('EPSG:4326', Affine(1e-5, 0, 179.9995, 0, -1e-5, -16.5)),
        ('EPSG:3031', Affine(3, 0, -1e5, 0, -3, 2e6)),
        ('EPSG:32633', Affine(0.4, 0.3, 4e5, 0.3, -0.4, 5e6)),
    ],
)
@pytest.mark.parametrize('factor', [0.7, 1.9])
def test_model_pixels_are_square_and_as_large_on_the_ground_as_asked(
    write_raster: Callable[..., Path], crs: str, transform: Affine, factor: float
) -> None:
    raster = describe_raster(
        write_raster('a.tif', np.zeros((1, 300, 400), np.uint8), crs=crs, transform=transform)
    )
    own = raster.gsd_m()
    assert own is not None
    gsd_m = factor * max(own)
    grid = resampled(raster, gsd_m)
    assert grid.native is raster
    assert grid.crs is not None
    made = Georeference(grid.crs.to_wkt(), grid.transform)
    on_ground = ground_gsd(made, height=grid.height, width=grid.width, name='a')
    assert on_ground == pytest.approx((gsd_m, gsd_m), rel=6e-3)  # UPS is true to 0.6 %
    # no larger than the scene turned by any angle, so nothing wraps around the globe
    assert max(grid.height, grid.width) * gsd_m < 1.5 * math.hypot(300 * own[1], 400 * own[0])


def test_rasters_of_that_pixel_size_are_left_as_they_are(write_raster: Callable[..., Path]) -> None:
    raster = describe_raster(write_raster('a.tif', ZEROS))
    assert resampled(raster, 0.505) is raster
    assert resampled(raster, 0.52).native is raster


def test_rasters_that_cannot_be_resampled_say_why(write_raster: Callable[..., Path]) -> None:
    placeless = describe_raster(write_raster('p.tif', ZEROS, crs=None))
    with pytest.raises(ConfigError, match=r"p\.tif: has no CRS and transform.*crs='EPSG"):
        resampled(placeless, 1.0)
    raster = describe_raster(write_raster('a.tif', ZEROS))
    for wrong in (0.0, -1.0, float('nan')):
        with pytest.raises(ConfigError, match='expected metres, more than 0'):
            resampled(raster, wrong)
    with pytest.raises(ConfigError, match=r'pixels of .* are 0.5\d* by 0.5\d* m: .* in metres'):
        resampled(raster, 1e-3)
    globe = describe_raster(
        write_raster('g.tif', ZEROS, crs='EPSG:4326', transform=Affine(1, 0, -170, 0, -0.5, 75))
    )
    with pytest.raises(ConfigError, match=r'g\.tif: spans .* km'):
        resampled(globe, 5000.0)


def test_scenes_narrower_than_one_pixel_are_refused_not_left_without_data(
    write_raster: Callable[..., Path],
) -> None:
    raster = describe_raster(write_raster('a.tif', ZEROS, transform=Affine.scale(1e-4, -1e-4)))
    with pytest.raises(ConfigError, match=r'covers 0\.0339 by 0\.0299 m, less than a pixel of 1 m'):
        resampled(raster, 1.0)
    assert resampled(raster, 0.02).native is raster


def test_pixels_that_all_lie_on_one_line_have_no_size(write_raster: Callable[..., Path]) -> None:
    for line in (Affine(0, 0, 4e5, 0, 0, 5e6), Affine(0.5, 0.5, 4e5, -0.5, -0.5, 5e6)):
        raster = describe_raster(write_raster('a.tif', ZEROS, transform=line))
        assert raster.gsd_m() is None
        with pytest.raises(ConfigError, match=r'a\.tif: its transform, .* puts all pixels on one'):
            resampled(raster, 1.0)


def test_ground_control_points_without_a_crs_are_named(write_raster: Callable[..., Path]) -> None:
    raster = describe_raster(write_raster('a.tif', ZEROS, crs=None))
    points = (
        (0.0, 0.0, 13.0, 52.0, 0.0),
        (0.0, 340.0, 13.1, 52.0, 0.0),
        (300.0, 0.0, 13.0, 51.9, 0.0),
    )
    raster = dataclasses.replace(raster, georeference=Georeference(gcps=points))
    with pytest.raises(ConfigError, match=r'has 3 ground control points without a CRS.*-a_srs'):
        resampled(raster, 1.0)
