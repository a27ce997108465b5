import colorsys
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.color import hsv_to_rgb, rgb_to_hsv

from crossearth.errors import BandError, ConfigError
from crossearth.transforms import PhotometricDistortion
from crossearth.transforms.photometric import _saturated, _turned


def by_hand(pixel: list[float], drawn: dict[str, float]) -> list[float]:
    """The published steps with the standard library's colour conversion."""

    def clamp(values: list[float]) -> list[float]:
        return [min(max(value, 0.0), 1.0) for value in values]

    pixel = clamp([value + drawn['brightness'] for value in pixel])
    if drawn['contrast_first']:
        pixel = clamp([value * drawn['contrast'] for value in pixel])
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    saturation = min(saturation * drawn['saturation'], 1.0)
    pixel = list(colorsys.hsv_to_rgb((hue + drawn['hue']) % 1, saturation, value))
    if not drawn['contrast_first']:
        pixel = clamp([value * drawn['contrast'] for value in pixel])
    return pixel


def test_every_pixel_agrees_with_the_steps_done_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    distort = PhotometricDistortion(generator=generator)
    image = torch.rand(24, 3, 3, 4, generator=generator)
    distorted = distort(image)
    for sample in range(24):
        drawn = {
            name: float(distort._params[name][sample])
            for name in ('brightness', 'contrast', 'saturation', 'hue', 'contrast_first')
        }
        for y in range(3):
            for x in range(4):
                expected = by_hand(image[sample, :, y, x].tolist(), drawn)
                assert distorted[sample, :, y, x].tolist() == pytest.approx(expected, abs=2e-5)


@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0, 3), st.floats(-0.5, 0.5))
@settings(deadline=None, max_examples=60)
def test_colours_turn_as_by_conversion_to_hsv_and_back(
    seed: int, levels: int, saturation: float, hue: float
) -> None:
    """Few levels make grey, black and bands that are equally large frequent."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, levels + 1, (1, 3, 6, 7), generator=generator).double() / levels
    angle, chroma, value = rgb_to_hsv(image).split(1, 1)
    turned = [(angle + 2 * math.pi * hue) % (2 * math.pi), (chroma * saturation).clamp(0, 1), value]
    expected = hsv_to_rgb(torch.cat(turned, 1))[0]
    found = torch.stack(_turned(list(image[0]), saturation, hue))
    assert (found - expected).abs().max() < 1e-6


@given(st.integers(0, 10_000), st.integers(1, 300), st.floats(0, 3))
@settings(deadline=None, max_examples=60)
def test_saturation_alone_is_a_turn_by_nothing(seed: int, levels: int, saturation: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    rgb = list(torch.randint(0, levels + 1, (3, 6, 7), generator=generator).float() / levels)
    found, expected = (
        torch.stack(form) for form in (_saturated(rgb, saturation), _turned(rgb, saturation, 0.0))
    )
    assert (found - expected).abs().max() < 4e-6


def test_gradients_pass_through() -> None:
    image = (torch.rand(6, 3, 1, 2, dtype=torch.float64) * 0.4 + 0.3).requires_grad_()
    distort = PhotometricDistortion(
        brightness=0.1, contrast=(0.8, 1.2), generator=torch.Generator().manual_seed(1)
    )
    drawn = distort.forward_parameters(image.shape)
    assert torch.autograd.gradcheck(lambda x: distort(x, drawn), (image,))


def test_each_step_is_drawn_half_of_the_time_within_its_range() -> None:
    distort = PhotometricDistortion(generator=torch.Generator().manual_seed(0))
    drawn = distort.generate_parameters((4000, 3, 8, 8))
    for name, neutral, low, high in (
        ('brightness', 0, -32 / 255, 32 / 255),
        ('contrast', 1, 0.5, 1.5),
        ('saturation', 1, 0.5, 1.5),
        ('hue', 0, -0.1, 0.1),
    ):
        used = drawn[name][drawn[name] != neutral]
        assert abs(len(used) / 4000 - 0.5) < 4 * (0.25 / 4000) ** 0.5
        assert low <= used.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < used.max() <= high
    assert abs(drawn['contrast_first'].float().mean() - 0.5) < 4 * (0.25 / 4000) ** 0.5


def test_neutral_amounts_change_no_bit() -> None:
    distort = PhotometricDistortion(
        brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=0.0
    )
    image = torch.rand(3, 3, 16, 16)
    assert torch.equal(distort(image), image)


def test_output_stays_in_the_unit_range() -> None:
    distorted = PhotometricDistortion()(torch.rand(32, 3, 16, 16))
    assert distorted.min() >= 0
    assert distorted.max() <= 1


def test_further_bands_take_brightness_and_contrast_alone() -> None:
    distort = PhotometricDistortion(
        brightness=0.0, bands=(3, 1, 0), generator=torch.Generator().manual_seed(0)
    )
    image = torch.rand(16, 4, 8, 8) * 0.6
    distorted = distort(image)
    factor = distort._params['contrast'].view(-1, 1, 1)
    assert torch.allclose(distorted[:, 2], image[:, 2] * factor, atol=1e-6)
    rgb = PhotometricDistortion()(image[:, [3, 1, 0]], distort._params)
    assert torch.allclose(distorted[:, [3, 1, 0]], rgb, atol=1e-6)


def test_nodata_stays_nodata() -> None:
    image = torch.rand(16, 3, 8, 8)
    image[..., 4:] = 0
    assert PhotometricDistortion()(image)[..., 4:].abs().max() == 0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'contrast': (1.5, 0.5)}, r'contrast=\(1.5, 0.5\): expected 0 ≤ low ≤ high'),
        ({'saturation': (-0.5, 0.5)}, r'saturation=\(-0.5, 0.5\)'),
        ({'brightness': 2.0}, 'brightness=2.0'),
        ({'hue': 0.7}, 'hue=0.7'),
        ({'bands': (0, 1)}, r'bands=\(0, 1\): expected the positions of red'),
    ],
)
def test_arguments_without_meaning_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PhotometricDistortion(**arguments)


def test_an_image_without_colours_is_refused() -> None:
    with pytest.raises(BandError, match=r'the image has 1 band\(s\): choose three'):
        PhotometricDistortion()(torch.rand(1, 1, 4, 4))
