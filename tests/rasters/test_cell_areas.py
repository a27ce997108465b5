import numpy as np
import pytest
from affine import Affine
from pyproj import CRS, Geod

from crossearth.rasters import Georeference, PixelsToGround
from crossearth.rasters.cell_areas import CellAreas


def areas_of(crs: str, place: Affine, width: int) -> tuple[CellAreas, Georeference]:
    where = Georeference(CRS.from_user_input(crs).to_wkt(), place)
    return CellAreas(where, width=width, name='map.tif'), where


@pytest.mark.parametrize(
    ('crs', 'place'),
    [
        ('EPSG:32633', Affine(100, 0, 400_000, 0, -100, 5_800_000)),
        ('EPSG:3857', Affine(100, 0, 1e6, 0, -100, 8.4e6)),
        ('EPSG:3031', Affine(1000, 0, 1e6, 0, -1000, 1e6)),
        ('EPSG:4326', Affine(0.1, 0, 179.95, 0, -0.1, 61)),  # across the antimeridian
        ('EPSG:32633', Affine(60, 80, 400_000, 80, -60, 5_800_000)),  # rotated
    ],
)
def test_areas_are_those_of_polygons_on_the_ellipsoid(crs, place):
    areas, where = areas_of(crs, place, 5)
    to_degrees = PixelsToGround(where, CRS.from_epsg(4326), name='map.tif')
    along = np.linspace(0, 1, 200, endpoint=False)
    zero, one = np.zeros(200), np.ones(200)
    cols = 2 + np.concatenate([along, one, 1 - along, zero])
    rows = 3 + np.concatenate([zero, along, one, 1 - along])
    expected, _ = Geod(ellps='WGS84').polygon_area_perimeter(*to_degrees(cols, rows))
    assert areas.rows(3, 4)[0, 2] == pytest.approx(abs(expected), rel=2e-6)


def test_a_row_of_degrees_covers_the_zone_between_its_parallels():
    areas, _ = areas_of('EPSG:4326', Affine(1, 0, -180, 0, -1, 90), 360)
    rows = areas.rows(0, 180)
    assert rows.sum() == pytest.approx(510_065_621_724_088, rel=1e-9)  # of the ellipsoid, in m²
    assert rows[0, 0] < rows[89, 0] / 100
    assert rows[30].sum() == pytest.approx(rows[149].sum())


def test_columns_between_the_nodes_are_interpolated():
    areas, _ = areas_of('EPSG:32633', Affine(500, 0, 200_000, 0, -500, 5_800_000), 1200)
    row = areas.rows(7, 8)[0]
    exact = areas.cells(np.full(1200, 7.0), np.arange(1200.0))
    np.testing.assert_allclose(row, exact, rtol=1e-5)
    assert row.max() / row.min() > 1.002


def test_rows_that_leave_the_globe_have_the_areas_of_their_pixels():
    areas, _ = areas_of('ESRI:54009', Affine(1e5, 0, -1.81e7, 0, -1e5, 9_050_000), 362)
    rows = areas.rows(0, 181)
    row, col = (grid.ravel() for grid in np.mgrid[:181, :362].astype(float))
    exact = areas.cells(row, col).reshape(181, 362)
    np.testing.assert_array_equal(np.isfinite(rows), np.isfinite(exact))
    known = np.isfinite(exact)
    np.testing.assert_allclose(rows[known], exact[known], rtol=1e-9)
    # all but the rim of the globe
    assert 0.97 < rows[known].sum() / 510_065_621_724_088 < 1
