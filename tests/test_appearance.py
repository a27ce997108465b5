import numpy as np
import pytest
import torch

from crossearth.appearance import (
    Appearance,
    AppearanceMeter,
    band_distances,
    sharpness,
)
from crossearth.errors import ConfigError

LEVELS = ((0.1, 0.2, 0.3, 0.4, 0.5),)


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_windows_of_any_size_add_up_to_the_statistics_of_all_their_pixels():
    windows = [noise(2, 30, 40), noise(2, 17, 9) ** 2]
    meter = AppearanceMeter()
    for window in windows:
        meter.add(window)
    looks = meter.appearance()
    pixels = torch.cat([window.flatten(1) for window in windows], 1).double().numpy()
    np.testing.assert_allclose(looks.mean, pixels.mean(1), atol=1e-12)
    np.testing.assert_allclose(looks.std, pixels.std(1), atol=1e-9)
    levels = np.percentile(pixels, (2, 25, 50, 75, 98), axis=1).T
    np.testing.assert_allclose(looks.percentiles, levels, atol=2e-3)
    assert looks.windows == 2


def test_pixels_without_data_count_nowhere():
    image, valid = noise(1, 40, 40), torch.ones(40, 40, dtype=torch.bool)
    valid[:, 30:] = False
    other = image.clone()
    other[:, :, 30:] = 0.9
    looks = []
    for one in (image, other):
        meter = AppearanceMeter()
        meter.add(one, valid)
        looks.append(meter.appearance())
    assert looks[0] == looks[1]


def test_blurring_lowers_sharpness_and_turning_light_down_does_not_change_it():
    sharp = noise(3, 64, 64)
    soft = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2)
    assert sharpness(soft) < 0.25 * sharpness(sharp)
    assert sharpness(sharp * 0.25 + 0.1) == pytest.approx(sharpness(sharp), rel=1e-5)


def test_a_wave_below_a_quarter_of_the_sampling_rate_is_not_sharp_and_one_above_is():
    places = torch.arange(128.0)
    for cycles, expected in ((0.2, 0.0), (0.3, 1.0)):
        wave = torch.sin(2 * torch.pi * cycles * places).expand(1, 128, 128)
        assert sharpness(wave) == pytest.approx(expected, abs=1e-3)


def test_flat_images_have_no_sharpness():
    assert sharpness(torch.full((3, 16, 16), 0.7)) is None
    assert sharpness(noise(1, 8, 8), torch.zeros(8, 8, dtype=torch.bool)) is None


def test_nothing_is_said_of_no_pixels():
    meter = AppearanceMeter()
    with pytest.raises(ConfigError, match='no pixel with data was seen'):
        meter.appearance()
    meter.add(noise(1, 4, 4), torch.zeros(4, 4, dtype=torch.bool))
    with pytest.raises(ConfigError, match='no pixel with data was seen'):
        meter.appearance()


def test_distances_count_in_deviations_of_the_source():
    source = Appearance((0.2,), (0.1,), LEVELS, None, 1)
    assert band_distances(source, source) == [0.0]
    assert band_distances(source, Appearance((0.5,), (0.5,), LEVELS, None, 1)) == [5.0]
    two = Appearance((0.2, 0.2), (0.1, 0.1), LEVELS * 2, None, 1)
    with pytest.raises(ConfigError, match='the source has 1 bands, but the scenes have 2'):
        band_distances(source, two)


@pytest.mark.parametrize(
    ('values', 'match'),
    [
        (((float('nan'),), (0.1,), LEVELS, None, 1), 'negative or not finite'),
        (((0.1,), (-0.1,), LEVELS, None, 1), 'negative or not finite'),
        (((0.1, 0.2), (0.1,), LEVELS, None, 1), 'expected one per band'),
        (((0.1,), (0.1,), ((0.5,),), None, 1), 'expected one per band'),
    ],
)
def test_impossible_numbers_are_refused(values, match):
    with pytest.raises(ConfigError, match=match):
        Appearance(*values)
