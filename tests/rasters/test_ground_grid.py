import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import Geod, Transformer
from rasterio.control import GroundControlPoint

from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.rasters import (
    Georeference,
    Raster,
    RasterReader,
    describe_raster,
    ground_gsd,
    local_metric_crs,
    resampled,
)
from crossearth.rasters.ground_grid import has_even_pixels, on_local_projection

ZEROS = np.zeros((1, 300, 340), np.uint8)
UTM = Affine(0.5, 0, 4e5, 0, -0.5, 5e6)


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
        ('EPSG:32633', UTM @ Affine.shear(4)),
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


# CRS, transform and (width, height) of rasters of 300 rows; in the comments, how far pixels differ
EVEN = {
    'a zone of UTM': ('EPSG:32633', Affine(1000, 0, 4e5, 0, -1000, 5.3e6)),  # 0.05 %
    'beyond its zone': ('EPSG:32632', Affine(2, 0, 800_000, 0, -2, 5.8e6)),
    'turned': ('EPSG:32618', Affine.translation(5e5, 4e6) @ Affine.rotation(20) @ Affine.scale(2)),
    'south up': ('EPSG:32633', Affine(0.5, 0, 4e5, 0, 0.5, 5.8e6)),
    'feet': ('EPSG:2263', Affine(0.5, 0, 987_000, 0, -0.5, 212_000)),
    'a city in Web Mercator': ('EPSG:3857', Affine(100, 0, 1.5e6, 0, -100, 6.9e6)),  # 0.2 %
    'a city in degrees': ('EPSG:4326', Affine(5e-4, 0, 13.4, 0, -3e-4, 52.5)),  # 0.1 %
    'degrees over the antimeridian': ('EPSG:4326', Affine(1e-4, 0, 179.99, 0, -1e-4, -17)),
    'degrees from 0 to 360': ('EPSG:4326', Affine(1e-4, 0, 190, 0, -1e-4, 45)),
    'Web Mercator beyond 180': ('EPSG:3857', Affine(2, 0, 20_037_300, 0, -2, -1.9e6)),
    'around the pole': ('EPSG:3413', Affine(30, 0, -5000, 0, -30, 5000)),
    'near the middle of Europe': ('EPSG:3035', Affine(10, 0, 4.5e6, 0, -10, 3.2e6)),
}
UNEVEN = {
    'sheared': ('EPSG:32633', UTM @ Affine.shear(2)),
    'a country in Web Mercator': ('EPSG:3857', Affine(2000, 0, 1.5e6, 0, -2000, 7e6)),  # 6 %
    'a country in degrees': ('EPSG:4326', Affine(0.01, 0, 10, 0, -0.01, 52)),  # 6 %
    'where meridians meet': ('EPSG:4326', Affine(1e-3, 0, 20, 0, -1e-3, 89.9)),
    'the edge of Europe': ('EPSG:3035', Affine(10, 0, 2.7e6, 0, -10, 1.9e6)),  # 3° off
}
SEEN = Window(0, 0, 0, 40, 40)


def measured_m(raster: Raster) -> np.ndarray:
    """Sides of the first, a middle and the last pixel on the ellipsoid, by PROJ alone."""
    assert raster.crs is not None
    to_degrees = Transformer.from_crs(raster.crs, 'EPSG:4326', always_xy=True)
    sides = []
    for col, row in ((0, 0), (raster.width // 3, raster.height // 2), (-1, -1)):
        col, row = col % raster.width, row % raster.height
        corners = [raster.transform @ p for p in ((col, row), (col + 1, row), (col, row + 1))]
        lon, lat = to_degrees.transform(*zip(*corners, strict=True))
        sides.append(Geod(ellps='WGS84').inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])[2])
    return np.array(sides)


@pytest.mark.parametrize('place', EVEN)
@pytest.mark.parametrize('factor', [0.6, 3.7])
def test_a_raster_of_even_pixels_keeps_its_axes_its_corner_and_its_crs(
    write_raster: Callable[..., Path], place: str, factor: float
) -> None:
    crs, transform = EVEN[place]
    raster = describe_raster(write_raster('a.tif', ZEROS, crs=crs, transform=transform))
    across, down = raster.gsd_m() or (0, 0)
    gsd_m = factor * max(across, down)
    grid = resampled(raster, gsd_m)
    assert grid.steps_px == pytest.approx((gsd_m / down, gsd_m / across), rel=1e-12)
    assert grid.crs == raster.crs
    scale = Affine.scale(gsd_m / across, gsd_m / down)
    np.testing.assert_allclose(tuple(grid.transform), tuple(transform @ scale), rtol=1e-12)
    # the last pixel is there if its centre is, so no more than half of one is missing
    assert abs(grid.height - 300 * down / gsd_m) <= 0.5
    assert abs(grid.width - 340 * across / gsd_m) <= 0.5
    assert grid.gsd_m() == (gsd_m, gsd_m)
    np.testing.assert_allclose(measured_m(grid), gsd_m, rtol=0.011)
    _, shown = RasterReader().read(grid, SEEN)
    assert shown is None  # no corner is empty


@pytest.mark.parametrize('place', UNEVEN)
def test_other_rasters_are_seen_in_a_local_projection(
    write_raster: Callable[..., Path], place: str
) -> None:
    crs, transform = UNEVEN[place]
    raster = describe_raster(write_raster('a.tif', ZEROS, crs=crs, transform=transform))
    assert not has_even_pixels(raster)
    gsd_m = 2 * max(raster.gsd_m() or (0,))
    grid = resampled(raster, gsd_m)
    assert grid == on_local_projection(raster, gsd_m)
    assert grid.steps_px is None
    b, d = grid.transform.b, grid.transform.d
    assert (b, d) == (0, 0)
    np.testing.assert_allclose(measured_m(grid), gsd_m, rtol=7e-3)  # UPS is true to 0.6 %


def test_control_points_are_no_even_grid_wherever_they_lie(
    write_raster: Callable[..., Path],
) -> None:
    points = [GroundControlPoint(r, c, *(UTM @ (c, r))) for r in (0, 300) for c in (0, 340)]
    path = write_raster('g.tif', ZEROS, crs='EPSG:32633', transform=None, gcps=points)
    raster = describe_raster(path)
    assert not has_even_pixels(raster)
    assert resampled(raster, 1.0).crs == local_metric_crs(13.7, 45)


def test_metres_of_a_projection_that_are_true_to_a_thousandth_are_taken_as_they_are(
    write_raster: Callable[..., Path],
) -> None:
    def gsd_of(crs: str, transform: Affine) -> tuple[float, float] | None:
        return describe_raster(write_raster('a.tif', ZEROS, crs=crs, transform=transform)).gsd_m()

    assert gsd_of('EPSG:32633', UTM) == (0.5, 0.5)  # 0.9997 of them on the ellipsoid
    assert gsd_of('EPSG:32633', Affine(0.4, 0.3, 4e5, 0.3, -0.4, 5e6)) == (0.5, 0.5)
    foot_m = 1200 / 3937
    feet = gsd_of('EPSG:2263', EVEN['feet'][1])
    assert feet == pytest.approx((0.5 * foot_m, 0.5 * foot_m), rel=1e-12)
    far = Affine(2, 0, 950_000, 0, -2, 5.8e6)  # 450 km from the middle of its zone
    measured = measured_m(
        describe_raster(write_raster('b.tif', ZEROS, crs='EPSG:32632', transform=far))
    )
    np.testing.assert_allclose(measured, 2 / 1.0021, rtol=1e-4)
    np.testing.assert_allclose([gsd_of('EPSG:32632', far)] * 3, measured, rtol=1e-5)


def test_tiles_of_one_grid_stay_on_one_grid(write_raster: Callable[..., Path]) -> None:
    step = Affine.translation(340, -300)
    here, there = (
        resampled(describe_raster(write_raster(name, ZEROS, transform=transform)), 1.0)
        for name, transform in (('a.tif', UTM), ('b.tif', UTM @ step))
    )
    assert ~here.transform @ there.transform == Affine.translation(170, -150)


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
    with pytest.raises(ConfigError, match=r'pixels of .* are 0.5\d* by 0.5\d* m, more than 50'):
        resampled(raster, 1e-3)
    swapped = describe_raster(write_raster('s.tif', ZEROS, crs='EPSG:4326', transform=UTM))
    with pytest.raises(ConfigError, match=r's\.tif: its CRS and transform put its middle off'):
        resampled(swapped, 1.0)
    globe = describe_raster(
        write_raster('g.tif', ZEROS, crs='EPSG:4326', transform=Affine(1, 0, -170, 0, -0.5, 75))
    )
    with pytest.raises(ConfigError, match=r'g\.tif: spans .* km'):
        resampled(globe, 5000.0)


def test_scenes_narrower_than_one_pixel_are_refused_not_left_without_data(
    write_raster: Callable[..., Path],
) -> None:
    raster = describe_raster(write_raster('a.tif', ZEROS, transform=Affine.scale(1e-4, -1e-4)))
    with pytest.raises(ConfigError, match=r'a\.tif: has 300 x 340 pixels.*more than twice'):
        resampled(raster, 1.0)
    with pytest.raises(ConfigError, match=r'covers 0\.0\d+ by 0\.0\d+ m, less than a pixel of 1 m'):
        on_local_projection(raster, 1.0)
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
