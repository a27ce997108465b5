"""Training windows at drawn pixel sizes: which are drawn, and what they show."""

import dataclasses

import numpy as np
import pytest
import torch
from affine import Affine
from scipy import stats

from crossearth.datasets import (
    FolderDataset,
    RandomWindowSampler,
    RareClassSampler,
    SceneDataset,
    ShiftDataModule,
    read_scene,
)
from crossearth.datasets.cut import resampled_scene, scaled_scene
from crossearth.datasets.scene import Part
from crossearth.errors import ConfigError, WindowError
from crossearth.geometry import ScaledWindow, Window
from crossearth.labels import ISPRS

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (3, 120, 90), np.uint8)
IDS = RNG.integers(0, 6, (1, 120, 90), np.uint8)
PLACE = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)


@pytest.fixture
def scene(write_raster):
    def make(name='a.tif', image=IMAGE, ids=IDS, **place):
        path = write_raster(f'i/{name}', image, **place)
        return read_scene(path, write_raster(f'm/{name}', ids, **place))

    return make


def step_of(window):
    return (window.row_step, window.col_step) if isinstance(window, ScaledWindow) else (1.0, 1.0)


def span_of(window, axis):
    """First and last place of a window along an axis, in pixels of its scene."""
    step = step_of(window)[axis]
    inner = window.window if isinstance(window, ScaledWindow) else window
    first = (inner.row, inner.col)[axis]
    return first * step, (first + inner.height) * step


def test_coarser_pixels_are_the_means_of_those_they_cover_and_masks_their_middle(scene):
    data = SceneDataset([scene()], ISPRS)
    sample = data[ScaledWindow(Window(0, 2, 3, 10, 8), 3.0, 3.0)]
    boxes = IMAGE[:, 6:36, 9:33].reshape(3, 10, 3, 8, 3).mean(axis=(2, 4))
    np.testing.assert_array_equal(sample['image'], np.rint(boxes))
    np.testing.assert_array_equal(sample['mask'], IDS[0, 7:37:3, 10:34:3])
    a, b, x, d, e, y = sample['transform'][:6].tolist()
    assert (a, b, d, e) == (1.5, 0, 0, -1.5)
    assert (x, y) == (400_004.5, 5_799_997.0)
    assert sample['bounds'].tolist()[:6] == [
        400_004.5,
        400_016.5,
        1.5,
        5_799_982.0,
        5_799_997.0,
        1.5,
    ]


def test_boxes_of_broken_pixels_weigh_by_area(scene):
    data = SceneDataset([scene()], ISPRS, dtype='float32')
    step, row, col = 2.5, 4, 7
    sample = data[ScaledWindow(Window(0, row, col, 6, 5), step, step)]
    fine = IMAGE.repeat(2, axis=1).repeat(2, axis=2).astype(float)  # halves of pixels
    top, left = int(row * step * 2), int(col * step * 2)
    part = fine[:, top : top + 30, left : left + 25]
    means = part.reshape(3, 6, 5, 5, 5).mean(axis=(2, 4))
    np.testing.assert_array_equal(sample['image'], np.rint(means))


def test_finer_pixels_are_interpolated_linearly(scene):
    ramp = (np.arange(120)[:, None] + 2 * np.arange(90)).astype(np.float32)[None].repeat(3, 0)
    data = SceneDataset([scene('ramp.tif', ramp)], ISPRS)
    image = data[ScaledWindow(Window(0, 8, 12, 20, 16), 0.25, 0.5)]['image'][0].numpy()
    rows, cols = (8 + np.arange(20) + 0.5) * 0.25 - 0.5, (12 + np.arange(16) + 0.5) * 0.5 - 0.5
    np.testing.assert_allclose(image, rows[:, None] + 2 * cols, atol=1e-4)


@pytest.mark.parametrize('gsd_m', [0.3, 0.7, 1.0, 1.7])
def test_windows_show_what_a_dataset_opened_at_that_size_shows(write_raster, scene, gsd_m):
    smooth = (120 + 100 * np.sin(np.arange(120)[:, None] / 9 + np.arange(90) / 7)).astype(np.uint8)
    one = scene('s.tif', np.stack([smooth] * 3))
    data, at_size = SceneDataset([one], ISPRS), SceneDataset([one], ISPRS, gsd_m=gsd_m)
    across, down = one.raster.gsd_m()
    window = Window(0, 3, 5, 20, 16)
    ours = data[ScaledWindow(window, gsd_m / down, gsd_m / across)]
    theirs = at_size[window]
    for name in ('image', 'mask', 'transform'):
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_without_data_or_ground_windows_are_black_and_ignored(write_raster, scene):
    image = IMAGE.clip(1).copy()
    image[:, :30] = 0
    data = SceneDataset([scene('n.tif', image, nodata=0)], ISPRS)
    sample = data[ScaledWindow(Window(0, 10, -2, 12, 12), 2.0, 2.0)]
    assert (sample['image'][:, :5] == 0).all()  # rows 20 to 30 of the scene
    assert (sample['image'][:, :, :2] == 0).all()
    assert (sample['mask'][:5] == 255).all()
    assert (sample['mask'][:, :2] == 255).all()
    np.testing.assert_array_equal(sample['mask'][5:, 2:], IDS[0, 31:45:2, 1:21:2])


def test_sizes_are_log_uniform_and_the_same_along_both_axes(scene):
    data = SceneDataset([scene()], ISPRS)
    sampler = RandomWindowSampler(data, 8, length=4000, gsd_m=(0.2, 3.0), pad=True)
    across, down = data.scenes[0].raster.gsd_m()
    steps = np.array([step_of(w) for w in sampler.windows(0)])
    np.testing.assert_allclose(steps[:, 0] * down, steps[:, 1] * across, rtol=1e-8)
    octaves = np.log(steps[:, 0] * down / 0.2) / np.log(15)
    assert stats.kstest(octaves[np.abs(steps[:, 0] - 1) > 0.02], 'uniform').pvalue > 1e-3
    assert (steps == 1).all(axis=1).mean() == pytest.approx(2 * 0.02 / np.log(15), abs=0.01)


def test_a_scale_of_three_shows_everything_three_times_as_large(scene):
    data = SceneDataset([scene('a.png', crs=None, driver='PNG')], ISPRS)
    window = RandomWindowSampler(data, 12, length=1, scale=3.0, border='shift').windows(0)[0]
    assert step_of(window) == (1 / 3, 1 / 3)
    steps = [
        step_of(w)[0]
        for w in RandomWindowSampler(data, 8, length=500, scale=(0.5, 4), pad=True).windows(0)
    ]
    assert 0.25 <= min(steps) < 0.26
    assert 1.9 < max(steps) <= 2


@pytest.mark.parametrize('border', ['shift', 'pad'])
def test_windows_lie_where_they_would_lie_at_the_own_size(scene, border):
    data = SceneDataset([scene(), scene('b.tif')], ISPRS)
    options = {'length': 300, 'seed': 3, 'border': border}
    plain = RandomWindowSampler(data, 16, **options).windows(1)
    drawn = RandomWindowSampler(data, 16, gsd_m=(0.2, 1.2), **options).windows(1)
    for own, other in zip(plain, drawn, strict=True):
        assert own.scene == other.scene
        for axis, step in enumerate(step_of(other)):
            small, large = sorted(
                (span_of(own, axis), span_of(other, axis)), key=lambda ends: ends[1] - ends[0]
            )
            slack = 1.5 * max(step, 1)
            assert large[0] - slack <= small[0]
            assert small[1] <= large[1] + slack
    same = RandomWindowSampler(data, 16, scale=1, **options).windows(1)
    assert same == plain


def test_every_pixel_is_equally_likely_at_a_drawn_size(scene):
    data = SceneDataset([scene()], ISPRS)
    counts = np.zeros((60, 45), int)
    for window in RandomWindowSampler(data, 8, length=20_000, scale=0.5).windows(0):
        inner = window.window
        counts[max(inner.row, 0) : inner.row + 8, max(inner.col, 0) : inner.col + 8] += 1
    expected = 20_000 * 64 / (67 * 52)
    assert abs(counts - expected).max() < 6 * expected**0.5


def test_moved_windows_stay_inside_and_small_scenes_are_padded(scene):
    data = SceneDataset([scene()], ISPRS)
    for window in RandomWindowSampler(
        data, 30, length=200, scale=(0.35, 3), border='shift'
    ).windows(0):
        for axis, length in enumerate((120, 90)):
            low, high = span_of(window, axis)
            assert low >= 0
            assert high <= length + step_of(window)[axis] / 2
    with pytest.raises(
        WindowError, match=r'60x45 at scale=0\.5, smaller than a window of 50.*0\.556.*pad'
    ):
        RandomWindowSampler(data, 50, length=2, scale=(0.5, 2))
    with pytest.raises(WindowError, match=r'at gsd_m=2, smaller than .*gsd_m up to 0\.9'):
        RandomWindowSampler(data, 50, length=2, gsd_m=(0.5, 2))
    window = RandomWindowSampler(data, 50, length=1, scale=0.5, border='shift', pad=True).windows(
        0
    )[0]
    sample = data[window]
    assert (sample['mask'][:, 45:] == 255).all()
    assert (sample['mask'][:, :45] != 255).all()


def test_scenes_of_several_sizes_are_chosen_by_their_ground(scene):
    fine = Affine(0.25, 0, 400_000, 0, -0.25, 5_800_000)
    data = SceneDataset([scene(), scene('f.tif', transform=fine)], ISPRS)
    windows = RandomWindowSampler(data, 4, length=4000, gsd_m=(0.25, 1.0)).windows(0)
    share = sum(w.scene == 0 for w in windows) / 4000
    assert share == pytest.approx(0.8, abs=0.05)  # four times the ground


def test_draws_repeat_and_are_dealt_out_to_shards(scene):
    data = SceneDataset([scene()], ISPRS)
    options = {'length': 24, 'seed': 5, 'gsd_m': (0.3, 1.0)}
    whole = RandomWindowSampler(data, 16, **options)
    first, second = list(whole), list(whole)
    assert first != second
    shards = [RandomWindowSampler(data, 16, shard=i, num_shards=3, **options) for i in range(3)]
    assert [w for trio in zip(*(s.windows(0) for s in shards), strict=True) for w in trio] == first
    again = RandomWindowSampler(data, 16, **options)
    again.load_state_dict({'epoch': 0, 'done': 11})
    assert [*again, *again] == [*first[11:], *second]


def test_rare_classes_show_in_windows_of_every_size(scene):
    ids = np.zeros((1, 120, 90), np.uint8)
    ids[0, 40:52, 30:42] = 3
    data = SceneDataset([scene('r.tif', ids=ids)], ISPRS)
    sampler = RareClassSampler(data, 16, length=200, scale=(0.6, 4), temperature=0.01, seed=1)
    windows = sampler.windows(0)
    assert max(step_of(w)[0] for w in windows) > 1.4
    assert min(step_of(w)[0] for w in windows) < 0.28
    assert np.mean([bool((data[w]['mask'] == 3).any()) for w in windows]) > 0.97


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'gsd_m': (0.3, 2), 'scale': (0.5, 3)}, 'expected exactly one; use gsd_m'),
        ({'gsd_m': (2, 0.3)}, r'gsd_m is \(2, 0.3\): expected the smallest and the largest'),
        ({'scale': (0, 3)}, 'both above 0'),
        (
            {'scale': (1, 51)},
            r'draws pixels of 0\.02 times .*: expected at least 1/50.*: lower 51 to 50',
        ),
        ({'gsd_m': (0.001, 0.3)}, r'draws pixels of 0\.00\d* times those of'),
    ],
)
def test_ranges_without_a_meaning_are_refused(scene, arguments, message):
    with pytest.raises(ConfigError, match=message):
        RandomWindowSampler(SceneDataset([scene()], ISPRS), 8, length=1, **arguments)


def test_what_cannot_be_drawn_says_what_to_do(scene):
    nowhere = SceneDataset([scene('a.png', crs=None, driver='PNG')], ISPRS)
    with pytest.raises(ConfigError, match=r'a\.png: the size of its pixels.*scale=.*native_gsd_m'):
        ShiftDataModule(nowhere, size_px=16, gsd_m=(0.3, 2.0))
    resampled = SceneDataset([scene()], ISPRS, gsd_m=1.0)
    with pytest.raises(ConfigError, match=r'opened with gsd_m=1\.0.*without gsd_m'):
        ShiftDataModule(resampled, size_px=16, scale=(0.5, 3.0))
    with pytest.raises(ConfigError, match='cannot be scaled again'):
        resampled[ScaledWindow(Window(0, 0, 0, 4, 4), 2.0, 2.0)]


def test_a_part_is_read_by_the_centres_of_larger_pixels(scene):
    whole = scene()
    part = dataclasses.replace(whole, part=Part(31, 20, 60, 50))
    data, everything = SceneDataset([part], ISPRS), SceneDataset([whole], ISPRS)
    seen = scaled_scene(part, 4.0, 4.0)
    assert (seen.part.row, seen.height) == (8, 15)  # centres at 34, 38 … 90
    sample = data[ScaledWindow(Window(0, -1, 0, 8, 8), 4.0, 4.0)]
    wanted = everything[ScaledWindow(Window(0, 7, 5, 8, 8), 4.0, 4.0)]
    assert (sample['mask'][0] == 255).all()
    assert torch.equal(sample['mask'][1:], wanted['mask'][1:])
    assert torch.equal(sample['image'][:, 1:], wanted['image'][:, 1:])
    assert torch.equal(sample['transform'], wanted['transform'])


def test_a_part_on_a_grid_on_the_ground_is_the_same_ground(scene):
    part = dataclasses.replace(scene(), part=Part(40, 0, 80, 90))
    seen = resampled_scene(part, 1.0)
    ours, theirs = seen.bounds_xy, part.bounds_xy
    assert np.abs(np.subtract(ours, theirs)).max() <= 1
    assert (seen.height, seen.width) == (40, 45)


def test_batches_are_the_same_with_workers_and_after_a_break(scene, tmp_path):
    scene()
    data = FolderDataset(tmp_path / 'i', tmp_path / 'm', labels=ISPRS)

    def batches(**options):
        module = ShiftDataModule(
            data, size_px=16, windows_per_epoch=8, batch_size=2, gsd_m=(0.3, 1.2), **options
        )
        module.load_state_dict({'batches': 0})
        return module

    first = list(batches().train_dataloader())
    worked = list(batches(num_workers=2).train_dataloader())
    module = batches()
    module.load_state_dict({'batches': 2})
    resumed = [*module.train_dataloader()][:2]
    assert len({batch['transform'][0, 0].item() for batch in first}) > 2
    for one, two in zip(first, worked, strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one)
    for one, two in zip(first[2:], resumed, strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one)
