import copy
import pickle

import kornia.augmentation as K
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from crossearth.errors import BandError, ConfigError
from crossearth.transforms import FourierStyle, PatchMask, PhotometricDistortion


def chain(**arguments: object) -> nn.Module:
    return K.AugmentationSequential(
        PhotometricDistortion(),
        FourierStyle(torch.rand(5, 3, 8, 8), p=0.5),
        PatchMask(8, 0.5),
        data_keys=None,
        **arguments,
    )


def batch() -> dict[str, Tensor]:
    mask = torch.randint(0, 6, (4, 32, 40))
    mask[:, :3] = 255
    return {'image': torch.rand(4, 3, 32, 40), 'mask': mask, 'domain': torch.arange(4)}


def test_masks_pass_a_container_unchanged_in_value_type_and_shape() -> None:
    sample = batch()
    augmented = chain(keepdim=True)(sample)
    assert augmented['mask'].dtype == torch.int64
    assert torch.equal(augmented['mask'], sample['mask'])
    assert torch.equal(augmented['domain'], sample['domain'])
    assert (augmented['image'] != sample['image']).any()


def test_geometry_moves_images_and_masks_together_and_labels_keep_their_values() -> None:
    sample = batch()
    sample['image'][:, 0] = sample['mask'] / 255
    augment = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomVerticalFlip(p=0.5),
        FourierStyle(torch.rand(5, 3, 8, 8), p=0.0),
        data_keys=None,
        keepdim=True,
    )
    torch.manual_seed(0)
    moved = augment(sample)
    assert moved['mask'].dtype == torch.int64
    assert torch.allclose(moved['image'][:, 0], moved['mask'] / 255)
    assert not torch.equal(moved['mask'], sample['mask'])


def test_a_plain_image_container_works_too() -> None:
    image = torch.rand(4, 3, 32, 40)
    container = K.ImageSequential(PhotometricDistortion(), PatchMask(8, 0.5))
    torch.manual_seed(0)
    first = container(image)
    torch.manual_seed(0)
    assert torch.equal(container(image), first)
    assert first.shape == image.shape


def test_a_container_replays_its_draws() -> None:
    container, sample = chain(keepdim=True), batch()
    first = container(sample)
    again = container(sample, params=container._params)
    assert torch.equal(first['image'], again['image'])


def test_a_single_image_comes_back_as_one() -> None:
    for augment in (
        PhotometricDistortion(),
        FourierStyle(torch.rand(2, 3, 8, 8)),
        PatchMask(4, 0.5),
    ):
        assert augment(torch.rand(3, 16, 16)).shape == (3, 16, 16)


def test_a_single_image_takes_a_single_validity() -> None:
    image = torch.rand(3, 16, 16)
    kept = FourierStyle(torch.rand(2, 3, 8, 8), p=1.0)(
        image, valid=torch.zeros(16, 16, dtype=torch.bool)
    )
    assert torch.equal(kept, image)


def test_nothing_is_computed_where_no_sample_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    style = FourierStyle(torch.rand(2, 3, 8, 8), p=0.0)
    monkeypatch.setattr(style, 'change', None)
    image = torch.rand(4, 3, 16, 16)
    assert torch.equal(style(image), image)


def test_augmentations_can_be_copied_and_sent_to_a_worker() -> None:
    style = FourierStyle(torch.rand(2, 3, 8, 8), p=1.0, generator=torch.Generator().manual_seed(0))
    copied, sent = copy.deepcopy(style), pickle.loads(pickle.dumps(style))
    image = torch.rand(4, 3, 16, 16)
    expected = style(image)
    assert torch.equal(copied(image), expected)
    assert torch.equal(sent(image), expected)


def test_sharing_a_draw_over_the_batch_is_refused() -> None:
    container = chain(keepdim=True, same_on_batch=True)
    with pytest.raises(ConfigError, match='leave same_on_batch and p_batch of the container unset'):
        container(batch())


def test_weights_of_a_model_are_not_touched_by_style_images() -> None:
    assert FourierStyle(torch.rand(2, 3, 8, 8)).state_dict() == {}


def test_a_draw_for_the_batch_styles_all_samples_or_none() -> None:
    images = torch.rand(4, 3, 16, 16)
    options = {'p': 0.3, 'generator': torch.Generator().manual_seed(0)}
    style = FourierStyle(torch.rand(5, 3, 8, 8), draw_per='batch', **options)
    changed = torch.stack([(style(images) != images).flatten(1).any(1) for _ in range(300)])
    assert torch.equal(changed.any(1), changed.all(1))
    assert abs(changed.float().mean() - 0.3) < 0.1
    looks = style(images[:1].expand(4, -1, -1, -1), {**style._params, 'batch_prob': torch.ones(4)})
    assert len({tuple(look.flatten().tolist()) for look in looks}) == 4  # each its own style


def test_other_units_of_drawing_are_refused(unchecked: None) -> None:
    with pytest.raises(ConfigError, match="expected 'sample' or 'batch'"):
        FourierStyle(torch.rand(5, 3, 8, 8), draw_per='epoch')


def fourier(**arguments: object) -> FourierStyle:
    styles = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(0)
    return FourierStyle(styles, p=1.0, generator=generator, **arguments)


@pytest.mark.parametrize('wrong', [torch.nan, torch.inf, -torch.inf])
def test_pixels_that_are_not_finite_are_no_data_and_spread_to_no_other(wrong: float) -> None:
    zero, broken = torch.rand(2, 3, 16, 16), torch.zeros(16, 16, dtype=torch.bool)
    broken[2:5, 7] = True
    zero[:, :, broken] = 0
    image = zero.clone()
    image[:, 1, broken] = wrong
    expected, styled = fourier()(zero), fourier()(image)
    assert torch.equal(styled[:, :, ~broken], expected[:, :, ~broken])
    assert torch.equal(styled[:, :, broken].nan_to_num(7), image[:, :, broken].nan_to_num(7))
    further = torch.cat([zero, image[:, 1:2]], 1)
    assert fourier()(further)[:, :, ~broken].isfinite().all()


@pytest.mark.parametrize('augment', [fourier(), PhotometricDistortion()])
def test_images_in_other_units_are_refused(augment: nn.Module) -> None:
    normalised = (torch.rand(2, 3, 16, 16) - 0.45) / 0.22
    for image in (normalised, torch.rand(2, 3, 16, 16) * 255):
        with pytest.raises(ConfigError, match=r'hold values from .* expected \[0, 1\]: augment'):
            augment(image)
    augment(torch.rand(2, 3, 16, 16) * 1.4 - 0.2)  # as noise and resampling leave it
    nodata = torch.rand(2, 3, 16, 16)
    nodata[..., 3] = -9999
    FourierStyle(torch.rand(2, 3, 8, 8), p=1.0, nodata=-9999)(nodata)


def test_masks_of_patches_take_any_units() -> None:
    image = torch.randn(2, 3, 16, 16) * 100
    assert torch.equal(PatchMask(4, 0.0)(image), image)


def test_integers_are_refused_with_the_remedy() -> None:
    with pytest.raises(
        ConfigError, match=r'images are torch\.uint8, .*crossearth\.radiometry\.to_unit'
    ):
        fourier()(torch.zeros(2, 3, 16, 16, dtype=torch.uint8))


@pytest.mark.parametrize(
    'augment', [FourierStyle(torch.rand(2, 3, 8, 8), p=0.0), PhotometricDistortion(p=0.0)]
)
def test_a_missing_band_shows_in_the_first_call_not_in_the_first_draw(augment: nn.Module) -> None:
    with pytest.raises(BandError, match='the image has 2'):
        augment(torch.rand(2, 2, 16, 16))


class Draws(Dataset[Tensor]):
    """The mask that a worker draws, of images that are all the same."""

    def __init__(self) -> None:
        self.mask = PatchMask(4, 0.5, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        return self.mask(torch.ones(1, 16, 16))


def test_workers_and_epochs_draw_by_themselves_and_the_global_seed_repeats_them() -> None:
    def epochs() -> list[Tensor]:
        torch.manual_seed(3)
        loader = DataLoader(Draws(), batch_size=2, num_workers=2)
        return [batch for _ in range(2) for batch in loader]

    first = epochs()
    masks = torch.cat(first)
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 8
    assert torch.equal(torch.cat(epochs()), masks)
