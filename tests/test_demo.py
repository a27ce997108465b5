import csv

import pytest
import rasterio

from crossearth.demo import run_demo
from crossearth.errors import ConfigError
from crossearth.synthetic import EARTH_DOMAINS


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    lines = []
    result = run_demo(tmp_path_factory.mktemp('demo'), quick=True, seed=1, say=lines.append)
    return result, '\n'.join(lines)


def test_the_table_has_both_methods_and_every_domain_and_says_synthetic(demo):
    result, report = demo
    with result.table.open() as file:
        head, *rows = csv.reader(file)
    assert head == ['data', 'method', *EARTH_DOMAINS, 'mean of unseen']
    assert [row[:2] for row in rows] == [['synthetic', 'baseline'], ['synthetic', 'ours']]
    assert 'SYNTHETIC' in report
    for row in rows:
        scores = [float(cell) for cell in row[2:]]
        assert all(0 < score < 100 for score in scores)
        assert scores[-1] == pytest.approx(sum(scores[1:-1]) / 5, abs=0.1)
        assert row[2] in report


def test_the_map_lies_exactly_on_its_scene(demo):
    result, _ = demo
    (scene,) = (result.output / 'region_climate' / 'map' / 'images').iterdir()
    with rasterio.open(scene) as source, rasterio.open(result.map) as made:
        assert made.crs == source.crs
        assert made.transform == source.transform
        assert made.shape == source.shape
        assert set(range(6)) >= set(made.read(1).ravel().tolist())


def test_the_picture_is_a_picture_and_nothing_is_left_half_written(demo):
    result, report = demo
    assert result.picture.read_bytes().startswith(b'\x89PNG')
    assert str(result.output) in report
    assert not list(result.output.rglob('.*'))


@pytest.mark.slow
def test_a_seed_repeats_its_numbers(demo, tmp_path):
    result, _ = demo
    again = run_demo(tmp_path, quick=True, seed=1)
    assert again.scores == result.scores
    assert again.map.read_bytes() == result.map.read_bytes()
    other = run_demo(tmp_path, quick=True, seed=2)
    assert other.scores != result.scores


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='choose a folder'):
        run_demo(tmp_path / 'file', quick=True)
