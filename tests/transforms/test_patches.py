import math
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.transforms import PatchMask, kept_patches, patch_grid

PARITY = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data')).parent / 'parity'


@given(
    st.integers(1, 70), st.integers(1, 70), st.integers(1, 80), st.floats(0, 1), st.integers(0, 99)
)
@settings(deadline=None, max_examples=60)
def test_every_pixel_has_the_draw_of_its_patch(
    height: int, width: int, size: int, ratio: float, seed: int
) -> None:
    rows, cols = patch_grid((height, width), size)
    draws = torch.rand(2, 1, rows, cols, generator=torch.Generator().manual_seed(seed))
    kept = kept_patches(draws, ratio, image_hw=(height, width), patch_size=size)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    assert kept.shape == (2, 1, height, width)
    assert torch.equal(kept, draws[:, :, y // size, x // size] >= ratio)


@pytest.mark.parametrize('grid', ['paper', 'release'])
def test_a_draw_that_equals_the_ratio_keeps_its_patch(grid: str) -> None:
    draws = torch.tensor([[[[0.25, 0.5, 0.0]]]])
    sizes = {'image_hw': (2, 6), 'patch_size': 2, 'grid': grid}
    assert kept_patches(draws, 0.25, **sizes)[0, 0, 0].tolist() == [1, 1, 1, 1, 0, 0]
    assert kept_patches(draws, 0.5, **sizes)[0, 0, 0].tolist() == [0, 0, 1, 1, 0, 0]
    assert kept_patches(draws, 0.0, **sizes).all()


def test_the_grid_of_the_paper_rounds_up() -> None:
    assert patch_grid((512, 512), 64) == (8, 8)
    assert patch_grid((513, 100), 64) == (9, 2)
    assert patch_grid((20, 20), 64) == (1, 1)


def test_the_masked_fraction_is_exact_at_the_ends() -> None:
    image = torch.rand(4, 3, 50, 70) + 1
    assert torch.equal(PatchMask(16, 0.0)(image), image)
    assert torch.equal(PatchMask(16, 1.0)(image), torch.zeros_like(image))
    assert torch.equal(PatchMask(16, 1.0, polarity='kept')(image), image)
    assert torch.equal(PatchMask(16, 0.0, polarity='kept')(image), torch.zeros_like(image))


@pytest.mark.parametrize('ratio', [0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_expected_masked_fraction_is_the_ratio(ratio: float) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.ones(500, 1, 32, 32)
    masked = 1 - PatchMask(4, ratio, generator=generator)(image).mean()
    sigma = math.sqrt(ratio * (1 - ratio) / (500 * 64))
    assert abs(masked - ratio) < 4 * sigma
    kept = PatchMask(4, ratio, polarity='kept', generator=generator)(image).mean()
    assert abs(kept - ratio) < 4 * sigma


def test_each_sample_has_a_mask_of_its_own() -> None:
    masked = PatchMask(8, 0.5, generator=torch.Generator().manual_seed(1))(torch.ones(6, 1, 64, 64))
    assert len({tuple(sample.flatten().tolist()) for sample in masked}) == 6


def test_bands_share_a_mask() -> None:
    masked = PatchMask(8, 0.5)(torch.ones(2, 5, 32, 32))
    assert torch.equal(masked, masked[:, :1].expand_as(masked))


def test_a_seed_repeats_and_a_recorded_draw_can_be_replayed() -> None:
    image = torch.rand(3, 3, 40, 40)
    one = PatchMask(8, 0.5, generator=torch.Generator().manual_seed(4))
    two = PatchMask(8, 0.5, generator=torch.Generator().manual_seed(4))
    torch.manual_seed(11)
    first = one(image)
    recorded = one._params
    torch.manual_seed(12)
    assert torch.equal(two(image), first)
    assert not torch.equal(one(image), first)
    assert torch.equal(one(image, recorded), first)


def test_the_global_seed_repeats_without_a_generator() -> None:
    image, mask = torch.rand(3, 3, 40, 40), PatchMask(8, 0.5)
    torch.manual_seed(5)
    first = mask(image)
    torch.manual_seed(5)
    assert torch.equal(mask(image), first)


def test_a_prompt_stands_in_masked_patches_alone_and_learns_from_them_alone() -> None:
    prompt = nn.Parameter(torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1))
    mask = PatchMask(4, 0.5, prompt=prompt, generator=torch.Generator().manual_seed(2))
    image = torch.ones(2, 3, 8, 8)
    masked = mask(image)
    patches = mask._params['patches'] < 0.5
    expected = torch.where(patches.repeat_interleave(4, 2).repeat_interleave(4, 3), prompt, image)
    assert torch.equal(masked, expected)
    masked.sum().backward()
    assert prompt.grad is not None
    assert prompt.grad.flatten().tolist() == [16.0 * patches.sum()] * 3
    assert dict(mask.named_parameters())['prompt'] is prompt


def test_a_prompt_of_the_size_of_the_image_is_placed_pixel_by_pixel() -> None:
    prompt = torch.arange(48.0).view(3, 4, 4)
    masked = PatchMask(2, 1.0, prompt=prompt)(torch.zeros(2, 3, 4, 4))
    assert torch.equal(masked, prompt.expand(2, 3, 4, 4))


def test_a_prompt_of_another_size_is_refused() -> None:
    with pytest.raises(ShapeError, match=r'prompt is \(3, 8, 8\) but images are \(3, 4, 4\)'):
        PatchMask(2, 1.0, prompt=torch.zeros(3, 8, 8))(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize(('size', 'ratio'), [(0, 0.5), (8, 1.1), (8, -0.1)])
def test_patches_without_meaning_are_refused(size: int, ratio: float) -> None:
    with pytest.raises(ConfigError, match=f'patch_size={size} and ratio={ratio}'):
        PatchMask(size, ratio)


@pytest.mark.usefixtures('unchecked')
def test_what_is_no_polarity_is_refused() -> None:
    with pytest.raises(ConfigError, match="polarity='paper': expected 'masked' or 'kept'"):
        PatchMask(8, 0.5, polarity='paper')


@pytest.mark.parametrize('size', [7, 16, 33])
def test_the_fraction_is_the_ratio_at_sizes_that_patches_do_not_divide(size: int) -> None:
    """Border patches are smaller; in expectation their pixels are masked as often."""
    masked = 1 - PatchMask(size, 0.3, generator=torch.Generator().manual_seed(3))(
        torch.ones(4000, 1, 45, 61)
    ).mean((0, 1))
    assert (masked - 0.3).abs().max() < 5 * math.sqrt(0.21 / 4000)


@pytest.mark.skipif(not PARITY.exists(), reason='the reference outputs are not at hand')
def test_the_release_grid_reproduces_the_recorded_mask() -> None:
    recorded = load_file(PARITY / 'multitask_release.safetensors')
    expected = recorded['dino/mask_odd_seed5_r03_b32_200x180']
    torch.manual_seed(5)
    draws = torch.rand(1, 1, *patch_grid((200, 180), 32, grid='release'))
    kept = kept_patches(draws, 0.3, image_hw=(200, 180), patch_size=32, grid='release')
    assert torch.equal(kept, expected)
