import csv

import fiona
import pytest

from crossearth.assessment import SampleSize, draw_sample
from crossearth.assessment.labelled import read_labels
from crossearth.errors import LabelError, SceneError, SceneNotFoundError
from tests.assessment.conftest import true_classes, write_labels


@pytest.fixture
def design(three_classes, tmp_path):
    return draw_sample(three_classes, tmp_path / 'sample', size=SampleSize(n=60, least=20))


@pytest.fixture
def labels(design, tmp_path):
    return write_labels(tmp_path / 'labels.csv', design)


def spoil(path, function):
    with path.open(newline='') as file:
        rows = list(csv.reader(file))
    with path.open('w', newline='') as file:
        csv.writer(file).writerows(function(rows))
    return path


def test_labels_of_a_table_are_those_that_were_written(design, labels):
    truth = true_classes()
    expected = {unit.id: truth[unit.row, unit.col] for unit in design.units}
    assert read_labels(labels, design) == expected
    text = labels.read_text().replace(',', ';')
    labels.write_text(f'\ufeff{text}')  # as spreadsheets write it
    assert read_labels(labels, design) == expected
    labels.write_text(text.replace('wood', '1').replace('water', ' 2 '))
    assert read_labels(labels, design) == expected


def test_labels_of_a_geopackage_are_those_that_were_written(design, tmp_path):
    path = tmp_path / 'sample' / 'points.gpkg'
    with fiona.open(path, layer='points') as file:
        schema, crs, points = file.schema, file.crs, list(file)
    done = tmp_path / 'done.gpkg'
    with fiona.open(done, 'w', driver='GPKG', layer='points', schema=schema, crs=crs) as file:
        for point in points:
            values = dict(point['properties']) | {'label': 'wood'}
            file.write({'geometry': point['geometry'], 'properties': values})
    assert set(read_labels(done, design).values()) == {1}
    with pytest.raises(LabelError, match=r'60 points \(1, 2, 3, 4, 5, 6, 7, 8, …\) have no label'):
        read_labels(path, design)
    assert set(read_labels(path, design, allow_unlabelled=True).values()) == {None}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda rows: [*rows, rows[1]], r'1 points \(1\) occur twice: keep one row'),
        (lambda rows: rows[:-2], r'2 points \(59, 60\) are missing: restore them'),
        (lambda rows: [*rows, ['99', 'wood']], r'1 points \(99\) are not from this sample'),
        (lambda rows: [*rows[:-1], ['60', '']], r'1 points \(60\) have no label: label them'),
        (
            lambda rows: [*rows[:-2], ['59', 'Wood'], ['60', '7']],
            r"'Wood' of point 59; '7' of point 60 is not a class of the map: expected field,",
        ),
    ],
)
def test_labels_that_do_not_fit_the_sample_are_refused(design, labels, change, message):
    with pytest.raises(LabelError, match=message):
        read_labels(spoil(labels, change), design)


def test_files_that_hold_no_labels_are_refused(design, labels, tmp_path):
    with pytest.raises(SceneNotFoundError, match=r'none.csv does not exist'):
        read_labels(tmp_path / 'none.csv', design)
    with pytest.raises(SceneError, match="'a' is not the id of a point"):
        read_labels(spoil(labels, lambda rows: [rows[0], ['a', 'wood']]), design)
    with pytest.raises(SceneError, match="'²' is not the id of a point"):
        read_labels(spoil(labels, lambda rows: [rows[0], ['²', 'wood']]), design)
    with pytest.raises(SceneError, match='has the columns id, class: expected id and label'):
        read_labels(spoil(labels, lambda rows: [['id', 'class'], *rows[1:]]), design)
    with pytest.raises(SceneError, match='has the columns My labels: expected id and label'):
        read_labels(spoil(labels, lambda rows: [['My labels'], *rows]), design)
    labels.write_bytes('id,label\n1,für\n'.encode('latin-1'))
    with pytest.raises(SceneError, match='save it as UTF-8'):
        read_labels(labels, design)
    text = tmp_path / 'text.gpkg'
    text.write_text('no database')
    with pytest.raises(SceneError, match='no layer of points that can be read'):
        read_labels(text, design)
