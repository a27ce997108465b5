from dataclasses import replace

import numpy as np
import pytest

from crossearth.benchmark import Files
from crossearth.errors import ConfigError, LabelError
from crossearth.reports import (
    DomainPictures,
    Missing,
    domain_pictures,
    find_pictures,
    published_images,
    report_data,
)
from crossearth.reports import examples as examples_module
from tests.reports import made_up


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    root = tmp_path_factory.mktemp('archives')
    made_up.drawn_vaihingen(root)
    return root


@pytest.fixture
def dataset(archives):
    return made_up.Vaihingen(archives / 'vaihingen', split='test')


RESULTS = [made_up.made_up('P(i)2V', method, 0) for method in made_up.METHODS]


def folders(root):
    return {r.method: root / 'P(i)2V' / f'{r.method}-{r.fingerprint}' / 'seed0' for r in RESULTS}


def test_windows_are_ranked_by_the_score_of_the_first_method(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(examples_module, '_WINDOW_PX', 16)
    made_up.save_maps(dataset, tmp_path / 'ours', wrong_px=16)
    made_up.save_maps(dataset, tmp_path / 'other', wrong_px=48)
    found = domain_pictures('V', dataset, {'ours': tmp_path / 'ours', 'other': tmp_path / 'other'})
    assert isinstance(found, DomainPictures)
    assert [example.rank for example in found.examples] == ['best', 'median', 'worst']
    best, median, worst = found.examples
    assert best.iou['ours'] == median.iou['ours'] == 100
    assert worst.iou['ours'] < 100
    assert 'columns 0–15' in worst.place
    truth, predicted = worst.window.truth, worst.window.maps['ours']
    assert (predicted == 0).all()
    assert (truth != 0).any()
    assert found.looked_at == 16 * len(dataset)
    assert found.scene.image.shape == (64, 64, 3)
    assert set(found.scene.maps) == {'ours', 'other'}


def test_a_tiny_domain_shows_one_window_once(dataset, tmp_path):
    made_up.save_maps(dataset, tmp_path, wrong_px=0)
    found = domain_pictures('V', dataset, {'ours': tmp_path})
    assert len(found.examples) == len(dataset)


def test_large_archives_are_sampled(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(examples_module, '_WINDOW_PX', 4)
    made_up.save_maps(dataset, tmp_path, wrong_px=8)
    assert domain_pictures('V', dataset, {'ours': tmp_path}).looked_at <= 64


def test_a_large_scene_is_made_smaller_for_the_page(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(examples_module, '_SHOWN_PX', 32)
    made_up.save_maps(dataset, tmp_path, wrong_px=0)
    scene = domain_pictures('V', dataset, {'ours': tmp_path}).scene
    assert scene.image.shape == (32, 32, 3)
    assert scene.truth.shape == scene.maps['ours'].shape == (32, 32)
    assert np.array_equal(scene.truth, scene.maps['ours'])


def test_maps_of_other_sizes_are_refused(dataset, tmp_path, archives):
    small = made_up.drawn_vaihingen(tmp_path / 'other', size_px=32)
    made_up.save_maps(small, tmp_path / 'maps', wrong_px=0)
    with pytest.raises(LabelError, match=r'is 32 x 32 px, but its scene .* 64 x 64'):
        domain_pictures('V', dataset, {'ours': tmp_path / 'maps'})


def test_pictures_are_found_among_archives_and_predictions(dataset, archives, tmp_path):
    for folder in list(folders(tmp_path).values())[:2]:
        made_up.save_maps(dataset, folder, wrong_px=8)
    data = report_data(RESULTS)
    (found,) = find_pictures(
        RESULTS, data, predictions=tmp_path, open_images=published_images(Files(data=archives))
    )
    assert isinstance(found, DomainPictures)
    last = data.scores.sort_values('mean', ascending=False)
    assert found.lead == next(name for name in last.method if name != 'frozen_dinov2')
    assert found.lacking == ('frozen_dinov2',)


@pytest.mark.parametrize(
    ('maps', 'files', 'reason', 'command'),
    [
        (False, None, 'no label maps of it', '--save-predictions'),
        (True, None, 'not its images', '--root ARCHIVES'),
        (True, 'elsewhere', 'elsewhere', ''),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(dataset, tmp_path, maps, files, reason, command):
    if maps:
        made_up.save_maps(dataset, folders(tmp_path)['rein'], wrong_px=0)
    (found,) = find_pictures(
        RESULTS,
        report_data(RESULTS),
        predictions=tmp_path,
        open_images=published_images(None if files is None else Files(data=tmp_path / files)),
    )
    assert isinstance(found, Missing)
    assert reason in found.reason
    assert command in found.command
    assert found.remedy


def test_images_that_cannot_be_opened_leave_out_pictures_and_not_the_report(dataset, tmp_path):
    made_up.save_maps(dataset, folders(tmp_path)['rein'], wrong_px=0)

    def open_images(domain):
        raise ConfigError(f"{domain}: cannot be opened (No module named 'mine')")

    (found,) = find_pictures(
        RESULTS, report_data(RESULTS), predictions=tmp_path, open_images=open_images
    )
    assert isinstance(found, Missing)
    assert "No module named 'mine'" in found.reason
    assert 'run the command there' in found.remedy


def test_maps_of_another_copy_show_nothing(dataset, tmp_path):
    (tmp_path / 'empty').mkdir()
    found = domain_pictures('V', dataset, {'ours': tmp_path / 'empty'})
    assert isinstance(found, Missing)
    assert 'has label maps of ours' in found.reason


def test_maps_of_a_model_that_was_there_have_no_seed(dataset, archives, tmp_path):
    result = replace(RESULTS[0], recipe={})
    made_up.save_maps(dataset, tmp_path / 'P(i)2V' / f'crossearth-{result.fingerprint}', wrong_px=0)
    (found,) = find_pictures(
        [result],
        report_data([result]),
        predictions=tmp_path,
        open_images=published_images(Files(data=archives)),
    )
    assert isinstance(found, DomainPictures)
