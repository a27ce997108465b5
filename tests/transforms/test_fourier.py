import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from crossearth.errors import BandError, ConfigError, ShapeError
from crossearth.transforms import FourierStyle
from crossearth.transforms.fourier import low_frequencies, mix_amplitudes
from tests.rounding import rounding_error

DATA = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data'))


def whole_spectrum_mix(image: Tensor, style: Tensor, cutoff: int, alpha: float) -> np.ndarray:
    """The published procedure: swap amplitudes in a centred window of the full transform."""
    height, width = image.shape[-2:]
    source = np.fft.fftshift(np.fft.fft2(image.double().numpy()), (-2, -1))
    target = np.fft.fftshift(np.fft.fft2(style.double().numpy()), (-2, -1))
    window = (
        ...,
        slice(height // 2 - cutoff, height // 2 + cutoff + 1),
        slice(width // 2 - cutoff, width // 2 + cutoff + 1),
    )
    amplitude = np.abs(source)
    amplitude[window] = (1 - alpha) * amplitude[window] + alpha * np.abs(target)[window]
    mixed = amplitude * np.exp(1j * np.angle(source))
    return np.fft.ifft2(np.fft.ifftshift(mixed, (-2, -1))).real


@given(
    st.integers(5, 40), st.integers(5, 40), st.integers(0, 6), st.floats(0, 1), st.integers(0, 99)
)
@settings(deadline=None, max_examples=60)
def test_the_low_frequencies_alone_give_what_the_whole_spectrum_gives(
    height: int, width: int, cutoff: int, alpha: float, seed: int
) -> None:
    cutoff = min(cutoff, (min(height, width) - 1) // 2)
    generator = torch.Generator().manual_seed(seed)
    # Rounding turns the phase of a coefficient by its share in the coefficient: in float32 a random
    # image has coefficients small enough for that to show, in float64 it has none.
    image, style = torch.rand(2, 1, 2, height, width, generator=generator).double().unbind()
    amplitudes = low_frequencies(style, cutoff).abs()
    mixed = mix_amplitudes(image, amplitudes, torch.tensor([alpha], dtype=torch.float64))
    expected = whole_spectrum_mix(image, style, cutoff, alpha)
    # two sums over each axis for a coefficient, two over the coefficients for a pixel
    roundings = 2 * (height + width) + 2 * (3 * cutoff + 2)
    turned = 1e3  # amplitude over coefficient, at most
    atol = rounding_error(roundings, turned, torch.float64)
    assert np.abs(mixed.numpy() - expected).max() < atol


def test_strength_0_and_ones_own_style_change_nothing() -> None:
    image = torch.rand(2, 3, 32, 40) * 0.8 + 0.1
    other = FourierStyle(torch.rand(4, 3, 32, 40), beta=0.2, alpha_range=(0.0, 0.0), p=1.0)
    own = FourierStyle(image[:1], beta=0.2, alpha_range=(1.0, 1.0), p=1.0)
    assert (other(image) - image).abs().max() < 1e-6
    assert (own(image[:1]) - image[:1]).abs().max() < 1e-5


def test_at_cutoff_0_the_mean_of_each_band_is_that_of_the_style() -> None:
    style_image = torch.rand(1, 3, 20, 20) * 0.1 + 0.45
    image = torch.rand(2, 3, 16, 24) * 0.2 + 0.4
    styled = FourierStyle(style_image, beta=0.0, alpha_range=(1.0, 1.0), p=1.0)(image)
    expected = style_image.mean((2, 3)).expand(2, 3)
    assert torch.allclose(styled.mean((2, 3)), expected, atol=1e-6)
    deviation = image - image.mean((2, 3), keepdim=True)
    assert torch.allclose(styled - styled.mean((2, 3), keepdim=True), deviation, atol=1e-6)


def test_a_style_image_of_another_size_counts_as_if_it_were_resized() -> None:
    y, x = torch.meshgrid(torch.arange(96) / 96, torch.arange(96) / 96, indexing='ij')
    field = 0.5 + 0.2 * torch.cos(2 * torch.pi * x) + 0.1 * torch.cos(2 * torch.pi * (2 * y + x))
    large = field.expand(1, 3, 96, 96)
    small = large[:, :, ::3, ::3]
    image = torch.rand(1, 3, 64, 64) * 0.2 + 0.4
    pair = [
        FourierStyle(s, beta=0.05, alpha_range=(1.0, 1.0), p=1.0)(image) for s in (large, small)
    ]
    assert torch.allclose(*pair, atol=1e-5)
    assert (pair[0] - image).abs().max() > 0.05


def test_samples_draw_their_own_styles_and_strengths() -> None:
    styles = torch.arange(1, 6).view(5, 1, 1, 1).expand(5, 3, 8, 8) / 10
    style = FourierStyle(styles, p=1.0, generator=torch.Generator().manual_seed(0))
    styled = style(torch.full((64, 3, 16, 16), 0.5))
    assert style._params['style'].unique().tolist() == [0, 1, 2, 3, 4]
    alpha = style._params['alpha'].view(-1, 1)
    target = (style._params['style'].view(-1, 1) + 1) / 10
    expected = ((1 - alpha) * 0.5 + alpha * target).expand(64, 3)
    assert torch.allclose(styled.mean((2, 3)), expected, atol=1e-6)


def test_output_stays_in_the_unit_range_and_the_input_is_as_it_was() -> None:
    image = (torch.rand(8, 3, 64, 64) > 0.5).float()
    before = image.clone()
    styled = FourierStyle(torch.rand(5, 3, 64, 64), beta=0.3, p=1.0)(image)
    assert styled.min() >= 0
    assert styled.max() <= 1
    assert torch.equal(image, before)


def test_a_share_p_of_the_samples_is_styled_and_the_others_are_untouched() -> None:
    generator = torch.Generator().manual_seed(3)
    style = FourierStyle(torch.rand(5, 3, 8, 8), p=0.25, generator=generator)
    image = torch.rand(2000, 3, 8, 8) * 0.5 + 0.25
    changed = (style(image) != image).flatten(1).any(1)
    assert torch.equal(changed, style._params['batch_prob'] > 0.5)
    assert abs(changed.float().mean() - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5


def test_what_a_sample_gets_does_not_depend_on_the_others_being_drawn() -> None:
    image, styles = torch.rand(16, 3, 16, 16), torch.rand(5, 3, 8, 8)
    some = FourierStyle(styles, p=0.5, generator=torch.Generator().manual_seed(8))
    every = FourierStyle(styles, p=1.0, generator=torch.Generator().manual_seed(8))
    styled, all_styled = some(image), every(image)
    drawn = some._params['batch_prob'] > 0.5
    assert 0 < drawn.sum() < 16
    assert torch.allclose(styled[drawn], all_styled[drawn], atol=1e-6)


def test_nodata_is_left_alone_and_does_not_enter_the_style_of_the_image() -> None:
    image = torch.rand(1, 3, 32, 32) * 0.2 + 0.5
    padded = image.clone()
    padded[:, :, :, 16:] = 0
    target = torch.full((1, 3, 8, 8), 0.3)
    style = FourierStyle(target, beta=0.0, alpha_range=(1.0, 1.0), p=1.0)
    styled = style(padded)
    assert torch.equal(styled[..., 16:], padded[..., 16:])
    assert torch.allclose(styled[..., :16].mean((2, 3)), torch.full((1, 3), 0.3), atol=1e-6)


def test_invalid_pixels_are_left_alone() -> None:
    image = torch.rand(2, 3, 32, 32) * 0.5 + 0.25
    mask = torch.zeros(2, 32, 32, dtype=torch.int64)
    mask[0, :8], mask[1, :, 20:] = 255, 255
    style = FourierStyle(torch.rand(5, 3, 8, 8), p=1.0)
    styled = style(image, valid=mask != 255)
    ignored = (mask == 255)[:, None].expand_as(image)
    assert torch.equal(styled[ignored], image[ignored])
    assert (styled != image)[~ignored].float().mean() > 0.9


def test_a_validity_of_another_shape_is_refused() -> None:
    style = FourierStyle(torch.rand(5, 3, 8, 8))
    with pytest.raises(ShapeError, match=r'valid is \(2, 8, 9\) .* expected \(2, 8, 8\)'):
        style(torch.rand(2, 3, 8, 8), valid=torch.ones(2, 8, 9, dtype=torch.bool))


def test_further_bands_follow_the_display_bands() -> None:
    image = torch.rand(2, 5, 32, 32) * 0.2 + 0.4
    style = FourierStyle(
        torch.full((1, 3, 8, 8), 0.3), beta=0.0, alpha_range=(1.0, 1.0), p=1.0, bands=(2, 1, 0)
    )
    styled = style(image)
    shift = 0.3 - image[:, :3].mean((1, 2, 3))
    moved = (styled - image).mean((2, 3))
    assert torch.allclose(moved[:, 3:], shift.view(2, 1).expand(2, 2), atol=1e-5)


def test_bands_are_styled_by_the_band_that_their_position_names() -> None:
    image = torch.rand(1, 3, 16, 16) * 0.2 + 0.4
    target = torch.tensor([0.35, 0.5, 0.65]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    style = FourierStyle(target, beta=0.0, alpha_range=(1.0, 1.0), p=1.0, bands=(2, 0, 1))
    assert style(image).mean((2, 3))[0].tolist() == pytest.approx([0.5, 0.65, 0.35], abs=1e-6)


def test_styled_patches_are_the_masked_ones_in_the_release_and_the_kept_ones_in_the_paper() -> None:
    image, target = torch.full((300, 3, 32, 32), 0.5), torch.full((1, 3, 8, 8), 0.9)
    for polarity, fraction in (('release', 0.3), ('paper', 0.7)):
        style = FourierStyle(
            target,
            alpha_range=(1.0, 1.0),
            p=1.0,
            patch_size=8,
            ratio=0.3,
            polarity=polarity,
            generator=torch.Generator().manual_seed(1),
        )
        changed = (style(image)[:, 0] > 0.7).float()
        assert abs(changed.mean() - fraction) < 4 * (0.21 / (300 * 16)) ** 0.5
        blocks = changed.unfold(1, 8, 8).unfold(2, 8, 8).flatten(3)
        assert torch.equal(blocks.amin(-1), blocks.amax(-1))


def test_half_precision_keeps_its_type_and_agrees_with_float32() -> None:
    image, styles = torch.rand(2, 3, 32, 32), torch.rand(5, 3, 8, 8)
    full = FourierStyle(styles, p=1.0, generator=torch.Generator().manual_seed(0))(image)
    half = FourierStyle(styles, p=1.0, generator=torch.Generator().manual_seed(0))(image.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - full).abs().max() < 0.01


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'beta': 0.6}, ConfigError, 'beta=0.6: expected a fraction'),
        ({'alpha_range': (0.5, 0.2)}, ConfigError, r'alpha_range=\(0.5, 0.2\)'),
        ({'p': 1.5}, ConfigError, 'p=1.5: expected a probability'),
        ({'bands': (0, 1)}, BandError, 'names 2 bands, but the style images have 3'),
        ({'bands': (0, 1, 1)}, ConfigError, 'positions of different bands'),
        ({'patch_size': 0}, ConfigError, 'patch_size=0'),
    ],
)
def test_arguments_without_meaning_are_refused(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FourierStyle(torch.rand(2, 3, 8, 8), **arguments)


def test_style_images_must_be_a_batch_with_something_in_it() -> None:
    with pytest.raises(ConfigError, match='no style images'):
        FourierStyle(torch.rand(0, 3, 8, 8))


def test_an_image_with_too_few_bands_is_refused() -> None:
    with pytest.raises(BandError, match='the image has 1: choose'):
        FourierStyle(torch.rand(2, 3, 8, 8), p=1.0)(torch.rand(1, 1, 8, 8))


@pytest.mark.skipif(not DATA.exists(), reason='the real images are not at hand')
def test_real_roads_come_closer_to_the_colours_of_the_style_images() -> None:
    def read(folder: str, count: int, side: int) -> Tensor:
        paths = sorted((DATA / folder).rglob('*.*'))
        paths = [path for path in paths if path.suffix in ('.webp', '.jpg', '.png')][:count]
        images = [np.asarray(Image.open(path).convert('RGB'))[:side, :side] for path in paths]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255

    roads = read('roads/massachusetts/train/images', 8, 256)
    fields = read('style_aid150', 60, 150)
    styled = FourierStyle(
        fields, alpha_range=(1.0, 1.0), p=1.0, generator=torch.Generator().manual_seed(0)
    )(roads)
    target = fields.mean((2, 3))

    def spread_of_means(images: Tensor) -> Tensor:
        return torch.cdist(images.mean((2, 3)), target).amin(1).mean()

    assert spread_of_means(styled) < 0.5 * spread_of_means(roads)
    edges = [torch.stack([images.diff(dim=-1)[..., 1:-1].flatten()]) for images in (roads, styled)]
    correlation = torch.corrcoef(torch.cat(edges))[0, 1]
    assert correlation > 0.98  # what is where stays where it is


def test_a_module_in_double_precision_agrees_with_one_in_single() -> None:
    image, styles = torch.rand(2, 3, 17, 22), torch.rand(5, 3, 9, 8)
    single = FourierStyle(styles, p=1.0, beta=0.1, generator=torch.Generator().manual_seed(0))
    double = FourierStyle(styles, p=1.0, beta=0.1, generator=torch.Generator().manual_seed(0))
    styled = double.double()(image.double())
    assert styled.dtype == torch.float64
    assert (styled - single(image)).abs().max() < 1e-6


def test_gradients_with_respect_to_the_image_are_those_of_its_values() -> None:
    image = torch.rand(2, 2, 7, 8, dtype=torch.float64, requires_grad=True)
    amplitudes = low_frequencies(torch.rand(2, 2, 7, 8, dtype=torch.float64), 2).abs()
    alpha = torch.tensor([0.3, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: mix_amplitudes(x, amplitudes, alpha), (image,))


def test_the_whole_augmentation_is_differentiable_and_flat_images_have_finite_gradients() -> None:
    styles = torch.rand(3, 2, 16, 16) * 0.2 + 0.4
    style = FourierStyle(styles, p=1.0, beta=0.3, alpha_range=(0.2, 0.8))
    image = (torch.rand(2, 2, 7, 8, dtype=torch.float64) * 0.2 + 0.4).requires_grad_()
    style(image.detach())
    drawn = style._params
    assert torch.autograd.gradcheck(lambda x: style(x, drawn), (image,))
    flat = torch.full((1, 2, 8, 8), 0.5, requires_grad=True)
    style(flat).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()
