from types import SimpleNamespace

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from affine import Affine

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.datasets.streams import draws_from
from crossearth.datasets.target import TargetWindows
from crossearth.errors import BandError, ConfigError
from crossearth.geometry import Window
from crossearth.labels import ISPRS
from crossearth.transforms import RandomScaleCrop, SensorSimulation


@pytest.fixture
def source(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    write_raster('images/a.tif', rng.integers(1, 255, (3, 40, 50), np.uint8))
    write_raster('masks/a.tif', rng.integers(0, 6, (1, 40, 50), np.uint8))
    return FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)


@pytest.fixture
def target(write_raster, tmp_path):
    rng = np.random.default_rng(1)
    for name in 'bc':
        write_raster(f'far/{name}.tif', rng.integers(1, 255, (3, 64, 64), np.uint8))
    return FolderDataset(tmp_path / 'far', labels=ISPRS)


@pytest.fixture
def make(source, target):
    def build(**options):
        arguments = {'size_px': 16, 'windows_per_epoch': 12, 'batch_size': 2, **options}
        return ShiftDataModule(source, target=target, **arguments)

    return build


def taken(loader, count):
    """The first batches of an endless sequence, as pixels of both sets."""
    batches = []
    while len(batches) < count:
        for batch in loader:
            batches.append((batch['image'], batch['target_image'], batch['target_valid']))
            if len(batches) == count:
                break
    return batches


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(a, b)
        for pair in zip(one, other, strict=True)
        for a, b in zip(*pair, strict=True)
    )


def test_batches_have_windows_of_the_target_next_to_those_of_the_source(make, source):
    data = make(target_batch_size=3, target_size_px=20)
    batches = taken(data.train_dataloader(), 6)
    assert len(data.train_dataloader()) == 6
    assert all(t.shape == (3, 3, 20, 20) and t.dtype == torch.float32 for _, t, _ in batches)
    assert all(valid.all() and valid.dtype == torch.bool for _, _, valid in batches)
    alone = ShiftDataModule(source, size_px=16, windows_per_epoch=12, batch_size=2)
    expected = [batch['image'] for batch in alone.train_dataloader()]
    assert all(torch.equal(a, b) for (a, _, _), b in zip(batches, expected, strict=True))


def test_target_windows_are_pixels_of_the_target_by_255(make, target):
    whole = torch.stack([target[i]['image'] for i in range(2)]).float() / 255
    places = whole.unfold(2, 16, 1).unfold(3, 16, 1)
    for _, images, _ in taken(make().train_dataloader(), 2):
        for image in images:
            difference = (places - image[:, None, None]).abs().amax((1, 4, 5))
            assert difference.min() < 1e-6


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('done', [1, 6, 8])
def test_a_state_continues_with_the_next_batch_of_both(make, workers, done):
    expected = taken(make().train_dataloader(), done + 4)
    first = make(num_workers=workers)
    assert same(taken(first.train_dataloader(), done), expected[:done])
    assert first.state_dict() == {'batches': done, 'target_batches': done}
    second = make(num_workers=workers)
    second.setup('fit')
    second.load_state_dict(first.state_dict())
    assert same(taken(second.train_dataloader(), 4), expected[done:])


def test_processes_share_the_windows_of_the_target(make):
    seen = []
    for rank in range(2):
        data = make(target_batch_size=3)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, training=False)
        seen += [image for batch in data.train_dataloader() for image in batch['target_image']]
    whole = make(batch_size=4, target_batch_size=6)
    expected = [image for batch in whole.train_dataloader() for image in batch['target_image']]
    assert len(seen) == len(expected) == 18
    key = lambda image: image.flatten().tolist()  # noqa: E731
    assert sorted(map(key, seen)) == sorted(map(key, expected))


def test_the_target_has_its_own_augmentations_and_no_mask(make):
    steps = [RandomScaleCrop(8, scale_range=(1.0, 1.0)), K.RandomHorizontalFlip(p=1.0)]
    data = make(target_augment=steps)
    data.trainer = SimpleNamespace(training=True, global_rank=0, world_size=1)
    batch = next(iter(data.train_dataloader()))
    first = data.target_augment[0].draws.initial_seed()
    moved = data.on_after_batch_transfer(dict(batch), 0)
    with draws_from(torch.Generator().manual_seed(first)):
        cropped = steps[0]({'image': batch['target_image']})['image']
    torch.testing.assert_close(moved['target_image'], cropped.flip(3))
    assert moved['target_valid'].shape == (2, 8, 8)
    assert moved['image'].shape[-1] == 16
    assert torch.equal(moved['mask'], batch['mask'])
    assert data.augmentations == [data.augment, data.target_augment]


@pytest.fixture
def sparse(write_raster, tmp_path):
    """Ten scenes of which nine hold no data but in a corner, which says so by NaN."""
    rng = np.random.default_rng(2)
    for i in range(10):
        pixels = rng.uniform(0.2, 1, (3, 64, 64)).astype(np.float32)
        if i:
            pixels[:, 4:] = np.nan
        write_raster(f'sparse/{i}.tif', pixels)
    return FolderDataset(tmp_path / 'sparse', labels=ISPRS)


def test_scenes_that_are_mostly_empty_do_not_fill_batches(source, sparse):
    data = ShiftDataModule(
        source, target=sparse, size_px=16, windows_per_epoch=100, target_batch_size=4
    )
    shares = torch.cat(
        [batch['target_valid'].flatten(1).float().mean(1) for batch in data.train_dataloader()]
    )
    # each window alone would hold data with 1 in 10; ten draws all miss with 0.9^10 = 0.35
    assert (shares >= 0.5).float().mean() > 0.5
    assert not any(
        image.isnan().any() for batch in data.train_dataloader() for image in batch['target_image']
    )


def test_a_window_is_replaced_alike_whatever_was_read_before(sparse):
    windows = TargetWindows(sparse, 16)
    empty = Window(3, 30, 30, 16, 16)
    first = windows[empty]
    windows[Window(4, 20, 20, 16, 16)]
    assert torch.equal(windows[empty]['image'], first['image'])
    full = Window(0, 5, 6, 16, 16)
    assert torch.equal(windows[full]['image'], sparse[full]['image'])


def test_masks_of_the_target_are_never_read(source, write_raster, tmp_path):
    rng = np.random.default_rng(3)
    write_raster('far/x.tif', rng.integers(0, 255, (3, 40, 40), np.uint8))
    write_raster('wrong/x.tif', np.full((1, 40, 40), 77, np.uint8))  # no class: reading it fails
    masked = FolderDataset(tmp_path / 'far', tmp_path / 'wrong', labels=ISPRS)
    data = ShiftDataModule(source, target=masked, size_px=16, windows_per_epoch=8)
    assert len(taken(data.train_dataloader(), 2)) == 2
    assert not any(scene.labelled for scene in data.target.scenes)


def test_the_target_is_seen_at_the_distance_of_the_source(source, write_raster, tmp_path):
    fine = Affine(0.25, 0, 400_000, 0, -0.25, 5_800_000)
    pixels = np.random.default_rng(4).integers(1, 255, (3, 80, 80), np.uint8)
    write_raster('fine/a.tif', pixels, transform=fine)
    target = FolderDataset(tmp_path / 'fine', labels=ISPRS)
    data = ShiftDataModule(source, target={'berlin': target}, size_px=16, windows_per_epoch=8)
    assert data.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert data.target.gsd_range_m == pytest.approx((0.5, 0.5), rel=1e-3)
    assert abs(data.target.scenes[0].height - 40) <= 1
    assert data.target.domains == ('berlin',)
    own = FolderDataset(tmp_path / 'fine', labels=ISPRS, gsd_m=1.0)
    asked = ShiftDataModule(source, target=own, size_px=16, windows_per_epoch=8)
    assert asked.target.gsd_range_m == pytest.approx((1.0, 1.0), rel=1e-3)


def test_metres_of_another_pixel_size_are_refused_for_the_target_too(
    source, write_raster, tmp_path
):
    write_raster('fine/a.tif', np.ones((3, 80, 80), np.uint8))
    target = FolderDataset(tmp_path / 'fine', labels=ISPRS)
    options = {'target': target, 'size_px': 16, 'windows_per_epoch': 8}
    ShiftDataModule(source, target_augment=SensorSimulation(gsd_m=0.5), **options)
    with pytest.raises(ConfigError, match=r'pixels have 0\.21 m, but windows are read at 0\.5 m'):
        ShiftDataModule(source, target_augment=SensorSimulation(gsd_m=0.21), **options)


def test_a_target_without_a_place_is_read_in_its_own_pixels_with_a_warning(
    source, write_raster, tmp_path
):
    write_raster('nowhere/a.png', np.ones((3, 32, 32), np.uint8), crs=None, driver='PNG')
    target = FolderDataset(tmp_path / 'nowhere', labels=ISPRS)
    with pytest.warns(UserWarning, match=r'a\.png: is not georeferenced .*source is seen at 0\.5'):
        data = ShiftDataModule(source, target=target, size_px=16, windows_per_epoch=8)
    assert data.target.scenes[0].height == 32


def test_a_source_without_a_place_asks_for_none_of_its_target(target, write_raster, tmp_path):
    for folder in ('plain', 'plain_masks'):
        pixels = np.ones((3 if folder == 'plain' else 1, 32, 32), np.uint8)
        write_raster(f'{folder}/a.png', pixels, crs=None, driver='PNG')
    plain = FolderDataset(tmp_path / 'plain', tmp_path / 'plain_masks', labels=ISPRS)
    data = ShiftDataModule(plain, target=target, size_px=16)
    assert data.target.scenes[0].height == 64


def test_results_with_a_target_are_marked_as_adaptation(source, make, tmp_path, monkeypatch):
    assert make().adaptation
    assert not ShiftDataModule(source).adaptation
    data = ShiftDataModule(source, unseen={'here': source, 'there': source}, target=source)
    assert data.adapted == ('here', 'there')
    monkeypatch.chdir(tmp_path)
    relative = FolderDataset('images', 'masks', labels=ISPRS)
    again = ShiftDataModule(source, unseen={'here': relative}, target=source)
    assert again.adapted == ('here',)
    assert make(unseen={'here': source}).adapted == ()


def test_values_of_the_target_are_scaled_as_those_of_the_source(source, write_raster, tmp_path):
    pixels = np.full((3, 32, 32), 1000, np.uint16)
    write_raster('wide/a.tif', pixels)
    wide = FolderDataset(tmp_path / 'wide', labels=ISPRS)
    data = ShiftDataModule(
        source, target=wide, size_px=16, windows_per_epoch=4, value_range=(0.0, 2000.0)
    )
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch['target_image'], torch.full((4, 3, 16, 16), 0.5))


@pytest.mark.filterwarnings('ignore:.* without a value_range')  # of the second target
def test_a_source_in_the_unit_range_gives_its_range_to_a_target_that_has_none(
    write_raster, tmp_path
):
    pixels = np.full((3, 32, 32), 1500, np.uint16)
    write_raster('wide/a.tif', pixels)
    write_raster('wide_masks/a.tif', np.zeros((1, 32, 32), np.uint8))
    scaled = {'dtype': 'unit', 'value_range': (0.0, 3000.0), 'labels': ISPRS}
    train = FolderDataset(tmp_path / 'wide', tmp_path / 'wide_masks', **scaled)
    for options, expected in (
        ({}, 1500 / 3000),
        ({'dtype': 'unit'}, 1500 / 65535),
        ({'dtype': 'unit', 'value_range': (0.0, 6000.0)}, 1500 / 6000),
    ):
        target = FolderDataset(tmp_path / 'wide', labels=ISPRS, **options)
        data = ShiftDataModule(train, target=target, size_px=16, windows_per_epoch=4)
        batch = next(iter(data.train_dataloader()))
        torch.testing.assert_close(batch['target_image'], torch.full((4, 3, 16, 16), expected))


def test_targets_that_do_not_fit_are_refused(source, target, write_raster, tmp_path):
    write_raster('grey/a.tif', np.ones((1, 32, 32), np.uint8))
    grey = FolderDataset(tmp_path / 'grey', labels=ISPRS)
    with pytest.raises(BandError, match='target grey: has 1 bands, the training data 3'):
        ShiftDataModule(source, target={'grey': grey})
    with pytest.raises(ConfigError, match='target is empty'):
        ShiftDataModule(source, target={})
    with pytest.raises(ConfigError, match='without target: pass target=dataset'):
        ShiftDataModule(source, target_size_px=16)
    with pytest.raises(ConfigError, match='at least 1 pixel and 1 window'):
        ShiftDataModule(source, target=target, target_batch_size=0)


def test_a_target_of_another_integer_type_without_a_range_is_warned_of(
    source, write_raster, tmp_path
):
    write_raster('deep/d.tif', np.full((3, 32, 32), 1000, np.uint16))
    deep = FolderDataset(tmp_path / 'deep', labels=ISPRS)
    with pytest.warns(UserWarning, match=r'd.tif: holds uint16 pixels \(1 of 1 target'):
        ShiftDataModule(source, target=deep, size_px=16)
    said = FolderDataset(tmp_path / 'deep', labels=ISPRS, value_range=(0, 2000))
    ShiftDataModule(source, target=said, size_px=16)  # without a warning, which would be an error
