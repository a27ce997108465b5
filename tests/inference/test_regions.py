import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize, shapes
from scipy import ndimage

from crossearth.inference.regions import regions


def strips_of(labels: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    return [part for part in np.split(labels, sorted(cuts)) if part.size]


def components(labels: np.ndarray, nodata: int) -> int:
    return sum(ndimage.label(labels == value)[1] for value in np.unique(labels) if value != nodata)


@st.composite
def maps(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    classes = draw(st.integers(1, 3))
    values = draw(
        st.lists(st.integers(0, classes), min_size=height * width, max_size=height * width)
    )
    return np.array(values, np.uint8).reshape(height, width)


@settings(deadline=None, max_examples=60)
@given(maps(), st.lists(st.integers(1, 23), max_size=6))
def test_regions_are_the_connected_components_whatever_the_strips(
    labels: np.ndarray, cuts: list[int]
) -> None:
    found = list(regions(iter(strips_of(labels, cuts)), nodata=0))
    assert len(found) == components(labels, 0)
    assert all(region.polygon.is_valid for region in found)
    burnt = np.zeros_like(labels)
    if found:
        burnt = rasterize(
            [(region.polygon, region.label) for region in found], labels.shape, dtype='uint8'
        )
    np.testing.assert_array_equal(burnt, labels)
    assert sum(region.polygon.area for region in found) == np.count_nonzero(labels)


def blobs(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    fields = np.random.default_rng(seed).normal(size=(4, height, width))
    return ndimage.gaussian_filter(fields, (0, 6, 6)).argmax(0).astype(np.uint8) + 1


@pytest.mark.parametrize('tolerance', [1.0, 3.0])
def test_simplified_regions_cover_the_map_without_gaps_or_overlaps(tolerance: float) -> None:
    labels = blobs(200, 180)
    found = list(regions(iter(strips_of(labels, [64, 128])), nodata=0, simplify_px=tolerance))
    polygons = [region.polygon for region in found]
    assert len(found) == components(labels, 0)
    assert all(polygon.is_valid for polygon in polygons)
    assert sum(polygon.area for polygon in polygons) == pytest.approx(200 * 180, abs=1e-6)
    union = shapely.union_all(polygons)
    assert union.area == pytest.approx(200 * 180, abs=1e-6)
    assert union.equals(shapely.box(0, 0, 180, 200))
    exact = list(regions(iter([labels]), nodata=0))
    vertices = sum(shapely.get_num_coordinates(polygon) for polygon in polygons)
    assert vertices < 0.5 * sum(shapely.get_num_coordinates(r.polygon) for r in exact)
    burnt = rasterize([(r.polygon, r.label) for r in found], labels.shape, dtype='uint8')
    assert (burnt == labels).mean() > 0.9


def test_strips_agree_with_the_polygoniser_on_the_whole_map() -> None:
    labels = blobs(150, 130, seed=3)
    whole = {
        (int(value), shapely.geometry.shape(shape).normalize().wkt)
        for shape, value in shapes(labels, connectivity=4)
    }
    found = {
        (region.label, region.polygon.normalize().simplify(0).normalize().wkt)
        for region in regions(iter(strips_of(labels, [37, 90])), nodata=None)
    }
    simplified = {
        (label, shapely.from_wkt(text).simplify(0).normalize().wkt) for label, text in whole
    }
    assert found == simplified


@pytest.mark.parametrize('cuts', [[], [1], [2], [1, 2]])
def test_neighbours_have_the_points_where_three_regions_meet(cuts: list[int]) -> None:
    # the long border of 3 is straight: only there do 1 and 2 meet it, from above or below
    labels = np.array([[1, 1, 2, 2], [3, 3, 3, 3], [4, 5, 5, 5]], np.uint8)
    found = {
        region.label: region.polygon for region in regions(iter(strips_of(labels, cuts)), nodata=0)
    }
    points = set(found[3].exterior.coords)
    assert {(2.0, 1.0), (1.0, 2.0)} <= points
    assert shapely.coverage_is_valid([*found.values()])


@pytest.mark.parametrize('tolerance', [0.0, 2.0])
@pytest.mark.parametrize('cuts', [[], [64], [37, 90]])
def test_shared_borders_have_the_same_points_on_both_sides(
    tolerance: float, cuts: list[int]
) -> None:
    labels = blobs(128, 90, seed=5)
    found = regions(iter(strips_of(labels, cuts)), nodata=0, simplify_px=tolerance)
    polygons = [region.polygon for region in found]
    assert shapely.coverage_is_valid(polygons)
