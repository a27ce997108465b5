import itertools

import numpy as np
import pytest
import torch

from crossearth.datasets import (
    FolderDataset,
    RareClassSampler,
    ShiftDataModule,
    merge_domains,
)
from crossearth.datasets.rare_classes import class_probabilities
from crossearth.errors import ConfigError, LabelError
from crossearth.labels import LabelSpace

THREE = LabelSpace('three', ('ground', 'house', 'well'), ((0, 0, 0), (255, 0, 0), (0, 0, 255)))


@pytest.fixture
def dataset(write_raster, tmp_path):
    """Two scenes: ground, a block of houses in the first, few pixels of wells in the second."""

    def build(masks):
        for i, mask in enumerate(masks):
            write_raster(f'images/{i}.tif', np.ones((1, *mask.shape), np.uint8))
            write_raster(f'masks/{i}.tif', mask[None])
        return FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=THREE)

    return build


def scenes():
    first, second = np.zeros((40, 50), np.uint8), np.zeros((30, 33), np.uint8)
    first[8:24, 30:46] = 1
    first[:4] = 255
    second[25:29, 28:33] = 2
    return [first, second]


def shown(masks, window):
    rows = slice(max(window.row, 0), window.row + window.height)
    cols = slice(max(window.col, 0), window.col + window.width)
    return masks[window.scene][rows, cols]


def test_frequencies_and_probabilities_are_those_of_the_formula(dataset):
    masks = scenes()
    sampler = RareClassSampler(dataset(masks), 16, length=10, temperature=0.2)
    pixels = np.concatenate([mask.ravel() for mask in masks])
    frequencies = [(pixels == k).sum() / (pixels != 255).sum() for k in range(3)]
    assert sampler.frequencies == pytest.approx(frequencies, rel=1e-12)
    weights = [np.exp((1 - f) / 0.2) for f in frequencies]
    assert sampler.probabilities == pytest.approx([w / sum(weights) for w in weights], rel=1e-12)


def test_cells_count_what_a_loop_counts(dataset):
    masks = scenes()
    sampler = RareClassSampler(dataset(masks), 16, length=10)
    expected = {
        (i, row, col): [int((mask[row : row + 8, col : col + 8] == k).sum()) for k in range(3)]
        for i, mask in enumerate(masks)
        for row, col in itertools.product(range(0, mask.shape[0], 8), range(0, mask.shape[1], 8))
    }
    found = dict(zip(map(tuple, sampler.cells.tolist()), sampler.counts.tolist(), strict=True))
    assert found == expected


@pytest.mark.parametrize('border', ['pad', 'shift'])
def test_classes_come_as_often_as_they_should_and_show_as_much_as_they_should(dataset, border):
    masks = scenes()
    sampler = RareClassSampler(
        dataset(masks), 16, length=6000, temperature=1.0, min_fraction=0.02, border=border
    )
    windows = sampler.windows(0)
    # wells are in the second scene alone, houses in the first; ground is nearly everywhere
    wells = [(shown(masks, w) == 2).sum() for w in windows if w.scene == 1]
    least = np.ceil(0.02 * 256)
    drawn_wells = sum(count >= least for count in wells) / 6000
    assert drawn_wells >= sampler.probabilities[2] - 0.02
    assert all(w.scene == 1 for w in windows if (shown(masks, w) == 2).any())
    for w in windows:
        content = shown(masks, w)
        assert max((content == k).sum() for k in range(3)) >= least
        if border == 'shift':
            assert w.inside(*masks[w.scene].shape)
    rare = RareClassSampler(dataset(masks), 16, length=500, temperature=1e-4, border=border)
    assert all((shown(masks, w) == 2).sum() >= 3 for w in rare.windows(1))


def test_every_position_that_shows_the_cell_is_drawn(dataset):
    mask = np.zeros((64, 64), np.uint8)
    mask[32:40, 32:40] = 2
    sampler = RareClassSampler(dataset([mask]), 16, length=4000, temperature=1e-3)
    starts = {(w.row, w.col) for w in sampler.windows(0)}
    assert starts == set(itertools.product(range(24, 33), repeat=2))


def test_a_class_that_never_occurs_is_never_drawn(dataset):
    assert class_probabilities(np.array([0.5, 0.5, 0.0]), 0.01).tolist() == [0.5, 0.5, 0]
    mask = np.zeros((20, 20), np.uint8)
    sampler = RareClassSampler(dataset([mask]), 16, length=10)
    assert sampler.probabilities.tolist() == [1, 0, 0]
    assert len(sampler.windows(0)) == 10


def test_scenes_as_small_as_a_window_are_shown_whole_and_smaller_ones_padded(dataset):
    masks = [np.ones((16, 12), np.uint8)]
    for border in ('pad', 'shift'):
        sampler = RareClassSampler(dataset(masks), 16, length=20, border=border, pad=True)
        assert {(w.row, w.col) for w in sampler.windows(0)} == {(0, 0)}


def test_draws_repeat_resume_and_are_dealt_out(dataset):
    data = dataset(scenes())
    sampler = RareClassSampler(data, 16, length=12, seed=3)
    assert sampler.windows(4) == RareClassSampler(data, 16, length=12, seed=3).windows(4)
    assert sampler.windows(4) != sampler.windows(5)
    halves = [
        RareClassSampler(data, 16, length=12, seed=3, shard=s, num_shards=2).windows(4)
        for s in (0, 1)
    ]
    assert [w for pair in zip(*halves, strict=True) for w in pair] == sampler.windows(4)
    sampler.set_epoch(4)
    reading = iter(sampler)
    first = [next(reading) for _ in range(5)]
    resumed = RareClassSampler(data, 16, length=12, seed=3)
    resumed.load_state_dict(sampler.state_dict())
    assert first + list(resumed) == sampler.windows(4)


def test_the_data_module_draws_rare_classes_if_asked_to(dataset):
    data = dataset(scenes())
    options = {'size_px': 16, 'windows_per_epoch': 40, 'batch_size': 4}
    module = ShiftDataModule(data, **options, rare_class_temperature=1e-3)
    masks = torch.cat([batch['mask'] for batch in module.train_dataloader()])
    assert (masks == 2).flatten(1).any(1).all()
    plain = ShiftDataModule(data, **options)
    masks = torch.cat([batch['mask'] for batch in plain.train_dataloader()])
    assert not (masks == 2).flatten(1).any(1).all()


def test_what_cannot_be_drawn_is_refused(dataset):
    data = dataset(scenes())
    with pytest.raises(ConfigError, match='temperature=0, min_fraction'):
        RareClassSampler(data, 16, length=4, temperature=0)
    with pytest.raises(ConfigError, match=r'up to 0\.25, the size of a cell'):
        RareClassSampler(data, 16, length=4, min_fraction=0.5)
    weighted = merge_domains({'here': data}, weights={'here': 1})
    with pytest.raises(ConfigError, match='rare classes already decide'):
        RareClassSampler(weighted, 16, length=4)
    with pytest.raises(LabelError, match='every pixel of the training masks is ignored'):
        RareClassSampler(dataset([np.full((40, 40), 255, np.uint8)] * 2), 16, length=4)
