import csv
import re

import pytest

from crossearth.assessment import SampleSize, assess_map, draw_sample, format_assessment
from crossearth.assessment.report import write_report
from crossearth.errors import ConfigError
from tests.assessment.conftest import mapped_classes, write_labels


@pytest.fixture
def assessment(three_classes, tmp_path):
    design = draw_sample(three_classes, tmp_path / 'sample', size=SampleSize(n=300))
    labels = write_labels(tmp_path / 'labels.csv', design, leave_out=10)
    return assess_map(tmp_path / 'sample', labelled=labels, allow_unlabelled=True)


def rows_of(path):
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_tables_hold_every_estimate(assessment, tmp_path):
    write_report(assessment, tmp_path / 'made' / 'report')
    rows = rows_of(tmp_path / 'made' / 'report' / 'accuracy.csv')
    assert len(rows) == 2 + 3 * 6
    found = {(row['quantity'], row['class']): row for row in rows}
    wood = found['area', 'wood']
    area = assessment.accuracy.classes[1].area
    assert [float(wood[name]) for name in ('estimate', 'standard_error', 'low_95', 'high_95')] == (
        pytest.approx([area.value, area.standard_error, *area.interval], rel=1e-5)
    )
    matrix = rows_of(tmp_path / 'made' / 'report' / 'error_matrix.csv')
    assert sum(int(row['points']) for row in matrix) == 290
    assert sum(float(row['area_share']) for row in matrix) == pytest.approx(1, abs=1e-5)


def test_a_file_is_not_taken_for_the_folder_of_a_report(assessment, tmp_path):
    (tmp_path / 'report').write_text('mine')
    with pytest.raises(ConfigError, match=r'report cannot be created as a folder \(File exists\)'):
        write_report(assessment, tmp_path / 'report')


def test_the_page_stands_alone_and_says_what_was_left_out(assessment, tmp_path):
    page = write_report(assessment, tmp_path / 'report').read_text()
    assert not re.search(r'(src|href)=|url\(|@import', page)
    assert 'width=device-width' in page
    assert '10 of 300 points have no label' in page
    overall = 100 * assessment.accuracy.overall.value
    assert f'<b>{overall:.1f}&nbsp;%</b>' in page
    for name in assessment.classes:
        assert f'<td>{name}</td>' in page


def test_names_from_files_are_text_on_the_page(write_raster, tmp_path):
    import rasterio

    path = write_raster('a<b>.tif', mapped_classes()[None], nodata=255)
    with rasterio.open(path, 'r+') as file:
        file.update_tags(CLASS_0='<script>x</script>', CLASS_1='wood', CLASS_2='water')
    design = draw_sample(path, tmp_path / 'sample', size=SampleSize(n=150))
    with (tmp_path / 'l.csv').open('w') as file:
        file.write('id,label\n' + ''.join(f'{u.id},{u.class_id}\n' for u in design.units))
    found = assess_map(tmp_path / 'sample', labelled=tmp_path / 'l.csv')
    page = write_report(found, tmp_path / 'report').read_text()
    assert '<script>' not in page
    assert '&lt;script&gt;' in page


def test_text_for_a_terminal_has_a_line_for_each_class(assessment):
    lines = format_assessment(assessment).splitlines()
    assert lines[0].startswith('290 labelled points')
    assert re.fullmatch(r'overall accuracy  \d+\.\d % \(\d+\.\d–\d+\.\d\)', lines[1])
    assert lines[4].startswith('class  mapped m²  area m²')
    assert [line.split()[0] for line in lines[5:8]] == ['field', 'wood', 'water']
    assert lines[8].startswith('note: 10 of 300 points have no label')
