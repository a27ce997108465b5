import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossearth.models.padding import ceil_div, crop_to, pad_to_multiple


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_ceil_div_is_the_least_number_of_steps_that_covers(pixels, step):
    steps = ceil_div(pixels, step)
    assert (steps - 1) * step < pixels <= steps * step


def test_the_image_is_mirrored_down_and_right():
    image = torch.arange(6.0).view(1, 1, 2, 3)
    assert pad_to_multiple(image, 3, 5)[0, 0].tolist() == [
        [0, 1, 2, 1, 0],
        [3, 4, 5, 4, 3],
        [0, 1, 2, 1, 0],
    ]


def test_the_border_of_an_image_smaller_than_its_padding_is_repeated():
    image = torch.arange(2.0).view(1, 1, 2, 1)
    assert pad_to_multiple(image, 5, 2)[0, 0].tolist() == [[0, 0], [1, 1], [1, 1], [1, 1], [1, 1]]


@pytest.mark.parametrize('hw', [(1, 1), (31, 33), (64, 20)])
def test_what_was_padded_is_cropped_again(hw):
    image = torch.rand(2, 3, *hw)
    padded = pad_to_multiple(image, 32, 16)
    assert padded.shape[-2] % 32 == padded.shape[-1] % 16 == 0
    assert torch.equal(crop_to(padded, *hw), image)


def test_whole_multiples_stay_as_they_are():
    image = torch.rand(1, 3, 64, 32)
    assert torch.equal(pad_to_multiple(image, 32, 16), image)
