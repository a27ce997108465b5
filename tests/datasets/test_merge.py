from collections import Counter

import numpy as np
import pytest

from crossearth.datasets import (
    Potsdam,
    RandomWindowSampler,
    SceneDataset,
    Vaihingen,
    merge_domains,
    read_scene,
)
from crossearth.errors import ConfigError, LabelError
from crossearth.geometry import Window
from crossearth.labels import BUILDING, ROAD, IdCodec, ThresholdCodec
from tests.datasets import archive_trees as trees


@pytest.fixture
def sources(write_raster):
    """A small domain that codes roads as 255, and a large one that codes them as 2."""
    near = read_scene(
        write_raster('n.tif', np.ones((3, 40, 40), np.uint8)),
        write_raster('nm.tif', np.full((1, 40, 40), 255, np.uint8)),
    )
    far = read_scene(
        write_raster('f.tif', np.ones((3, 120, 120), np.uint8)),
        write_raster('fm.tif', np.full((1, 120, 120), 2, np.uint8)),
    )
    return {
        'near': SceneDataset([near], ROAD, codec=ThresholdCodec()),
        'far': SceneDataset([far], ROAD, codec=IdCodec({1: 0, 2: 1})),
    }


def test_each_scene_keeps_its_encoding_and_gets_its_domain(sources):
    merged = merge_domains(sources)
    assert merged.domains == ('near', 'far')
    for i in (0, 1):
        sample = merged[Window(i, 0, 0, 8, 8)]
        assert (sample['mask'] == 1).all()
        assert sample['domain'] == i


@pytest.mark.parametrize(
    ('weights', 'share'),
    [(None, 0.103), ({'near': 1, 'far': 1}, 0.5), ({'near': 3, 'far': 1}, 0.75)],
)
def test_windows_come_from_the_domains_by_their_weights(sources, weights, share):
    merged = merge_domains(sources, weights=weights)
    windows = RandomWindowSampler(merged, 16, length=20_000, border='shift').windows(0)
    drawn = Counter(window.scene for window in windows)
    expected = share if weights else 55**2 / (55**2 + 135**2)
    assert drawn[0] / 20_000 == pytest.approx(expected, abs=0.015)


def test_a_weight_of_zero_leaves_a_domain_out(sources):
    merged = merge_domains(sources, weights={'near': 1, 'far': 0})
    assert {w.scene for w in RandomWindowSampler(merged, 8, length=500).windows(0)} == {0}


def test_domains_that_do_not_fit_are_named(sources, write_raster):
    scene = read_scene(write_raster('o.tif', np.ones((3, 40, 40), np.uint8)))
    with pytest.raises(LabelError, match=r"o: classes are \('background', 'building'\)"):
        merge_domains({**sources, 'o': SceneDataset([scene], BUILDING)})
    with pytest.raises(ConfigError, match="o: dtype='float32', but near has 'native'"):
        merge_domains({**sources, 'o': SceneDataset([scene], ROAD, dtype='float32')})
    with pytest.raises(ConfigError, match='expected a number from 0 up for each of'):
        merge_domains(sources, weights={'near': 1})
    with pytest.raises(ConfigError, match='all 0'):
        merge_domains(sources, weights={'near': 0, 'far': 0})
    with pytest.raises(ConfigError, match='nothing to merge'):
        merge_domains({})


def test_merged_archives_still_know_what_they_lack(tmp_path):
    trees.vaihingen(tmp_path / 'v', [1, 3])
    trees.potsdam(tmp_path / 'p', ['2_10'], kinds=('IRRG',))
    merged = merge_domains(
        {
            'vaihingen': Vaihingen(tmp_path / 'v', split='train'),
            'potsdam': Potsdam(tmp_path / 'p', bands='irrg', split='train'),
        }
    )
    assert str(merged.coverage) == '3 of 40'  # 16 areas and 24 tiles
    assert not merged.coverage.complete
    assert '2_11' in merged.coverage.missing
    again = merge_domains({'all': merged})
    assert str(again.coverage) == '3 of 40'
