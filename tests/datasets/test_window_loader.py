import numpy as np
import pytest
import torch

from crossearth.datasets import FolderDataset
from crossearth.datasets.samplers import RandomWindowSampler
from crossearth.datasets.window_loader import WindowLoader
from crossearth.labels import ISPRS


@pytest.fixture
def make(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    write_raster('images/a.tif', rng.integers(0, 255, (3, 40, 50), np.uint8))
    write_raster('masks/a.tif', rng.integers(0, 6, (1, 40, 50), np.uint8))
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)

    def build(**options):
        sampler = RandomWindowSampler(scenes, 16, length=9, seed=3)
        return WindowLoader(scenes, sampler, batch_size=2, **options)

    return build


def places(batches):
    return [batch['transform'][:, [2, 5]].tolist() for batch in batches]


def test_epochs_are_those_of_the_sampler_without_short_batches(make):
    loader = make()
    got = places([*loader, *loader])
    expected = [
        [[400_000 + 0.5 * w.col, 5_800_000 - 0.5 * w.row] for w in windows[i : i + 2]]
        for windows in (loader.windows.windows(0), loader.windows.windows(1))
        for i in (0, 2, 4, 6)
    ]
    assert got == expected


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('done', [1, 4, 6])
def test_a_state_goes_on_with_the_next_batch_whatever_was_read_ahead(make, workers, done):
    whole = make()
    expected = places([*whole, *whole, *whole, *whole])
    first = make(num_workers=workers)
    taken = []
    while len(taken) < done:
        for batch in first:
            taken.append(batch)
            if len(taken) == done:
                break
    assert places(taken) == expected[:done]
    second = make(num_workers=workers)
    second.load_state_dict(first.state_dict())
    assert places([*second, *second]) == expected[done : done + 8]


def test_reading_draws_nothing_from_the_global_generator(make):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(make())
    assert torch.equal(torch.get_rng_state(), before)
