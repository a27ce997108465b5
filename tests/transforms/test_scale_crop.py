import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crossearth.errors import ConfigError, ShapeError
from crossearth.transforms import RandomScaleCrop
from crossearth.transforms.scale_crop import _interpolate, _largest_fraction, _pick
from tests.rounding import rounding_error


def batch_of(image: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
    shape = (len(image), *image.shape[-2:])
    return {'image': image, 'mask': torch.zeros(shape).long() if mask is None else mask}


def seeded(size: int, seed: int = 0, **arguments: object) -> RandomScaleCrop:
    return RandomScaleCrop(size, generator=torch.Generator().manual_seed(seed), **arguments)


@given(st.integers(1, 30), st.integers(8, 40), st.integers(8, 40), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_without_resizing_crops_are_pixels_of_the_image_where_the_mask_has_them(
    size: int, height: int, width: int, seed: int
) -> None:
    number = torch.arange(float(height * width)).view(1, 1, height, width)
    crop = seeded(size, seed, scale_range=(1.0, 1.0), max_class_fraction=1.0)
    cropped = crop(batch_of(number / 2048, number[:, 0].long() + 256))
    inside = cropped['mask'] != 255
    assert inside.sum() == min(size, height) * min(size, width)
    found = (cropped['image'][:, 0] * 2048)[inside]
    assert torch.allclose(found, cropped['mask'][inside].float() - 256, atol=2e-2)
    assert (cropped['image'][:, 0][~inside] == 0).all()


@pytest.mark.parametrize('scale', [0.5, 2.0, 1.37])
def test_resized_crops_are_crops_of_the_resized_image(scale: float) -> None:
    image = torch.rand(1, 2, 40, 56)
    mask = torch.randint(0, 6, (1, 40, 56))
    resized = (round(40 * scale), round(56 * scale))
    whole = F.interpolate(image, resized, mode='bilinear', align_corners=False)
    labels = F.interpolate(mask[:, None].float(), resized, mode='nearest-exact')[:, 0].long()
    crop = seeded(16, scale_range=(scale, scale), max_class_fraction=1.0)
    cropped = crop(batch_of(image, mask))
    windows = whole.unfold(2, 16, 1).unfold(3, 16, 1)
    difference = (windows - cropped['image'][:, :, None, None]).abs().amax((0, 1, 4, 5))
    row, col = divmod(int(difference.argmin()), difference.shape[1])
    # Both round the place of a pixel, up to 77 px, five times on either axis, and neighbours differ
    # by up to 1; then the two averages of two are rounded.
    assert difference[row, col] < rounding_error(2 * 2 * 5, 77) + rounding_error(2 * 6)
    assert torch.equal(cropped['mask'][0], labels[0, row : row + 16, col : col + 16])


def test_all_positions_are_equally_likely_borders_included() -> None:
    image = torch.arange(10.0).view(1, 1, 1, 10).expand(4000, 1, 10, 10) / 16
    crop = seeded(4, scale_range=(1.0, 1.0), max_class_fraction=1.0)
    first = (crop(batch_of(image))['image'][:, 0, 0, 0] * 16).round().long()
    counts = first.bincount(minlength=7)
    assert len(counts) == 7
    assert (counts - 4000 / 7).abs().max() < 5 * (4000 / 7) ** 0.5


def test_scales_are_uniform_in_their_range() -> None:
    ramp = torch.arange(64.0).view(1, 1, 1, 64).expand(3000, 1, 64, 64) / 64
    cropped = seeded(16, max_class_fraction=1.0)(batch_of(ramp))['image'][:, 0, 8]
    factor = 1 / 64 / cropped.diff(dim=1).median(1).values
    assert 0.49 < factor.min() < 0.52
    assert 1.9 < factor.max() < 2.05
    assert abs((factor < 1).float().mean() - 1 / 3) < 0.05


def test_crops_that_one_class_fills_are_drawn_again() -> None:
    mask = torch.zeros(200, 32, 32).long()
    mask[:, :, 16:] = torch.randint(1, 5, (200, 32, 16))

    def largest(arguments: dict[str, float]) -> Tensor:
        crop = seeded(12, scale_range=(1.0, 1.0), **arguments)
        labels = crop(batch_of(torch.rand(200, 1, 32, 32), mask))['mask'].flatten(1)
        return torch.stack([row.bincount(minlength=5).max() / 144 for row in labels])

    assert (largest({'max_class_fraction': 1.0}) > 0.75).float().mean() > 0.3
    assert (largest({'max_class_fraction': 0.75, 'attempts': 30}) > 0.75).sum() == 0


def test_masks_that_were_drawn_again_still_lie_on_their_images() -> None:
    mask = torch.zeros(40, 24, 24).long()
    mask[:, :, 12:] = torch.randint(1, 5, (40, 24, 12))
    crop = seeded(8, scale_range=(1.0, 1.0), max_class_fraction=0.7, attempts=6)
    draws: list[int] = []
    draw = crop._draw
    crop._draw = lambda *sizes: draws.append(1) or draw(*sizes)
    cropped = crop(batch_of(mask[:, None] / 8, mask) | {'count': mask})
    assert len(draws) > 2
    assert torch.equal((cropped['image'][:, 0] * 8).round().long(), cropped['mask'])
    assert torch.equal(cropped['count'], cropped['mask'])


@given(st.integers(0, 10_000), st.sampled_from([(4, 9, 7), (4, 1, 9, 7), (4, 2, 9, 7)]))
@settings(deadline=None, max_examples=40)
def test_corners_alone_give_what_all_pixels_give(seed: int, shape: tuple[int, ...]) -> None:
    """The plain form computes every pixel of the crop, then empties those off the image."""
    generator = torch.Generator().manual_seed(seed)
    step = torch.rand(4, 2, 1, generator=generator).double() * 1.5 + 0.2
    places = step * (torch.arange(6) + 0.5) + 4 * torch.rand(4, 2, 1, generator=generator)
    rows, cols = places[:, 0], places[:, 1]
    values = torch.randint(0, 200, shape, generator=generator)
    planes = values if values.ndim == 4 else values[:, None]
    inside = (rows < 9)[:, None, :, None] & (cols < 7)[:, None, None, :]
    row, col = rows.long().clamp(max=8), cols.long().clamp(max=6)
    nearest = torch.stack(
        [plane[:, row[i][:, None], col[i][None]] for i, plane in enumerate(planes)]
    )
    picked = _pick(values, rows, cols, 255)
    assert torch.equal(
        picked if picked.ndim == 4 else picked[:, None], torch.where(inside, nearest, 255)
    )
    image = planes.double() / 200
    grid = torch.stack([
        (cols * (2 / 7) - 1)[:, None, :].expand(-1, 6, -1),
        (rows * (2 / 9) - 1)[:, :, None].expand(-1, -1, 6),
    ], -1)  # fmt: skip
    whole = F.grid_sample(image, grid, padding_mode='border', align_corners=False)
    difference = _interpolate(image, rows, cols) - torch.where(inside, whole, 0)
    assert difference.abs().max() < 1e-12


@pytest.mark.parametrize('ignore', [255, -100, 2, 0])
def test_the_largest_fraction_is_that_of_a_count_by_hand(ignore: int) -> None:
    labels = torch.tensor([[[1, 1], [4, 3]], [[5, 3], [3, 5]], [[5, 5], [5, 5]]])
    labels[labels == 5] = ignore
    assert _largest_fraction(labels, ignore).tolist() == [0.5, 1.0, 1.0]


def test_ignored_pixels_are_no_class() -> None:
    mask = torch.full((1, 8, 8), 255)
    mask[0, 0, 0], mask[0, 0, 1] = 0, 1
    crop = seeded(8, scale_range=(1.0, 1.0), max_class_fraction=0.6)
    draws: list[int] = []
    draw = crop._draw
    crop._draw = lambda *sizes: draws.append(1) or draw(*sizes)
    crop(batch_of(torch.rand(1, 1, 8, 8), mask))
    assert draws == [1]  # one half each is enough
    crop(batch_of(torch.rand(1, 1, 8, 8), torch.full((1, 8, 8), 255)))
    assert len(draws) == 1 + 10  # nothing labelled is never good enough


def test_images_smaller_than_the_crop_are_padded_and_the_padding_is_ignored() -> None:
    crop = seeded(16, scale_range=(0.5, 0.5))
    cropped = crop(batch_of(torch.ones(2, 3, 12, 20)))
    assert (cropped['mask'] != 255).sum((1, 2)).tolist() == [60, 60]
    assert torch.equal(cropped['image'][:, 0] > 0, cropped['mask'] != 255)
    assert cropped['image'][:, :, :6, :10].min() > 0.999


def test_a_seed_repeats_and_other_keys_pass() -> None:
    batch = {**batch_of(torch.rand(3, 3, 20, 20)), 'domain': torch.arange(3)}
    one, two = seeded(8)(batch), seeded(8)(batch)
    assert torch.equal(one['image'], two['image'])
    assert torch.equal(one['mask'], two['mask'])
    assert one['domain'] is batch['domain']
    assert one['mask'].dtype == torch.int64


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'scale_range=\(2.0, 0.5\).*expected at least 1 px'):
        RandomScaleCrop(8, scale_range=(2.0, 0.5))
    with pytest.raises(ShapeError, match=r'mask \(2, 8, 9\): expected \(b, c, h, w\) and \(b, h'):
        RandomScaleCrop(8)({'image': torch.rand(2, 3, 8, 8), 'mask': torch.zeros(2, 8, 9).long()})


def test_other_maps_are_cropped_with_the_image_floats_bilinear_and_integers_nearest() -> None:
    row, col = torch.meshgrid(torch.arange(32), torch.arange(40), indexing='ij')
    plane = (row * 2.0 + col)[None].repeat(3, 1, 1)
    batch = {
        'image': plane[:, None] / 128,
        'dsm': plane.double(),
        'count': torch.stack([row, col])[None].repeat(3, 1, 1, 1),
        'bounds': torch.rand(3, 9),
    }
    cropped = seeded(12, scale_range=(2.0, 2.0))(batch)
    torch.testing.assert_close(cropped['dsm'], cropped['image'][:, 0].double() * 128)
    assert (cropped['dsm'] % 1).any()  # between pixels
    rows, cols = cropped['count'].unbind(1)
    assert rows.dtype == torch.int64
    # twice as large: a pixel's centre lies a quarter of a pixel from that of the nearest one on
    # either axis, 0.75 of the plane, but for rounding; that of the next one would be 1.25 off
    assert (rows * 2 + cols - cropped['dsm']).abs().max() < 0.76
    assert torch.equal(cropped['bounds'], batch['bounds'])


def test_what_lies_off_the_image_is_0_in_other_maps() -> None:
    batch = batch_of(torch.ones(1, 1, 8, 8)) | {'valid': torch.ones(1, 8, 8).bool()}
    cropped = seeded(12, scale_range=(1.0, 1.0))(batch)
    assert cropped['valid'].dtype == torch.bool
    assert torch.equal(cropped['valid'], cropped['mask'] == 0)
    assert int(cropped['valid'].sum()) == 64
