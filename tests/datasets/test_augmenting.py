import kornia.augmentation as K
import pytest
import torch
from torch import nn

from crossearth.datasets.augmenting import augment_batch, augment_pair, chain_augmentations
from crossearth.errors import ConfigError
from crossearth.transforms import RandomScaleCrop


def test_labels_move_with_their_pixels_and_what_is_uncovered_is_ignored():
    mask = torch.randint(0, 6, (4, 16, 16))
    mask[:, :2] = 255
    image = mask[:, None].float().div(255).expand(-1, 3, -1, -1)
    turn = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=1.0), K.RandomVerticalFlip(p=1.0), data_keys=None
    )
    moved = augment_pair(turn, {'image': image, 'mask': mask})
    assert torch.equal(moved['mask'], mask.flip(1, 2))
    assert torch.equal(moved['image'].mul(255).round()[:, 0].long(), moved['mask'])
    assert moved['mask'].dtype == torch.int64
    shift = K.AugmentationSequential(
        K.RandomAffine(0.0, translate=(0.5, 0.5), resample='nearest', p=1.0), data_keys=None
    )
    torch.manual_seed(0)
    moved = augment_pair(shift, {'image': image + 1 / 255, 'mask': mask})
    uncovered = moved['image'][:, 0] == 0
    assert uncovered.any()
    assert (moved['mask'][uncovered] == 255).all()


def test_an_augmentation_that_does_nothing_leaves_every_label_as_it_was():
    mask = torch.arange(256).view(1, 16, 16)
    kept = augment_pair(nn.Identity(), {'image': torch.rand(1, 3, 16, 16), 'mask': mask})
    assert torch.equal(kept['mask'], mask)


def test_every_map_of_a_batch_moves_with_the_image_and_keeps_its_type():
    number = torch.arange(4 * 12 * 16).view(4, 12, 16)
    batch = {
        'image': (number / 1024)[:, None].expand(-1, 3, -1, -1),
        'mask': number % 6,
        'dsm': number.double() / 4,
        'slope': number[:, None].float() + 0.25,
        'parcel': number.int(),
        'valid': number % 3 == 0,
        'transform': torch.rand(4, 9),
    }
    steps = chain_augmentations(
        [
            RandomScaleCrop(8, scale_range=(1.0, 1.0), max_class_fraction=1.0),
            K.RandomHorizontalFlip(p=1.0),
            K.RandomVerticalFlip(p=0.5),
        ]
    )
    moved = augment_batch(steps, batch)
    assert {name: value.dtype for name, value in moved.items()} == {
        name: value.dtype for name, value in batch.items()
    }
    parcel = moved['parcel'].long()
    assert parcel.shape == (4, 8, 8)
    assert (parcel[:, :, 0] > parcel[:, :, -1]).all()  # it was flipped
    torch.testing.assert_close(moved['image'][:, 0] * 1024, parcel.float(), atol=0.02, rtol=0)
    assert torch.equal(moved['mask'], parcel % 6)
    torch.testing.assert_close(moved['dsm'], parcel.double() / 4, atol=0.02, rtol=0)
    torch.testing.assert_close(moved['slope'][:, 0], parcel + 0.25, atol=0.05, rtol=0)
    assert torch.equal(moved['valid'], parcel % 3 == 0)
    assert torch.equal(moved['transform'], batch['transform'])


def test_maps_take_the_nearest_pixel_and_hold_nothing_where_a_container_uncovers_them():
    heights = torch.zeros(2, 16, 16)
    heights[:, :, 8:] = 100.0
    turn = K.AugmentationSequential(K.RandomRotation(30.0, p=1.0), data_keys=None)
    batch = {'image': torch.rand(2, 3, 16, 16), 'dsm': heights, 'valid': heights >= 0}
    moved = augment_pair(turn, batch)
    assert set(moved['dsm'].unique().tolist()) == {0.0, 100.0}  # no height in between
    assert not moved['valid'].all()
    assert moved['valid'].any()


class Forgetful(nn.Module):
    def forward(self, batch):
        return {'image': batch['image']}


def test_a_module_that_loses_a_map_is_named():
    with pytest.raises(
        ConfigError, match=r"Forgetful .*expected a dict with 'image' and all other keys"
    ):
        augment_batch([Forgetful()], {'image': torch.rand(1, 3, 4, 4), 'dsm': torch.rand(1, 4, 4)})


def test_a_module_that_takes_an_image_is_told_that_it_gets_a_batch():
    class Darker(nn.Module):
        def forward(self, image):
            return image * 0.5

    batch = {'image': torch.rand(2, 3, 8, 8), 'mask': torch.zeros(2, 8, 8).long()}
    with pytest.raises(TypeError) as caught:
        augment_batch(chain_augmentations(Darker()), batch)
    (note,) = caught.value.__notes__
    assert note.startswith(
        'Darker in augment was called with a batch, a dict with the keys image, mask.'
    )
