import numpy as np
import pytest
import torch
from scipy.signal import correlate2d

from crossearth.errors import ConfigError
from crossearth.transforms import RandConv
from crossearth.transforms.rand_conv import random_convolution


def plain_convolution(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """One sample, band by band, with scipy's sums over neighbours."""
    k, c = weights.shape[-1], len(image)
    return np.stack(
        [
            sum(correlate2d(image[i], weights[o, i], mode='same') for i in range(c)) / (k * c**0.5)
            for o in range(c)
        ]
    )


@pytest.mark.parametrize('size', [1, 3, 7])
def test_each_image_is_convolved_with_its_own_kernel(size):
    image = torch.rand(3, 2, 9, 11, dtype=torch.float64)
    weights = torch.randn(3, 2, 2, size, size, dtype=torch.float64)
    found = random_convolution(image, weights).numpy()
    expected = [
        plain_convolution(x, w) for x, w in zip(image.numpy(), weights.numpy(), strict=True)
    ]
    assert np.abs(found - np.stack(expected)).max() < 1e-12


def test_a_sample_is_the_mixture_that_its_draws_say():
    augment = RandConv(p=1.0, generator=torch.Generator().manual_seed(1))
    image = torch.rand(16, 3, 12, 10, dtype=torch.float64) * 0.4 + 0.3
    found = augment(image)
    drawn = augment._params
    assert len(drawn['size'].unique()) == 4
    for i, (size, s) in enumerate(
        zip(drawn['size'].tolist(), drawn['strength'].double(), strict=True)
    ):
        kernel = drawn['weights'][i, :, :, :size, :size].double().numpy()
        convolved = plain_convolution((image[i].numpy() - 0.5) / 0.5, kernel) * 0.5 + 0.5
        expected = (1 - s.item()) * image[i].numpy() + s.item() * convolved
        assert np.abs(found[i].numpy() - expected.clip(0, 1)).max() < 1e-7  # draws are float32


def test_white_noise_keeps_its_variance_on_average():
    noise = torch.randn(400, 3, 24, 24)
    for size in (1, 5):
        convolved = random_convolution(noise, torch.randn(400, 3, 3, size, size))
        inside = convolved[:, :, 4:-4, 4:-4]
        assert inside.var().item() == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize('options', [{'p': 0.0}, {'p': 1.0, 'strength_range': (0.0, 0.0)}])
def test_p_0_and_strength_0_change_nothing(options):
    image = torch.rand(4, 3, 16, 16)
    assert torch.equal(RandConv(**options)(image), image)


def test_pixels_without_data_stay_and_count_as_the_mean_of_their_band():
    augment = RandConv(sizes=(3,), strength_range=(1.0, 1.0), p=1.0)
    image = torch.rand(1, 3, 8, 8) * 0.5 + 0.25
    image[:, :, :, :3] = 0
    found = augment(image)
    assert torch.equal(found[..., :3], image[..., :3])
    filled = image.clone()
    filled[..., :3] = image[..., 3:].mean((2, 3), keepdim=True)
    assert torch.allclose(augment(filled, augment._params)[..., 3:], found[..., 3:], atol=1e-6)


def test_a_generator_repeats_it_and_what_a_sample_gets_does_not_depend_on_the_others():
    image = torch.rand(16, 3, 8, 8)
    some = RandConv(p=0.5, generator=torch.Generator().manual_seed(8))
    all_of_them = RandConv(p=1.0, generator=torch.Generator().manual_seed(8))
    first, every = some(image), all_of_them(image)
    drawn = some._params['batch_prob'] > 0.5
    assert 0 < drawn.sum() < 16
    assert torch.allclose(first[drawn], every[drawn], atol=1e-6)  # sums in another order
    assert torch.equal(first[~drawn], image[~drawn])


def test_gradients_flow_through_it():
    augment = RandConv(p=1.0)
    image = (torch.rand(2, 2, 6, 5, dtype=torch.float64) * 0.1 + 0.45).requires_grad_()
    augment(image.detach())
    drawn = augment._params
    assert torch.autograd.gradcheck(lambda x: augment(x, drawn), (image,))


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r'sizes=\(2,\): expected odd sides'):
        RandConv(sizes=(2,))
    with pytest.raises(ConfigError, match=r'strength_range=\(0.5, 2\): expected 0 ≤ low'):
        RandConv(strength_range=(0.5, 2))
    with pytest.raises(ConfigError, match='std=0: expected a positive'):
        RandConv(std=0)
