import math

import pytest
import torch

from crossearth.errors import ConfigError
from crossearth.radiometry import to_unit


def test_integer_images_are_divided_by_the_largest_value_of_their_type() -> None:
    for dtype, largest in ((torch.uint8, 255), (torch.uint16, 65535), (torch.int16, 32767)):
        image = torch.tensor([0, 1, largest // 2, largest]).to(dtype)
        expected = [0.0, 1 / largest, (largest // 2) / largest, 1.0]
        assert to_unit(image).tolist() == pytest.approx(expected, abs=1e-7)
        assert to_unit(image).dtype == torch.float32


def test_negative_values_of_signed_types_become_nodata() -> None:
    assert to_unit(torch.tensor([-32768, -1, 0], dtype=torch.int16)).tolist() == [0.0, 0.0, 0.0]


def test_an_explicit_range_maps_its_ends_to_0_and_1_and_clamps() -> None:
    image = torch.tensor([0, 200, 1200, 2200, 9000], dtype=torch.uint16)
    assert to_unit(image, value_range=(200.0, 2200.0)).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


def test_large_integers_keep_their_differences_in_a_narrow_range() -> None:
    image = torch.tensor([2**30, 2**30 + 1, 2**30 + 2], dtype=torch.int32)
    assert to_unit(image, value_range=(2.0**30, 2.0**30 + 2)).tolist() == [0.0, 0.5, 1.0]


def test_nan_becomes_0_and_infinities_the_ends() -> None:
    image = torch.tensor([math.nan, -math.inf, 5.0, math.inf])
    assert to_unit(image, value_range=(0.0, 10.0)).tolist() == [0.0, 0.0, 0.5, 1.0]
    assert to_unit(torch.tensor([math.nan, 0.25])).tolist() == [0.0, 0.25]
    assert to_unit(torch.full((2, 2), math.nan)).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_new_tensor_is_returned_and_the_input_is_as_it_was() -> None:
    image = torch.tensor([0.5, math.nan])
    to_unit(image)[0] = 9
    assert image[0] == 0.5
    assert image[1].isnan()


def test_float_images_of_unknown_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r'values from 3 to 250, expected \[0, 1\]: pass value_r'):
        to_unit(torch.tensor([3.0, 250.0]))


def test_resampling_overshoot_is_clamped() -> None:
    assert to_unit(torch.tensor([-0.0005, 1.0005])).tolist() == [0.0, 1.0]


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'value_range=\(4.0, 4.0\) is empty'):
        to_unit(torch.zeros(2), value_range=(4.0, 4.0))


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32, torch.float32, torch.float64])
def test_the_image_itself_stays_as_it_is(dtype: torch.dtype) -> None:
    image = torch.tensor([0, 50, 100]).to(dtype)
    made = to_unit(image, value_range=(0.0, 200.0))
    assert made.tolist() == [0.0, 0.25, 0.5]
    assert image.tolist() == [0, 50, 100]
    out = torch.empty(3)
    assert to_unit(image, value_range=(0.0, 200.0), out=out) is out
    assert out.tolist() == [0.0, 0.25, 0.5]
