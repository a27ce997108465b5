import base64
import re
import time

import pandas as pd
import pytest

from crossearth.benchmark import load_results
from crossearth.cli import main
from crossearth.errors import ConfigError
from crossearth.reports import Missing, report_data, write_report
from tests.reports import made_up

PAIR = [
    made_up.made_up('A2S', method, seed) for method in ('crossearth', 'rein') for seed in (0, 1)
]


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp('report') / 'report'
    missing = [Missing('A2S', 'there are no maps', 'make some', 'crossearth <b>')]
    write_report(report_data(PAIR), folder, pictures=missing, title='Roofs <i>')
    return folder


def test_each_table_and_figure_is_a_file(report):
    names = {path.relative_to(report).as_posix() for path in report.rglob('*') if path.is_file()}
    assert names == {
        'index.html',
        *(
            f'tables/{name}.{ending}'
            for name in ('scores-last', 'classes-A2S-last', 'costs')
            for ending in ('csv', 'tex')
        ),
        *(
            f'figures/{name}.{ending}'
            for name in ('bars-last', 'intervals-last', 'confusion-A2S-last')
            for ending in ('pdf', 'png')
        ),
        'recipes/crossearth-0whuc0de.yaml',
        'recipes/rein-1whuc0de.yaml',
    }
    scores = pd.read_csv(report / 'tables' / 'scores-last.csv').set_index('method')
    data = report_data(PAIR).scores.set_index('method')
    assert scores.loc['rein', 'mean'] == pytest.approx(data.loc['rein', 'mean'])
    assert (report / 'figures' / 'bars-last.pdf').read_bytes().startswith(b'%PDF')


def test_the_page_holds_its_files_and_loads_nothing(report):
    page = (report / 'index.html').read_text()
    assert page.startswith('<!doctype html>')
    assert "default-src 'none'" in page
    addresses = re.findall(r'(?:src|href|srcset)="([^"]*)"', page)
    assert all(address.startswith(('data:', '#')) for address in addresses)
    (csv,) = re.findall(r'download="scores-last.csv" href="data:text/csv;base64,([^"]*)"', page)
    assert base64.b64decode(csv) == (report / 'tables' / 'scores-last.csv').read_bytes()


def test_names_from_files_are_text(report):
    page = (report / 'index.html').read_text()
    assert '<title>Roofs &lt;i&gt;</title>' in page
    assert 'crossearth &lt;b&gt;' in page
    assert 'name: &lt;b&gt;' in page  # of the recipe
    assert page.count('<script') == 1


def test_what_is_missing_is_told(report):
    page = (report / 'index.html').read_text()
    assert 'No pictures of A2S:</b> there are no maps. Make some.' in page


def test_a_report_replaces_an_earlier_one_and_nothing_else(tmp_path):
    data = report_data(PAIR[:1])
    write_report(report_data(PAIR), tmp_path)
    (tmp_path / 'notes.txt').write_text('mine')
    page = write_report(data, tmp_path)
    assert page == tmp_path / 'index.html'
    assert [path.name for path in (tmp_path / 'recipes').iterdir()] == ['crossearth-0whuc0de.yaml']
    assert (tmp_path / 'notes.txt').read_text() == 'mine'
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'figures', 'index.html', 'notes.txt', 'recipes', 'tables'
    ]  # fmt: skip


@pytest.mark.parametrize('name', ['index.html', 'figures'])
def test_folders_of_others_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text('mine')
    with pytest.raises(ConfigError, match=f'holds {name} that is not from an earlier report'):
        write_report(report_data(PAIR[:1]), tmp_path)
    assert (tmp_path / name).read_text() == 'mine'


def test_the_command_line_prints_scores_and_writes_the_report(tmp_path, capsys):
    bench = made_up.save_all(PAIR, tmp_path / 'bench')
    out = tmp_path / 'report'
    assert (
        main(['benchmark', 'report', str(bench), '-o', str(out), '--baseline', 'crossearth']) == 0
    )
    printed = capsys.readouterr().out
    assert 'Scores by domain:' in printed
    assert f'{out}/index.html: written' in printed
    assert 'There are no label maps' in (out / 'index.html').read_text().replace(
        'there are no label maps', 'There are no label maps'
    )
    assert f'--save-predictions {bench}/predictions' in (out / 'index.html').read_text()
    assert main(['benchmark', 'report', str(tmp_path / 'none')]) == 2
    assert 'holds no results' in capsys.readouterr().err


@pytest.mark.slow
def test_27_results_with_pictures_take_at_most_20_seconds(tmp_path):
    results = made_up.every_result()
    bench = made_up.save_all(results, tmp_path / 'bench')
    dataset = made_up.drawn_vaihingen(tmp_path / 'archives', size_px=512)
    for result in results:
        if result.setting == 'P(i)2V' and result.seed == 0:
            place = f'{result.method}-{result.fingerprint}'
            folder = bench / 'predictions' / result.setting / place / 'seed0'
            made_up.save_maps(dataset, folder, wrong_px=40)
    assert len(load_results(bench)) == 27
    start = time.process_time()  # of this process alone, for the machine may be busy
    words = ['benchmark', 'report', str(bench), '--root', str(tmp_path / 'archives')]
    assert main([*words, '--output', str(tmp_path / 'report')]) == 0
    assert time.process_time() - start < 20


def test_results_on_few_images_are_marked_on_the_page(tmp_path):
    few = [made_up.few(result) for result in PAIR]
    page = write_report(report_data(few), tmp_path).read_text()
    assert 'A2S, crossearth: tested on 8 of 3726 images' in page
    assert '>44.3<' not in page  # what the paper prints
