import contextlib
import csv
import io
import signal

import numpy as np
import pytest
import rasterio

from crossearth import demo as module
from crossearth.demo import run_demo
from crossearth.errors import ConfigError
from crossearth.labels import ISPRS
from crossearth.models import load_model
from crossearth.synthetic import EARTH_DOMAINS
from crossearth.trainers import SourceOnly


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    lines, in_a_file = [], io.StringIO()
    with contextlib.redirect_stderr(in_a_file):
        result = run_demo(tmp_path_factory.mktemp('demo'), quick=True, seed=1, say=lines.append)
    return result, '\n'.join(lines), in_a_file.getvalue()


@pytest.mark.slow
def test_the_table_has_all_methods_and_domains_and_differences_and_says_synthetic(demo):
    result, report, _ = demo
    with result.table.open() as file:
        head, *rows = csv.reader(file)
    assert head == ['data', 'method', *EARTH_DOMAINS, 'mean of unseen']
    assert {row[0] for row in rows} == {'synthetic'}
    assert 'SYNTHETIC' in report
    values = {row[1]: [float(cell) for cell in row[2:]] for row in rows}
    methods = ['baseline', 'baseline, right GSD', 'ours']
    against = {'ours - baseline': 'baseline', 'ours - baseline, right GSD': 'baseline, right GSD'}
    assert list(values) == [*methods, 'baseline, right GSD - baseline', *against]
    for method in methods:
        assert all(0 < score < 100 for score in values[method])
        assert values[method][-1] == pytest.approx(sum(values[method][1:-1]) / 6, abs=0.1)
        assert f'{values[method][0]:.1f}' in report
    for row, method in against.items():
        for column, plain in enumerate(values[method]):
            difference = values['ours'][column] - plain
            assert values[row][column] == pytest.approx(difference, abs=0.11)


@pytest.mark.slow
def test_only_a_domain_of_other_pixels_is_seen_otherwise_at_the_right_gsd(demo):
    result, _, _ = demo
    plain, right = (result.scores[name] for name in ('baseline', 'baseline, right GSD'))
    assert {name for name in EARTH_DOMAINS if plain[name] != right[name]} == {
        'region_platform',
        'region_drone',
    }


@pytest.mark.slow
def test_scores_are_of_maps_on_the_pixels_of_each_scene(demo):
    result, _, _ = demo
    counts = np.zeros((6, 6), int)
    for mask in (result.output / 'region_platform' / 'test' / 'masks').iterdir():
        with (
            rasterio.open(mask) as truth,
            rasterio.open(result.output / 'maps' / f'{mask.stem}_ours.tif') as made,
        ):
            assert made.transform == truth.transform
            assert made.transform.a == 1.0
            np.add.at(counts, (truth.read(1), made.read(1)), 1)
    hits, union = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    expected = (hits / union)[union > 0].mean()
    assert result.scores['ours']['region_platform'] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_the_models_know_what_they_were_trained_at(demo):
    result, _, _ = demo
    for name in ('baseline', 'ours'):
        imagery = load_model(result.output / f'{name}.safetensors').imagery
        assert imagery.gsd_m == pytest.approx(0.25, rel=0.01)
        assert imagery.labels.classes == ISPRS.classes


@pytest.mark.slow
def test_progress_in_a_file_is_a_few_lines(demo):
    _, report, progress = demo
    assert progress == ''
    assert len(report.splitlines()) < 40
    for stage in ('Drawing', 'Training baseline', 'Training ours', 'Mapping the test scenes'):
        assert report.count(stage) == 1


@pytest.mark.slow
def test_the_map_lies_exactly_on_its_scene(demo):
    result, _, _ = demo
    (scene,) = (result.output / 'region_climate' / 'map' / 'images').iterdir()
    with rasterio.open(scene) as source, rasterio.open(result.map) as made:
        assert made.crs == source.crs
        assert made.transform == source.transform
        assert made.shape == source.shape
        assert set(range(6)) >= set(made.read(1).ravel().tolist())


@pytest.mark.slow
def test_the_picture_is_a_picture_and_nothing_is_left_half_written(demo):
    result, report, _ = demo
    assert result.picture.read_bytes().startswith(b'\x89PNG')
    assert str(result.output) in report
    assert not list(result.output.rglob('.*'))


@pytest.mark.slow
@pytest.mark.slow
def test_a_seed_repeats_its_numbers(demo, tmp_path):
    result, _, _ = demo
    again = run_demo(tmp_path, quick=True, seed=1)
    assert again.scores == result.scores
    assert again.map.read_bytes() == result.map.read_bytes()
    other = run_demo(tmp_path, quick=True, seed=2)
    assert other.scores != result.scores


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='choose a folder'):
        run_demo(tmp_path / 'file', quick=True)


def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / 'source').mkdir()
    (tmp_path / 'source' / 'thesis.txt').write_text('mine')
    with pytest.raises(ConfigError, match='not from a demo'):
        run_demo(tmp_path, quick=True)
    assert [path.name for path in tmp_path.rglob('*')] == ['source', 'thesis.txt']


@pytest.mark.slow  # two training runs
@pytest.mark.filterwarnings('ignore:.*no pixel of')  # so small a place has no cars
def test_ctrl_c_reaches_the_caller_and_the_next_run_replaces_what_it_left(tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_QUICK', module._Size(1, 128, 1, 64, 2, 1, (64, 64)))
    stale = [tmp_path / 'scores.csv', tmp_path / 'region' / 'test' / 'images' / 'region_999.tif']
    (tmp_path / 'crossearth-demo.txt').touch()
    stale[1].parent.mkdir(parents=True)
    for path in stale:
        path.write_text('of an earlier demo')

    def breaks(*_):
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(SourceOnly, 'losses', breaks)
        run_demo(tmp_path, quick=True)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not any(path.exists() for path in stale)
    assert not list(tmp_path.rglob('.*'))

    assert run_demo(tmp_path, quick=True).table.exists()
