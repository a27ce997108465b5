import pytest
import shapely
from pyproj import CRS, Transformer
from rasterio.transform import Affine

from crossearth.catalog.footprint import bbox_of, footprint
from crossearth.rasters import Georeference


def covers(crs: str, transform: Affine, height: int, width: int) -> shapely.Geometry:
    place = Georeference(CRS.from_user_input(crs).to_wkt(), transform)
    return footprint(place, height=height, width=width, name='a.tif')


def test_what_crosses_the_antimeridian_is_cut_there() -> None:
    shape = covers('EPSG:32760', Affine(10, 0, 819_900, 0, -10, 8.17e6), 60, 80)
    assert shape.geom_type == 'MultiPolygon'
    assert shape.is_valid
    assert len(shapely.get_parts(shape)) == 2
    west, south, east, north = bbox_of(shape)
    assert 179.99 < west < 180
    assert -180 < east < -179.99
    to_degrees = Transformer.from_crs('EPSG:32760', 'EPSG:4326', always_xy=True)
    _, lat = to_degrees.transform([819_900, 820_700], [8.17e6, 8.17e6 - 600])
    assert (south, north) == pytest.approx((lat[1], lat[0]), abs=2e-4)


def test_longitudes_from_0_to_360_are_counted_from_180_west() -> None:
    shape = covers('EPSG:4326', Affine(1, 0, 230, 0, -1, 10), 2, 3)
    assert shape.bounds == (-130, 8, -127, 10)


@pytest.mark.parametrize(
    ('west', 'width', 'bounds'),
    [(-170, 340, [-170, -50, 170, 50]), (0, 360, [-180, -50, 180, 50])],
)
def test_a_map_wider_than_half_a_turn_covers_what_it_covers(
    west: int, width: int, bounds: list[float]
) -> None:
    shape = covers('EPSG:4326', Affine(1, 0, west, 0, -1, 50), 100, width)
    assert shape.area == pytest.approx(100 * width)
    assert bbox_of(shape) == bounds


def test_a_map_in_degrees_has_four_corners() -> None:
    shape = covers('EPSG:4326', Affine(0.1, 0, 12.3, 0, -0.1, 45.7), 20, 30)
    assert len(shape.exterior.coords) == 5


def test_a_pole_is_inside_of_what_covers_it() -> None:
    shape = covers('EPSG:3413', Affine(1e4, 0, -4e5, 0, -1e4, 3e5), 60, 80)
    assert shape.bounds[0] == -180
    assert shape.bounds[2:] == (180, 90)
    assert shape.bounds[1] == pytest.approx(85.4, abs=0.2)


def test_edges_bend_in_degrees() -> None:
    shape = covers('EPSG:32633', Affine(1e3, 0, 2e5, 0, -1e3, 7e6), 100, 600)
    corners = shapely.Polygon([shape.exterior.coords[i] for i in (0, 16, 32, 48)])
    assert len(shape.exterior.coords) == 65
    assert shape.exterior.is_ccw
    assert shapely.symmetric_difference(shape, corners).area > 0.01
