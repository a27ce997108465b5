from pathlib import Path

import numpy as np
import pytest

from crossearth.assessment.sample_folder import read_design
from crossearth.cli import main


@pytest.fixture
def halves(write_raster):
    classes = np.zeros((1, 60, 60), np.uint8)
    classes[0, :, 30:] = 1
    return write_raster('map.tif', classes)


def test_from_a_map_to_a_report(halves, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ['assess', 'sample', str(halves), '-o', 'sample', '--labels', 'road', '--n', '120']
    assert main([*words, '--scene', str(halves), '--chip-px', '32', '--seed', '4']) == 0
    told = capsys.readouterr().out
    assert 'road                  1,800        0.0005   50.00%      60' in told
    assert 'all                   3,600        0.0009  100.00%     120' in told
    assert 'then: crossearth assess report sample -o report' in told

    design = read_design(Path('sample'))
    assert (design.seed, len(list(Path('sample/chips').glob('*.png')))) == (4, 120)
    names = ('background', 'road')
    lines = [f'{unit.id},{names[unit.col >= 27]}' for unit in design.units]
    Path('labels.csv').write_text('\n'.join(['id,label', *lines]))
    assert main(['assess', 'report', 'sample', '--labelled', 'labels.csv', '-o', 'report']) == 0
    assert 'overall accuracy  ' in (told := capsys.readouterr().out)
    assert told.endswith('report/report.html\n')
    assert Path('report/accuracy.csv').is_file()
    words = ['assess', 'report', 'sample', '--labelled', 'labels.csv', '-o', 'again']
    assert main([*words, '--map', str(halves)]) == 0


def test_a_number_that_is_too_small_for_the_strata_is_raised_and_said(halves, tmp_path, capsys):
    assert main(['assess', 'sample', str(halves), '-o', str(tmp_path / 'sample'), '--n', '9']) == 0
    assert '--n 9 was raised to 100, so that no stratum has too few' in capsys.readouterr().out


def test_points_without_labels_are_an_error_of_one_line(halves, tmp_path, capsys):
    folder = tmp_path / 'sample'
    assert main(['assess', 'sample', str(halves), '-o', str(folder), '--n', '100']) == 0
    assert main(['assess', 'report', str(folder), '-o', str(tmp_path / 'report')]) == 2
    error = capsys.readouterr().err
    assert '100 points (1, 2, 3, 4, 5, 6, 7, 8, …) have no label' in error
    assert error.count('\n') == 1
    assert not (tmp_path / 'report').exists()


def test_expected_accuracies_are_parts_of_one(halves, tmp_path, capsys):
    words = ['assess', 'sample', str(halves), '-o', str(tmp_path / 'sample'), '--labels', 'road']
    assert main([*words, '--expected-accuracy', 'road=much']) == 2
    assert '--expected-accuracy road=much: expected a number from 0 to 1' in capsys.readouterr().err
    words += ['--standard-error', '0.06', '--expected-accuracy', '0.9', 'road=0.5']
    assert main([*words, '--least', '2']) == 0
    # (0.5 × 0.3 + 0.5 × 0.5) / 0.06, squared
    assert len(read_design(tmp_path / 'sample').units) == 45


def test_a_number_leaves_nothing_to_expectations(halves, tmp_path, capsys):
    words = ['assess', 'sample', str(halves), '-o', str(tmp_path / 'sample'), '--n', '90']
    assert main([*words, '--expected-accuracy', '0.9']) == 2
    assert 'leave out one of them' in capsys.readouterr().err


def test_edges_need_a_confidence(halves, tmp_path, capsys):
    words = ['assess', 'sample', str(halves), '-o', str(tmp_path / 'sample')]
    assert main([*words, '--edges', '0.5']) == 2
    assert 'pass --confidence with it' in capsys.readouterr().err
