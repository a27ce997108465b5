from collections import Counter

import numpy as np
import pytest
from scipy import stats

from crossearth.datasets import (
    GridWindowSampler,
    RandomWindowSampler,
    SceneDataset,
    read_scene,
)
from crossearth.errors import ConfigError, WindowError
from crossearth.labels import ISPRS


@pytest.fixture
def dataset(write_raster):
    def build(*sizes):
        scenes = [
            read_scene(write_raster(f'{i}.tif', np.zeros((1, *size), np.uint8)))
            for i, size in enumerate(sizes)
        ]
        return SceneDataset(scenes, ISPRS)

    return build


def coverage(windows, scene, height, width):
    """How often each pixel of a scene is drawn."""
    counts = np.zeros((height, width), int)
    for window in windows:
        if window.scene == scene:
            bottom, right = window.stop
            counts[max(window.row, 0) : bottom, max(window.col, 0) : right] += 1
    return counts


def test_padded_draws_reach_border_pixels_as_often_as_the_middle(dataset):
    sampler = RandomWindowSampler(dataset((24, 30)), 8, length=60_000)
    counts = coverage(sampler.windows(0), 0, 24, 30)
    expected = 60_000 * 64 / (31 * 37)
    assert counts.mean() == pytest.approx(expected, rel=0.01)
    corners = counts[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert abs(corners - expected).max() < 5 * expected**0.5
    assert abs(counts - expected).max() < 6 * expected**0.5


def test_padded_draws_are_uniform_over_places(dataset):
    sampler = RandomWindowSampler(dataset((10, 12)), 4, length=40_000)
    places = Counter((w.row, w.col) for w in sampler.windows(0))
    assert set(places) == {(r, c) for r in range(-3, 10) for c in range(-3, 12)}
    assert stats.chisquare(list(places.values())).pvalue > 1e-4


def test_padded_draws_reach_every_scene_by_its_area(dataset):
    data = dataset((40, 40), (16, 16))
    windows = RandomWindowSampler(data, 8, length=60_000).windows(0)
    large, small = coverage(windows, 0, 40, 40), coverage(windows, 1, 16, 16)
    assert large.mean() == pytest.approx(small.mean(), rel=0.03)


def test_shifted_draws_stay_inside_and_favour_no_middle(dataset):
    sampler = RandomWindowSampler(dataset((40, 40)), 8, length=60_000, border='shift')
    windows = sampler.windows(0)
    assert all(window.inside(40, 40) for window in windows)
    counts = coverage(windows, 0, 40, 40)
    middle = counts[16:24, 16:24].mean()
    assert counts[0, 20] == pytest.approx(middle, rel=0.1)
    assert counts[0, 0] == pytest.approx(middle, rel=0.1)
    assert counts.min() > 0.85 * middle
    assert counts.max() < 4.4 * middle


def test_a_scene_of_one_window_is_drawn_whole(dataset):
    windows = RandomWindowSampler(dataset((8, 8)), 8, length=10).windows(0)
    assert {(w.row, w.col, w.height, w.width) for w in windows} == {(0, 0, 8, 8)}


def test_draws_follow_from_seed_and_epoch(dataset):
    data = dataset((40, 40))
    sampler = RandomWindowSampler(data, 8, length=20, seed=3)
    again = RandomWindowSampler(data, 8, length=20, seed=3)
    first, second = list(sampler), list(sampler)
    assert [list(again), list(again)] == [first, second]
    assert first != second
    assert list(RandomWindowSampler(data, 8, length=20, seed=4)) != first


def test_a_restored_sampler_continues_with_the_next_window(dataset):
    data = dataset((40, 40))
    whole = RandomWindowSampler(data, 8, length=20)
    expected = list(whole) + list(whole)
    sampler = RandomWindowSampler(data, 8, length=20)
    walk = iter(sampler)
    seen = [next(walk) for _ in range(7)]
    other = RandomWindowSampler(data, 8, length=20)
    other.load_state_dict(sampler.state_dict())
    assert seen + list(other) + list(other) == expected


def test_shards_share_an_epoch_without_repetition(dataset):
    data = dataset((40, 40))
    whole = RandomWindowSampler(data, 8, length=20).windows(0)
    shards = [
        RandomWindowSampler(data, 8, length=20, shard=i, num_shards=4).windows(0) for i in range(4)
    ]
    assert sorted(window for shard in shards for window in shard) == sorted(whole)
    assert {len(shard) for shard in shards} == {5}


@pytest.mark.parametrize('num_shards', [1, 2, 3])
def test_grid_shards_hold_each_window_once(dataset, num_shards):
    data = dataset((20, 27), (9, 9))
    whole = GridWindowSampler(data, 8)
    shards = [GridWindowSampler(data, 8, shard=i, num_shards=num_shards) for i in range(num_shards)]
    assert sorted(w for shard in shards for w in shard) == sorted(whole.windows)
    assert (coverage(whole.windows, 0, 20, 27) > 0).all()
    assert (coverage(whole.windows, 1, 9, 9) > 0).all()
    assert len(whole) == 3 * 4 + 2 * 2


def test_scenes_smaller_than_a_window_are_named_or_padded(dataset):
    data = dataset((40, 40), (6, 30))
    for sampler in (GridWindowSampler, lambda d, s: RandomWindowSampler(d, s, length=1)):
        with pytest.raises(WindowError, match=r'1\.tif: the scene has 6x30 .*size_px up to 6'):
            sampler(data, 8)
    padded = GridWindowSampler(data, 8, pad=True)
    assert {(w.height, w.width) for w in padded} == {(8, 8)}
    for window in RandomWindowSampler(data, 8, length=50, pad=True, border='shift').windows(0):
        assert data[window]['image'].shape == (1, 8, 8)


def test_arguments_without_meaning_are_refused(dataset):
    data = dataset((40, 40))
    with pytest.raises(ConfigError, match='multiple of num_shards'):
        RandomWindowSampler(data, 8, length=5, num_shards=2)
    with pytest.raises(ConfigError, match='shard 2 of 2'):
        GridWindowSampler(data, 8, shard=2, num_shards=2)
    with pytest.raises(ConfigError, match='at least 1 pixel'):
        GridWindowSampler(data, 0)


@pytest.mark.parametrize('border', ['pad', 'shift'])
def test_scenes_as_large_as_a_window_get_their_share_beside_larger_ones(dataset, border):
    data = dataset((8, 8), (9, 40))
    windows = RandomWindowSampler(data, 8, length=60_000, border=border).windows(0)
    small = coverage(windows, 0, 8, 8)
    assert (small == small[0, 0]).all()
    if border == 'pad':
        assert coverage(windows, 1, 9, 40).mean() == pytest.approx(small[0, 0], rel=0.05)
    else:
        assert 0.05 < small[0, 0] / 60_000 < 0.25


def test_a_loop_that_was_broken_off_starts_anew(dataset):
    sampler = RandomWindowSampler(dataset((40, 40)), 8, length=5)
    first = next(iter(sampler))
    again = list(sampler)
    assert len(again) == 5
    assert again[0] == first


def test_a_border_that_is_not_known_is_refused(dataset, unchecked):
    with pytest.raises(ConfigError, match="expected 'pad' or 'shift'"):
        RandomWindowSampler(dataset((40, 40)), 8, length=1, border='nonsense')
