"""What a model has learnt of pixel sizes decides how validation and test scenes are seen."""

import dataclasses
import logging

import kornia.augmentation as K
import numpy as np
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint
from torch import nn

from crossearth.datasets import FolderDataset, SceneDataset, ShiftDataModule
from crossearth.datasets.cut import resampled_scene
from crossearth.datasets.resizing import resize_range
from crossearth.datasets.scene import Part, read_scene
from crossearth.errors import ConfigError
from crossearth.labels import ISPRS
from crossearth.transforms import RandomScaleCrop

LOG = 'lightning.pytorch.utilities.rank_zero'


@pytest.fixture
def scenes(write_raster, tmp_path):
    def make(name, own_m, side=64, **options):
        place = {'crs': None}
        if own_m is not None:
            place = {'transform': Affine(own_m, 0, 400_000, 0, -own_m, 5_800_000)}
        rng = np.random.default_rng(1)
        pixels = rng.integers(1, 255, (3, side, side), np.uint8)
        write_raster(f'{name}/i/a.tif', pixels, **place)
        write_raster(f'{name}/m/a.tif', (pixels[:1] % 6), **place)
        return FolderDataset(tmp_path / name / 'i', tmp_path / name / 'm', labels=ISPRS, **options)

    return make


def module(train, **options):
    return ShiftDataModule(train, size_px=16, windows_per_epoch=4, batch_size=2, **options)


def test_a_model_of_a_range_is_tested_within_it_natively_and_beyond_it_at_its_middle(
    scenes, caplog
):
    names = {'fine': 0.21, 'within': 0.8, 'coarse': 2.0, 'plain': None}
    unseen = {name: scenes(name, size) for name, size in names.items()}
    opened = scenes('opened', 0.21, side=100, gsd_m=1.0)
    data = module(
        scenes('source', 0.5),
        unseen={**unseen, 'opened': opened},
        gsd_m=(0.36, 1.0),
        source_test=scenes('val', 0.5),
    )
    seen = data.seen_tests
    for name in ('source', 'within', 'plain', 'opened'):
        assert seen[name] is data.tests[name]
    assert seen['fine'].gsd_range_m == pytest.approx((0.6, 0.6))
    assert seen['coarse'].gsd_range_m == pytest.approx((0.6, 0.6))
    again = scenes('fine', 0.21, gsd_m=0.6)
    for key in ('image', 'mask', 'transform'):
        assert (seen['fine'][0][key] == again[0][key]).all()
    with caplog.at_level(logging.INFO, LOG):
        loaders = data.test_dataloader()
    (said,) = caplog.messages
    assert said == (
        'tests see source at its own pixels (0.5 m); fine at 0.6 m (own pixels 0.21 m); within at '
        'its own pixels (0.8 m); coarse at 0.6 m (own pixels 2 m); plain at its own pixels (of '
        'unknown size on the ground); opened at 1 m, as it was opened'
    )
    shown = next(iter(loaders[1]))  # fine: 22 or 23 px a side, padded as need be
    assert float(shown['transform'][0, 0]) == pytest.approx(0.6)


def test_a_model_of_one_size_sees_every_scene_at_it_unless_told_otherwise(scenes):
    train, other = scenes('source', 0.5), scenes('other', 0.25)
    seen = module(train, unseen={'other': other}).seen_tests['other']
    assert seen.scenes[0].height == pytest.approx(32, abs=1)
    native = module(train, unseen={'other': other}, test_gsd_m='native')
    assert native.seen_tests['other'] is other
    asked = module(train, val=other, test_gsd_m=1.0)
    assert asked.seen_val.gsd_range_m == pytest.approx((1.0, 1.0))
    assert next(iter(asked.val_dataloader()[0]))['mask'].shape[1:] == (16, 16)


@pytest.mark.parametrize('wrong', [0, -1.0, float('nan'), float('inf')])
def test_a_size_to_test_at_without_meaning_is_refused_before_training(scenes, wrong):
    with pytest.raises(ConfigError, match=f'test_gsd_m is {wrong!r}: expected metres'):
        module(scenes('source', 0.5), test_gsd_m=wrong)


def test_parts_that_a_split_has_left_are_seen_so_too(scenes):
    whole = scenes('val', 0.25)
    part = dataclasses.replace(whole.scenes[0], part=Part(32, 0, 32, 64))
    val = SceneDataset([part], ISPRS)
    seen = module(scenes('source', 0.5), val=val).seen_val
    assert seen.scenes[0].height == pytest.approx(16, abs=1)
    assert np.abs(np.subtract(seen.scenes[0].bounds_xy, part.bounds_xy)).max() <= 0.5


def test_parts_of_a_scene_with_control_points_share_no_ground(write_raster):
    rows, cols = np.meshgrid([0, 45, 90], [0, 60, 120], indexing='ij')
    bend = 3 * np.sin(cols / 40)  # metres
    points = [
        GroundControlPoint(row, col, 4e5 + 0.5 * col + turn, 58e5 - 0.25 * row + turn)
        for row, col, turn in zip(rows.ravel(), cols.ravel(), bend.ravel(), strict=True)
    ]
    pixels = np.random.default_rng(0).integers(1, 255, (1, 90, 120), np.uint8)
    whole = read_scene(write_raster('g.tif', pixels, transform=None, gcps=points))
    parts = [
        dataclasses.replace(whole, part=Part(0, 0, 72, 120)),
        dataclasses.replace(whole, part=Part(72, 0, 18, 120)),
    ]
    seen = [resampled_scene(scene, 0.5) for scene in (whole, *parts)]
    data = [SceneDataset([scene], ISPRS) for scene in seen]
    shown = np.zeros((seen[0].height, seen[0].width), int)
    for dataset, scene in zip(data[1:], seen[1:], strict=True):
        rows = slice(scene.part.row, scene.part.row + scene.height)
        cols = slice(scene.part.col, scene.part.col + scene.width)
        shown[rows, cols] += (dataset[0]['image'][0] > 0).numpy()
    known = (data[0][0]['image'][0] > 0).numpy()
    assert shown.max() == 1
    assert (shown[known] == 1).mean() > 0.98  # but for pixels on the border
    assert not shown[~known].any()


def test_a_scene_that_cannot_be_shown_is_refused_before_the_first_step(scenes):
    data = module(scenes('source', 0.5), val=scenes('val', 100.0))
    with pytest.raises(ConfigError, match=r'more than 50 times as large as the 0\.5 m'):
        data.setup('fit')


def test_scales_and_augmentations_widen_what_has_been_learnt(scenes):
    source = scenes('source', 0.5)
    crop = RandomScaleCrop(8, scale_range=(0.5, 2.0))
    assert module(source).gsd_range_m is None
    cropped = module(source, augment=[crop, K.RandomHorizontalFlip()])
    assert cropped.gsd_range_m == pytest.approx((0.25, 1.0), rel=1e-3)
    assert cropped.gsd_m == pytest.approx(0.5, rel=1e-3)
    scaled = module(source, scale=(0.5, 4.0))
    assert scaled.gsd_range_m == pytest.approx((0.125, 1.0), rel=1e-3)
    both = module(source, gsd_m=(0.4, 0.8), augment=crop)
    assert both.gsd_range_m == pytest.approx((0.2, 1.6))
    assert (module(source, gsd_m=0.7).gsd_m, module(source, gsd_m=0.7).gsd_range_m) == (0.7, None)


def test_what_is_not_known_is_not_stored_and_the_log_says_so(scenes, caplog):
    data = module(scenes('plain', None), scale=(0.5, 2.0))
    assert (data.gsd_m, data.gsd_range_m) == (None, None)
    with caplog.at_level(logging.INFO, LOG):
        data.setup('fit')
        module(scenes('source', 0.5), gsd_m=(0.3, 1.0)).setup('fit')
    unknown, known = caplog.messages
    assert 'unknown size on the ground: the file of the model will not state' in unknown
    assert known == 'training sees pixels of 0.3 to 1 m'


class Zoom(nn.Module):
    def __init__(self, *scale_range):
        super().__init__()
        self.scale_range = scale_range


@pytest.mark.parametrize(
    ('steps', 'factors'),
    [
        ([K.RandomResizedCrop((32, 32), scale=(0.25, 1.0), p=1.0)], (0.5, 1.0)),
        ([K.RandomResizedCrop((64, 64), scale=(0.25, 1.0))], (1.0, 2.0)),
        ([K.RandomAffine(10.0, scale=(1.5, 2.0), p=0.5)], (1.0, 2.0)),
        ([K.RandomAffine(10.0)], (1.0, 1.0)),
        ([K.Resize((32, 32)), Zoom(0.5, 3.0)], (0.25, 1.5)),
        ([K.AugmentationSequential(K.RandomAffine(1.0, scale=(0.5, 0.8), p=1.0))], (0.5, 0.8)),
        (
            [RandomScaleCrop(32), K.RandomResizedCrop((16, 16), scale=(1.0, 1.0), p=1.0)],
            (0.25, 1.0),
        ),
    ],
)
def test_factors_of_resizing_multiply(steps, factors):
    assert resize_range(steps, size_px=64) == pytest.approx(factors)


def test_a_scale_range_without_a_meaning_is_refused():
    with pytest.raises(
        ConfigError, match=r'Zoom.scale_range is \(2.0, 1.0\): expected the smallest'
    ):
        resize_range([Zoom(2.0, 1.0)], size_px=8)


class _Metres(nn.Module):
    """An augmentation that measures on the ground."""

    def __init__(self, gsd_m: float | None) -> None:
        super().__init__()
        self.gsd_m = gsd_m

    def forward(self, image):
        return image


@pytest.mark.parametrize(
    ('told_m', 'options', 'sizes'),
    [(5.0, {}, '0.5 m'), (0.5, {'gsd_m': (0.4, 1.0)}, '0.4 to 1 m'), (0.5, {'gsd_m': 1.0}, '1 m')],
)
def test_an_augmentation_is_not_told_another_size_than_that_of_windows(
    scenes, told_m, options, sizes
):
    with pytest.raises(ConfigError, match=f'was told that pixels have .*read at {sizes}, so'):
        module(scenes('source', 0.5), augment=_Metres(told_m), **options)


def test_an_augmentation_may_be_told_the_size_of_windows_or_one_that_is_not_known(scenes):
    for own_m, told_m in ((0.5, 0.501), (0.5, None), (None, 5.0)):
        module(scenes(f'{own_m}-{told_m}', own_m), augment=_Metres(told_m))
