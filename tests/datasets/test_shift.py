from types import SimpleNamespace

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule, merge_domains
from crossearth.datasets.streams import draws_from
from crossearth.errors import ConfigError
from crossearth.labels import ISPRS
from crossearth.transforms import PhotometricDistortion, RandomScaleCrop


@pytest.fixture
def data(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(2):
        write_raster(f'images/{i}.tif', rng.integers(0, 255, (3, 40, 50), np.uint8))
        write_raster(f'masks/{i}.tif', rng.integers(0, 6, (1, 40, 50), np.uint8))
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)
    return ShiftDataModule(
        scenes, unseen={'b': scenes, 'a': scenes}, size_px=16, windows_per_epoch=10, batch_size=3
    )


def test_there_is_one_test_loader_for_each_domain_in_their_order(data):
    assert data.domains == ('b', 'a')
    loaders = data.test_dataloader()
    assert len(loaders) == 2
    assert sum(len(batch['image']) for batch in loaders[0]) == 2 * 3 * 4


def test_short_training_batches_are_dropped(data):
    assert [len(batch['image']) for batch in data.train_dataloader()] == [3, 3, 3]


def test_images_reach_the_model_in_the_unit_range(data):
    batch = next(iter(data.train_dataloader()))
    moved = data.on_after_batch_transfer(batch, 0)
    assert torch.allclose(moved['image'], batch['image'] / 255)
    assert batch['image'].dtype == torch.uint8


def test_each_pixel_is_scored_once_where_test_windows_overlap(data):
    counted = torch.zeros(2, 40, 50, dtype=torch.int64)
    for batch in data.test_dataloader()[0]:
        for mask, scene, transform in zip(
            batch['mask'], batch['index'], batch['transform'], strict=True
        ):
            col, row = int((transform[2] - 400_000) / 0.5), int((5_800_000 - transform[5]) / 0.5)
            counted[scene, row : row + 16, col : col + 16] += mask != 255
    assert (counted == 1).all()


def test_shares_without_a_batch_are_refused(data):
    data.trainer = SimpleNamespace(global_rank=0, world_size=5)
    with pytest.raises(ConfigError, match='2 for each of 5 processes, less than a batch of 3'):
        data.train_dataloader()


@pytest.fixture
def training(data):
    """A function that gives the data module an augmentation and the state of a running training."""

    def make(augment):
        made = ShiftDataModule(
            data.train, augment=augment, size_px=16, windows_per_epoch=10, batch_size=3
        )
        made.trainer = SimpleNamespace(training=True, global_rank=0, world_size=1)
        return made, next(iter(data.train_dataloader()))

    return make


def test_a_list_of_augmentations_is_applied_in_its_order(training):
    steps = [
        RandomScaleCrop(8, scale_range=(1.0, 1.0), max_class_fraction=1.0),
        K.RandomHorizontalFlip(p=1.0),
        PhotometricDistortion(contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue=0.0, brightness=0.0),
    ]
    data, batch = training(steps)
    with draws_from(torch.Generator().manual_seed(data.augment[0].draws.initial_seed())):
        cropped = steps[0]({**batch, 'image': batch['image'] / 255})
    moved = data.on_after_batch_transfer(batch, 0)
    assert torch.equal(moved['mask'], cropped['mask'].flip(2))
    torch.testing.assert_close(moved['image'], cropped['image'].flip(3))
    assert torch.equal(moved['transform'], batch['transform'])


def test_what_one_step_draws_moves_no_other_step(training):
    """Flips are the same with noise before them, and whatever else is drawn between batches."""
    flip, noise = K.RandomHorizontalFlip(), K.RandomGaussianNoise(p=0.5)
    plain, batch = training([flip])
    noisy, _ = training([noise, K.RandomHorizontalFlip()])
    kept = []
    for _ in range(8):
        one = plain.on_after_batch_transfer(batch, 0)['mask']
        torch.rand(3)  # as a method would
        assert torch.equal(one, noisy.on_after_batch_transfer(batch, 0)['mask'])
        kept.append(torch.equal(one, batch['mask']))
    assert len(set(kept)) == 2  # some batches are flipped, some are not


def test_two_steps_of_one_kind_draw_differently_and_another_seed_too(training):
    twice, batch = training([K.RandomHorizontalFlip(), K.RandomHorizontalFlip()])
    seeds = [step.draws.initial_seed() for step in twice.augment]
    other = ShiftDataModule(
        twice.train, augment=K.RandomHorizontalFlip(), size_px=16, windows_per_epoch=10, seed=1
    )
    assert len({*seeds, other.augment[0].draws.initial_seed()}) == 3
    states = [step.draws.get_state() for step in twice.augment]
    before = torch.get_rng_state()
    twice.on_after_batch_transfer(batch, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(
        torch.equal(step.draws.get_state(), state)
        for step, state in zip(twice.augment, states, strict=True)
    )


class ImageOnly(nn.Module):
    def forward(self, batch):
        return batch['image']


@pytest.mark.parametrize(
    ('augment', 'message'),
    [
        (K.AugmentationSequential(K.RandomHorizontalFlip(), data_keys=['input']), 'data_keys=None'),
        (ImageOnly(), 'ImageOnly in augment turned a batch into Tensor'),
    ],
)
def test_augmentations_that_do_not_fit_are_refused(training, augment, message):
    with pytest.raises(ConfigError, match=message):
        data, batch = training(augment)
        data.on_after_batch_transfer(batch, 0)


@pytest.mark.parametrize(
    ('options', 'value_range', 'message'),
    [
        (
            {'value_range': (0, 3000)},
            None,
            r"value_range=\(0.0, 3000.0\).*open it with dtype='unit'",
        ),
        ({'value_range': (0, 3000)}, (0, 255), "open it with dtype='unit'"),
        ({'dtype': 'unit'}, (0, 3000), r'value_range=\(0, 3000\) would scale them again'),
    ],
)
def test_a_range_of_values_counts_once_or_is_refused(data, tmp_path, options, value_range, message):
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS, **options)
    with pytest.raises(ConfigError, match=f'unseen place: .*{message}'):
        ShiftDataModule(
            data.train, unseen={'unseen place': scenes}, size_px=16, value_range=value_range
        )


@pytest.fixture
def mixed(write_raster, tmp_path):
    """Scenes of bytes at half of white, and of int16 at half of theirs."""
    for name, value in (('a', np.uint8(128)), ('b', np.int16(16_384))):
        write_raster(f'{name}/0.tif', np.full((3, 32, 32), value))
        write_raster(f'{name}_masks/0.tif', np.eye(32, dtype=np.uint8)[None])

    def make(**options):
        return merge_domains(
            {
                name: FolderDataset(
                    tmp_path / name, tmp_path / f'{name}_masks', labels=ISPRS, **options
                )
                for name in ('a', 'b')
            }
        )

    return make


def test_native_pixels_of_several_types_make_no_batch(mixed):
    message = "train: its scenes hold int16, uint8 pixels, .* open the dataset with dtype='unit'"
    with pytest.raises(ConfigError, match=message):
        ShiftDataModule(mixed(), size_px=16)
    scenes = mixed(dtype='unit', value_range={'int16': (0, 32_767)})
    data = ShiftDataModule(scenes, size_px=16, windows_per_epoch=8)
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert torch.allclose(batch['image'], torch.tensor(0.5), atol=0.01)


def test_integers_of_16_bits_without_a_range_are_warned_of(data, write_raster, tmp_path, recwarn):
    write_raster('deep/0.tif', np.full((3, 40, 50), 3000, np.uint16))

    def deep(**options):
        write_raster('deep_masks/0.tif', np.zeros((1, 40, 50), np.uint8))
        folders = tmp_path / 'deep', tmp_path / 'deep_masks'
        return FolderDataset(*folders, labels=ISPRS, dtype='unit', **options)

    message = r'0\.tif: holds uint16 pixels \(1 of 1 {} scenes\) .* divided by 65535'
    with pytest.warns(UserWarning, match=message.format('train')) as caught:
        ShiftDataModule(deep(), val=deep(), unseen={'b': deep()}, size_px=16)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=message.format('b')):
        ShiftDataModule(data.train, unseen={'b': deep()}, size_px=16)
    with pytest.warns(UserWarning, match=message.format('val')):
        ShiftDataModule(deep(value_range=(0, 3000)), val=deep(), size_px=16)
    recwarn.clear()
    stated = deep(value_range={'uint16': (0, 3000)})
    ShiftDataModule(stated, val=stated, unseen={'a': data.train}, size_px=16)
    assert not recwarn.list
