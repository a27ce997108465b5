from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import rasterio.shutil
from torch import Tensor

from crossearth.inference import Outputs, predict_scene, sieve_map
from crossearth.inference.qgis import qgis_style
from crossearth.labels import ISPRS, ROAD
from crossearth.mosaic import mosaic_maps
from tests.inference.test_predict import Write, random_ids


def test_style_for_qgis_names_and_colours_every_class(
    write_scene: Write, one_hot: Callable[[int], Callable[[Tensor], Tensor]], tmp_path: Path
) -> None:
    scene = write_scene(random_ids(9, 9))
    predict_scene(one_hot(6), scene, tmp_path / 'map.tif', labels=ISPRS)
    root = ET.fromstring((tmp_path / 'map.qml').read_text().split('\n', 1)[1])
    entries = [
        (entry.get('value'), entry.get('label'), entry.get('color'))
        for entry in root.iter('paletteEntry')
    ]
    assert entries[1] == ('1', 'building', '#0000ff')
    assert len(entries) == 6


@pytest.mark.parametrize('cog', [False, True])
def test_gdal_reads_the_attribute_table_of_a_map(
    write_scene: Write,
    one_hot: Callable[[int], Callable[[Tensor], Tensor]],
    tmp_path: Path,
    cog: bool,
) -> None:
    made = predict_scene(
        one_hot(2),
        write_scene(random_ids(9, 9) % 2),
        tmp_path / 'map.tif',
        labels=ROAD,
        outputs=Outputs(cog=cog),
    )
    # GDAL takes the table along into files of other formats, if it has understood it
    rasterio.shutil.copy(made.path, tmp_path / 'copy.png', driver='PNG')
    copied = ET.parse(tmp_path / 'copy.png.aux.xml')
    rows = [[cell.text for cell in row] for row in copied.iterfind('.//Row')]
    assert rows == [['0', 'background', '0', '0', '0', '0'], ['1', 'road', *['255'] * 4]]
    usages = [int(usage.text or '') for usage in copied.iterfind('.//FieldDefn/Usage')]
    assert usages == [5, 2, 6, 7, 8, 9]


def test_the_background_is_transparent() -> None:
    entries = ET.fromstring(qgis_style(ROAD).split('\n', 1)[1]).iter('paletteEntry')
    assert [(entry.get('label'), entry.get('alpha')) for entry in entries] == [
        ('background', '0'),
        ('road', '255'),
    ]


def test_maps_without_names_and_maps_that_want_none_have_no_style(
    write_scene: Write, one_hot: Callable[[int], Callable[[Tensor], Tensor]], tmp_path: Path
) -> None:
    scene = write_scene(random_ids(9, 9))
    predict_scene(one_hot(6), scene, tmp_path / 'a.tif')
    predict_scene(
        one_hot(6), scene, tmp_path / 'b.tif', labels=ISPRS, outputs=Outputs(qgis_style=False)
    )
    assert not list(tmp_path.glob('*.qml')) + list(tmp_path.glob('*.aux.xml'))


def test_the_style_of_a_map_goes_with_it_but_not_one_that_qgis_saved(
    write_scene: Write, one_hot: Callable[[int], Callable[[Tensor], Tensor]], tmp_path: Path
) -> None:
    scene, style = write_scene(random_ids(9, 9)), tmp_path / 'a.qml'
    predict_scene(one_hot(6), scene, tmp_path / 'a.tif', labels=ISPRS)
    assert style.exists()
    predict_scene(one_hot(6), scene, tmp_path / 'a.tif')
    assert not style.exists()
    mine = qgis_style(ISPRS).replace('version="3.0"', 'version="3.34.1-Prizren"')
    style.write_text(mine)
    for labels in (None, ISPRS):
        predict_scene(one_hot(6), scene, tmp_path / 'a.tif', labels=labels)
        assert style.read_text() == mine
    mosaic_maps([tmp_path / 'a.tif'], tmp_path / 'm.tif')
    assert (tmp_path / 'm.qml').read_text() == qgis_style(ISPRS)
    (tmp_path / 'm.qml').write_text(mine)
    mosaic_maps([tmp_path / 'a.tif'], tmp_path / 'm.tif')
    assert (tmp_path / 'm.qml').read_text() == mine
    style.write_text(qgis_style(ISPRS))
    sieve_map(tmp_path / 'a.tif', tmp_path / 'm.tif', min_pixels=2)
    assert (tmp_path / 'm.qml').read_text() == mine
