import numpy as np
import pytest
from affine import Affine

from crossearth.errors import ConfigError
from crossearth.survey.scenes import gather
from crossearth.survey.view import choose_view


@pytest.fixture
def look(write_raster, tmp_path):
    """A function that writes images of these pixels, and what a model is to see of them."""

    def seen(*images, **profile):
        for i, pixels in enumerate(images):
            write_raster(f'images/{i}.tif', pixels, **profile)
        found = gather('source', str(tmp_path / 'images'), None, progress=False)
        return choose_view(found, [], (1, 2, 3))

    return seen


def ramp(dtype, low, high, side=100):
    pixels = np.linspace(low, high, side * side).reshape(1, side, side)
    return pixels.repeat(3, axis=0).astype(dtype)


def test_bytes_need_no_range_and_others_get_their_percentiles(look):
    assert look(ramp('uint8', 0, 200)).value_range == {}
    assert look(ramp('uint16', 0, 3000)).value_range == {'uint16': (0.0, 2980.0)}
    assert look(ramp('int16', -500, 500)).value_range == {'int16': (-495.0, 495.0)}


def test_floats_in_0_to_1_keep_their_values_and_others_are_scaled(look):
    assert look(ramp('float32', 0, 1)).value_range == {'float32': (0.0, 1.0)}
    low, high = look(ramp('float32', 200, 300)).value_range['float32']
    assert (low, high) == pytest.approx((200.5, 299.5), abs=0.6)


def test_nodata_does_not_count(look):
    pixels = ramp('uint16', 1000, 2000)
    pixels[:, :30] = 65535
    assert look(pixels, nodata=65535).value_range == {'uint16': (1300.0, 2000.0)}


def test_images_of_one_value_have_no_range(look):
    with pytest.raises(ConfigError, match='hold the value 7 nearly everywhere'):
        look(np.full((3, 40, 40), 7, np.uint16))


@pytest.mark.parametrize(('side', 'window'), [(40, 32), (64, 64), (100, 96), (300, 256), (20, 32)])
def test_windows_are_multiples_of_the_stride_that_fit_into_the_images(look, side, window):
    assert look(ramp('uint8', 0, 200, side)).window_px == window


def test_the_middle_pixel_size_and_the_finest_and_coarsest_are_known(look, write_raster):
    one = look(ramp('uint8', 0, 200))
    assert one.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert one.gsd_range_m == pytest.approx((0.5, 0.5), rel=1e-3)
    write_raster('images/1.tif', ramp('uint8', 0, 200), transform=Affine(2, 0, 4e5, 0, -2, 5.8e6))
    several = look(ramp('uint8', 0, 200))
    assert several.gsd_m == pytest.approx(1.0, rel=1e-3)
    assert several.gsd_range_m == pytest.approx((0.5, 2.0), rel=1e-3)


def test_pixels_in_degrees_count_by_their_area(look):
    degrees = {'crs': 'EPSG:4326', 'transform': Affine(1e-5, 0, 10, 0, -1e-5, 60)}
    view = look(ramp('uint8', 0, 200), **degrees)
    assert view.gsd_m == pytest.approx(1e-5 * 111_320 * np.sqrt(0.5), rel=0.01)


def test_without_a_place_no_pixel_size_is_made_up(look):
    view = look(ramp('uint8', 0, 200), crs=None)
    assert (view.gsd_m, view.gsd_range_m) == (None, None)
