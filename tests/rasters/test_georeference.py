import math

import pytest
from affine import Affine
from pyproj import CRS

from crossearth.rasters import Georeference, ground_gsd


def at(crs: str, transform: Affine) -> Georeference:
    return Georeference(CRS.from_user_input(crs).to_wkt(), transform)


def test_ground_size_of_degrees_shrinks_with_latitude_along_the_columns_only() -> None:
    across, down = ground_gsd(
        at('EPSG:4326', Affine(1e-5, 0, 10, 0, -1e-5, 60)), height=10, width=10, name='a'
    )
    assert across == pytest.approx(1e-5 * 111_320 * math.cos(math.radians(60)), rel=5e-3)
    assert down == pytest.approx(1e-5 * 111_412, rel=1e-3)


def test_web_mercator_is_larger_than_the_ground() -> None:
    y = 6_378_137 * math.log(math.tan(math.pi / 4 + math.radians(60) / 2))
    size = ground_gsd(at('EPSG:3857', Affine(1, 0, 0, 0, -1, y)), height=2, width=2, name='a')
    assert size == pytest.approx((0.5, 0.5), rel=5e-3)


def test_grids_are_the_same_within_a_hundredth_of_a_pixel_of_one_crs() -> None:
    def place(code: int, transform: Affine) -> Georeference:
        return Georeference(CRS.from_epsg(code).to_wkt(), transform)

    def is_same(one: Georeference, other: Georeference) -> bool:
        return one.has_same_grid(other, height=500, width=500)

    metres, degrees = Affine(0.5, 0, 4e5, 0, -0.5, 5e6), Affine(2e-7, 0, 13, 0, -2e-7, 52)
    for code, transform in ((32633, metres), (4326, degrees)):
        here = place(code, transform)
        assert is_same(here, place(code, transform @ Affine.translation(0.009, 0)))
        assert not is_same(here, place(code, transform @ Affine.translation(0, 0.011)))
        assert not is_same(here, place(code, transform @ Affine.scale(1 + 3e-5)))
        assert not is_same(here, place(code, transform @ Affine(0, 1, 0, 1, 0, 0)))  # transposed
    assert not is_same(place(32632, metres), place(32633, metres))
    assert is_same(Georeference(None, metres), place(32633, metres))
