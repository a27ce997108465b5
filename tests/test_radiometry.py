import pytest
import torch

from crossearth.errors import ConfigError
from crossearth.radiometry import to_unit


@pytest.mark.parametrize(
    ('dtype', 'white'), [(torch.uint8, 255), (torch.uint16, 65535), (torch.int16, 32767)]
)
def test_black_and_white_of_each_type_are_0_and_1(dtype, white):
    image = torch.tensor([[[0, white]]], dtype=torch.int32).to(dtype)
    assert to_unit(image).tolist() == [[[0.0, 1.0]]]


def test_values_outside_the_range_are_clipped_and_the_input_is_kept():
    image = torch.tensor([[[-5.0, 500.0, 2000.0]]])
    assert to_unit(image, value_range=(0, 1000)).tolist() == [[[0.0, 0.5, 1.0]]]
    assert image.tolist() == [[[-5.0, 500.0, 2000.0]]]


def test_ranges_without_meaning_are_refused():
    with pytest.raises(ConfigError, match='must be the larger'):
        to_unit(torch.zeros(1, 1, 1), value_range=(1, 1))
    with pytest.raises(ConfigError, match='no usual full scale'):
        to_unit(torch.zeros(1, 1, 1, dtype=torch.int64))
