import numpy as np
import pytest
import shapely
import shapely.affinity
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize, shapes

from crossearth.inference.right_angles import square_corners


def mapped(shape: shapely.Polygon, side: int = 120) -> shapely.Polygon:
    """The stairs that pixels make of a shape."""
    burnt = rasterize([shape], (side, side), dtype='uint8')
    (found,) = [shapely.geometry.shape(one) for one, value in shapes(burnt) if value == 1]
    return found


@settings(max_examples=30)
@given(
    degrees=st.floats(0, 180),
    width=st.floats(12, 50),
    height=st.floats(12, 50),
    seed=st.integers(0, 100),
)
def test_the_outline_is_right_angled_near_and_as_large(
    degrees: float, width: float, height: float, seed: int
) -> None:
    house = shapely.box(60 - width / 2, 60 - height / 2, 60 + width / 2, 60 + height / 2)
    wing = shapely.affinity.translate(shapely.box(0, 0, width / 2, 10), 60, 55 + height / 2)
    house = house.union(wing) if seed % 2 else house
    stairs = mapped(shapely.affinity.rotate(house, degrees, origin=(60, 60)))
    made = square_corners(stairs, tolerance=3)
    if made is None:  # rare, and allowed: the outline stays
        return
    assert made.is_valid
    assert made.area == pytest.approx(stairs.area, rel=1e-3)
    assert stairs.buffer(3).covers(made)
    assert made.covers(stairs.buffer(-3))
    steps = np.diff(shapely.get_coordinates(made.exterior), axis=0)
    steps /= np.hypot(*steps.T)[:, None]
    np.testing.assert_allclose((steps * np.roll(steps, 1, 0)).sum(1), 0, atol=1e-6)


@pytest.mark.parametrize('degrees', range(0, 90, 10))
def test_turned_rectangles_get_four_corners_where_they_are(degrees: int) -> None:
    house = shapely.affinity.rotate(shapely.box(40, 45, 80, 70), degrees, origin=(60, 60))
    made = square_corners(mapped(house), tolerance=2)
    assert made is not None
    assert len(made.exterior.coords) == 5
    assert made.intersection(house).area / made.union(house).area > 0.96


def test_walls_below_the_tolerance_vanish_and_keep_the_area() -> None:
    outline = [(0, 0), (20, 0), (20, 9), (10, 9), (10, 10), (0, 10)]
    made = square_corners(shapely.Polygon(outline), tolerance=1.5)
    assert made is not None
    assert shapely.get_coordinates(made).max(0) == pytest.approx([20, 9.5], abs=0.02)
    sharp = square_corners(shapely.Polygon(outline), tolerance=0.8)
    assert sharp is not None
    assert sharp.equals_exact(shapely.Polygon(outline), 1e-6, normalize=True)


def test_holes_stay_and_what_has_no_corners_is_refused() -> None:
    court = shapely.box(10, 10, 20, 22)
    made = square_corners(shapely.box(0, 0, 40, 40) - court, tolerance=2)
    assert made is not None
    (hole,) = made.interiors
    assert shapely.Polygon(hole).symmetric_difference(court).area < 0.1
    assert square_corners(shapely.Point(0, 0).buffer(20), tolerance=2) is None
    assert square_corners(shapely.box(0, 0, 30, 1), tolerance=2) is None
