import io
import math

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.transforms import PhotometricDistortion, SensorSimulation
from crossearth.transforms.sensor import add_noise, blur_matrix, compress, sampling_matrix

OFF = {'sigma': None, 'coarsening': None, 'shot': None, 'read': None, 'bits': None, 'quality': None}
ALWAYS = dict.fromkeys(('p_blur', 'p_sampling', 'p_noise', 'p_bits', 'p_jpeg', 'p'), 1.0)
DOUBLE = torch.zeros(1, dtype=torch.float64)


def only(**steps: object) -> SensorSimulation:
    """A sensor that always does the steps that are named, and no other."""
    generator = torch.Generator().manual_seed(0)
    return SensorSimulation(**{**OFF, **ALWAYS, **steps}, generator=generator)


def sinusoid(cycles_per_px: float, length: int) -> Tensor:
    position = torch.arange(length, dtype=torch.float64)
    return 0.5 + 0.4 * torch.sin(2 * math.pi * cycles_per_px * position + 0.3)


def contrast_of(line: Tensor, cycles_per_px: float) -> float:
    """Amplitude of a sinusoid in the middle of a line, by least squares."""
    position = torch.arange(len(line), dtype=torch.float64)[64:-64]
    angle = 2 * math.pi * cycles_per_px * position
    waves = torch.stack([angle.sin(), angle.cos(), torch.ones_like(angle)], 1)
    found = torch.linalg.lstsq(waves, line[64:-64, None]).solution.flatten()
    return float(torch.hypot(found[0], found[1])) / 0.4


@pytest.mark.parametrize('axis', [-1, -2])
@pytest.mark.parametrize('sigma', [0.3, 0.57, 1.0])
@pytest.mark.parametrize('cycles_per_px', [0.05, 0.21, 0.4])
def test_a_sinusoid_loses_contrast_as_the_modulation_transfer_function_says(
    axis: int, sigma: float, cycles_per_px: float
) -> None:
    line = sinusoid(cycles_per_px, 256)
    image = line.expand(1, 2, 256, 256)
    seen = only(sigma=(sigma, sigma))(image if axis == -1 else image.mT)
    lines = seen if axis == -1 else seen.mT
    expected = math.exp(-2 * math.pi**2 * sigma**2 * cycles_per_px**2)
    assert contrast_of(lines[0, 1, 100], cycles_per_px) == pytest.approx(expected, abs=2e-4)


def test_an_edge_blurs_to_the_error_function_and_its_mtf_is_the_formula() -> None:
    edge = 0.2 + 0.6 * (torch.arange(128) >= 64).double().expand(1, 1, 128, 128)
    profile = (only(sigma=(1.0, 1.0))(edge)[0, 0, 64] - 0.2) / 0.6
    middle = torch.arange(128) - 63.5
    # a step from one pixel to the next is not quite a step between them
    assert (profile - 0.5 * (1 + torch.erf(middle / math.sqrt(2)))).abs().max() < 0.01
    spread = profile.diff()[32:-31]  # the line spread function
    measured = torch.fft.rfft(spread).abs()
    frequency = torch.fft.rfftfreq(len(spread), dtype=torch.float64)
    assert (measured - torch.exp(-2 * (math.pi * frequency) ** 2)).abs().max() < 1e-3


@pytest.mark.parametrize(('mtf', 'sigma'), [(0.4, 0.43), (0.2, 0.57), (0.1, 0.68), (0.01, 0.97)])
def test_the_sigmas_of_the_documentation_have_their_mtf_at_nyquist(
    mtf: float, sigma: float
) -> None:
    assert math.sqrt(2 * math.log(1 / mtf)) / math.pi == pytest.approx(sigma, abs=0.005)
    finest = (torch.arange(64) % 2).double()
    seen = blur_matrix(64, sigma, like=DOUBLE) @ finest
    assert seen.diff()[28:36].abs().mean() == pytest.approx(mtf, abs=0.01)


def test_metres_are_pixels_times_the_ground_sampling_distance() -> None:
    image = torch.rand(1, 3, 32, 24)
    in_pixels = only(sigma=(0.8, 0.8))(image)
    assert torch.equal(only(sigma=(0.4, 0.4), gsd_m=0.5)(image), in_pixels)
    # in pixels it grows with the pixel of the sensor, in metres it does not
    coarse = only(sigma=(0.4, 0.4), coarsening=(2.0, 2.0))(image)
    assert torch.allclose(coarse, only(sigma=(0.8, 0.8), gsd_m=1, coarsening=(2.0, 2.0))(image))


def test_sampling_averages_areas_and_brings_them_back_bilinearly() -> None:
    image = torch.rand(1, 2, 6, 8, dtype=torch.float64)
    seen = only(coarsening=(2.0, 2.0))(image)
    coarse = torch.nn.functional.avg_pool2d(image, 2)
    back = torch.nn.functional.interpolate(coarse, (6, 8), mode='bilinear')
    assert torch.allclose(seen, back, atol=1e-12)
    for length, parts in ((7, 3), (256, 119), (5, 5), (4, 1)):
        matrix = sampling_matrix(length, parts, like=DOUBLE)
        assert torch.allclose(matrix.sum(1), torch.ones(parts, dtype=torch.float64))
        assert torch.allclose(matrix.sum(0), torch.full((length,), parts / length).double())


def test_a_flat_image_stays_flat_and_keeps_its_level() -> None:
    flat = torch.full((2, 4, 33, 47), 0.4)
    seen = only(sigma=(0.2, 1.5), coarsening=(1.0, 3.0))(flat)
    assert (seen - 0.4).abs().max() < 1e-6


@pytest.mark.parametrize('level', [0.2, 0.5, 0.8])
def test_noise_has_the_variance_of_shot_and_read_noise(level: float) -> None:
    flat = torch.full((1, 3, 256, 256), level, dtype=torch.float64)
    seen = only(shot=(4e-4, 4e-4), read=(0.01, 0.01))(flat)
    expected = 4e-4 * level + 1e-4
    count = seen.numel()
    assert abs(seen.mean() - level) < 5 * math.sqrt(expected / count)
    assert abs(seen.var() / expected - 1) < 5 * math.sqrt(2 / count)
    neighbours = ((seen[..., 1:] - level) * (seen[..., :-1] - level)).mean()
    bands = ((seen[:, 0] - level) * (seen[:, 1] - level)).mean()
    assert abs(neighbours) < 5 * expected / math.sqrt(count)
    assert abs(bands) < 5 * expected / math.sqrt(count / 3)


def test_noise_comes_after_sampling_so_that_it_has_the_grain_of_the_coarse_pixel() -> None:
    flat = torch.full((1, 1, 256, 256), 0.5, dtype=torch.float64)
    noise = only(read=(0.02, 0.02), coarsening=(4.0, 4.0))(flat)[0, 0] - 0.5
    along = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert along > 0.7
    assert noise.var() < 0.02**2  # bilinear enlargement averages


def test_noise_is_clamped_and_negative_values_have_no_shot_noise() -> None:
    dark = torch.full((1, 64, 64), -0.1)
    seen = add_noise(dark, shot=0.1, read=0.0, generator=torch.Generator().manual_seed(0))
    assert torch.equal(seen, torch.zeros_like(dark))
    bright = add_noise(dark + 1.1, shot=0.1, read=0.0, generator=torch.Generator().manual_seed(0))
    assert bright.max() == 1


def test_bits_leave_that_many_levels_each_the_nearest() -> None:
    image = torch.linspace(0, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    seen = only(bits=(4, 4))(image)
    assert len(seen.unique()) == 16
    assert (seen - image).abs().max() <= 0.5 / 15 + 1e-6
    assert torch.allclose(seen * 15, (seen * 15).round(), atol=1e-5)


def test_jpeg_is_what_pillow_writes_and_reads() -> None:
    levels = torch.randint(0, 256, (3, 20, 28), dtype=torch.uint8)
    file = io.BytesIO()
    rgb = Image.fromarray(levels.permute(1, 2, 0).numpy())
    rgb.save(file, 'JPEG', quality=60, subsampling=2)
    expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    seen = only(quality=(60, 60))(levels[None] / 255)[0]
    assert torch.equal((seen * 255).round().to(torch.uint8), expected)


def test_other_numbers_of_bands_are_compressed_band_by_band() -> None:
    image = torch.rand(5, 24, 40)
    seen = compress(image, 80)
    for band in range(5):
        assert torch.equal(compress(image[band : band + 1], 80)[0], seen[band])
    assert seen.shape == image.shape
    assert 0 < (seen - image).abs().mean() < 0.1


def test_a_lower_quality_loses_more() -> None:
    image = torch.rand(3, 64, 64)
    losses = [float((compress(image, quality) - image).square().mean()) for quality in (95, 70, 30)]
    assert losses[0] < losses[1] < losses[2]


def test_the_chain_is_blur_and_sampling_then_noise_then_bits_then_jpeg() -> None:
    image = torch.rand(1, 3, 24, 20)
    all_at_once = only(
        sigma=(0.6, 0.6), coarsening=(2.0, 2.0), shot=(1e-3, 1e-3), read=(0.01, 0.01),
        bits=(5, 5), quality=(70, 70),
    )  # fmt: skip
    seen = all_at_once(image)
    along_y, along_x = (
        sampling_matrix(n, n // 2, like=image) @ blur_matrix(n, 1.2, like=image) for n in (24, 20)
    )
    generator = torch.Generator().manual_seed(int(all_at_once._params['noise_seed'][0]))
    coarse = along_y @ image[0] @ along_x.T
    noisy = add_noise(coarse, shot=1e-3, read=0.01, generator=generator)
    back = torch.nn.functional.interpolate(noisy[None], (24, 20), mode='bilinear')[0]
    assert torch.allclose(seen[0], compress((back * 31).round() / 31, 70))


@pytest.mark.parametrize(
    'options',
    [
        {'p': 0.0},
        OFF,
        {'p_blur': 0.0, 'p_sampling': 0.0, 'p_noise': 0.0, 'p_bits': 0.0, 'p_jpeg': 0.0},
        {**OFF, 'sigma': (0.0, 0.0), 'coarsening': (1.0, 1.0), 'shot': (0.0, 0.0)},
    ],
)
def test_what_is_not_drawn_changes_no_bit(options: dict[str, object]) -> None:
    image = torch.rand(8, 4, 16, 24)
    assert torch.equal(SensorSimulation(**{**ALWAYS, **options})(image), image)


def test_amounts_are_drawn_within_their_ranges_and_as_often_as_stated() -> None:
    sensor = SensorSimulation(
        p_blur=0.2, p_sampling=0.4, p_noise=0.6, p_bits=0.7, p_jpeg=0.9,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    drawn = sensor.generate_parameters((6000, 3, 8, 8))
    for name, neutral, often, low, high in (
        ('sigma', 0, 0.2, 0.3, 1.0),
        ('coarsening', 1, 0.4, 1.0, 2.0),
        ('shot', 0, 0.6, 0.0, 2e-4),
        ('read', 0, 0.6, 0.0, 0.01),
        ('bits', 0, 0.7, 6, 8),
        ('quality', 0, 0.9, 50, 95),
    ):
        used = drawn[name][drawn[name] != neutral].double()
        assert abs(len(used) / 6000 - often) < 4 * (often * (1 - often) / 6000) ** 0.5
        assert low - 1e-6 <= used.min() < low + 0.02 * (high - low) + 1e-6
        assert high - 0.02 * (high - low) - 1e-6 < used.max() <= high + 1e-6
    noisy = drawn['read'] > 0
    assert torch.equal(noisy, drawn['shot'] > 0)
    factors = drawn['coarsening'][drawn['coarsening'] > 1].log()
    assert factors.mean() == pytest.approx(math.log(2) / 2, abs=0.03)
    assert (drawn['bits'] == 7).float().mean() == pytest.approx(0.7 / 3, abs=0.03)


def test_a_generator_repeats_it_and_a_sample_does_not_depend_on_the_others() -> None:
    image = torch.rand(12, 3, 24, 24)
    some, again, every = (
        SensorSimulation(p=p, generator=torch.Generator().manual_seed(5)) for p in (0.5, 0.5, 1.0)
    )
    first = some(image)
    assert torch.equal(again(image), first)
    assert torch.equal(some(image, some._params), first)
    assert not torch.equal(some(image), first)
    drawn = again._params['batch_prob'] > 0.5
    assert 0 < drawn.sum() < 12
    assert torch.equal(every(image)[drawn], first[drawn])
    assert torch.equal(first[~drawn], image[~drawn])


def test_masks_and_their_size_do_not_change_in_a_container() -> None:
    augment = K.AugmentationSequential(
        PhotometricDistortion(), SensorSimulation(**ALWAYS), data_keys=None, keepdim=True
    )
    mask = torch.randint(0, 6, (4, 32, 40))
    seen = augment({'image': torch.rand(4, 3, 32, 40), 'mask': mask})
    assert torch.equal(seen['mask'], mask)
    assert seen['image'].shape == (4, 3, 32, 40)
    assert 0 <= seen['image'].min() < seen['image'].max() <= 1


def test_pixels_without_data_stay_and_count_as_the_mean_of_their_band() -> None:
    sensor = only(sigma=(1.0, 1.0), coarsening=(2.0, 2.0))
    image = torch.rand(1, 3, 16, 16) * 0.5 + 0.25
    image[..., :4] = 0
    seen = sensor(image)
    assert torch.equal(seen[..., :4], image[..., :4])
    filled = image.clone()
    filled[..., :4] = image[..., 4:].mean((2, 3), keepdim=True)
    assert torch.allclose(sensor(filled, sensor._params)[..., 4:], seen[..., 4:], atol=1e-6)


@pytest.mark.parametrize('bands', [1, 2, 3, 8])
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_any_number_of_bands_and_odd_sizes_in_half_precision_too(
    bands: int, dtype: torch.dtype
) -> None:
    image = torch.rand(2, bands, 17, 31).to(dtype)
    seen = SensorSimulation(**ALWAYS)(image)
    assert seen.shape == image.shape
    assert seen.dtype == dtype
    assert (seen != image).any()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'sigma': (1.0, 0.5)}, r'sigma=\(1.0, 0.5\): expected \(low, high\) with 0 ≤ low ≤ high'),
        ({'sigma': (0.0, math.inf)}, r'sigma=\(0.0, inf\)'),
        ({'sigma': (math.nan, 1.0)}, r'sigma=\(nan, 1.0\)'),
        ({'coarsening': (0.5, 2.0)}, r'coarsening=\(0.5, 2.0\): expected .* with 1 ≤ low'),
        ({'shot': (-0.1, 0.0)}, r'shot=\(-0.1, 0.0\): expected .* with 0 ≤ low ≤ high ≤ 1'),
        ({'read': (0.0, 2.0)}, r'read=\(0.0, 2.0\)'),
        (
            {'bits': (0, 8)},
            r'bits=\(0, 8\): expected whole numbers .* 1 ≤ low ≤ high ≤ 16',
        ),
        ({'bits': (6.5, 8)}, r'bits=\(6.5, 8\): expected whole numbers'),
        ({'quality': (50, 101)}, r'quality=\(50, 101\): expected whole numbers .* with 1 ≤ low'),
        ({'sigma': 0.5}, r'sigma=0.5: expected \(low, high\) with 0 ≤ low ≤ high'),
        ({'shot': (0.0, 0.1, 0.2)}, r'shot=\(0.0, 0.1, 0.2\): expected'),
        ({'read': 'no'}, "read='no': expected"),
        ({'gsd_m': 0.0}, 'gsd_m=0.0: expected metres per pixel'),
        ({'gsd_m': (0.2, 0.4)}, r'gsd_m=\(0.2, 0.4\): expected metres per pixel'),
        ({'gsd_m': 0.5, 'sigma': None}, 'gsd_m is for the blur alone'),
        ({'p_jpeg': 1.5}, 'p_jpeg=1.5: expected a number from 0 to 1'),
        ({'p_blur': 'x'}, "p_blur='x': expected a number from 0 to 1"),
    ],
)
def test_arguments_without_meaning_are_refused(
    arguments: dict[str, object], message: str, unchecked: None
) -> None:
    with pytest.raises(ConfigError, match=message):
        SensorSimulation(**arguments)
