import csv
import json
import zipfile
from xml.etree import ElementTree as ET

import fiona
import numpy as np
import pytest
import rasterio
import rasterio.warp
from PIL import Image

from crossearth.assessment import SampleSize, draw_sample
from crossearth.assessment.sample_folder import read_design
from crossearth.errors import ConfigError, SceneError, SceneNotFoundError
from tests.assessment.conftest import THREE, mapped_classes

SIZE = SampleSize(n=120, least=20)


@pytest.fixture
def scene(write_raster):
    """Red where the map's row and column are both even, black elsewhere."""
    pixels = np.zeros((3, 120, 90), np.uint8)
    pixels[0, ::2, ::2] = 200
    return write_raster('scene.tif', pixels)


def test_what_was_drawn_comes_back_from_its_folder(three_classes, tmp_path):
    design = draw_sample(three_classes, tmp_path / 'sample', size=SIZE)
    assert read_design(tmp_path / 'sample') == design
    assert len(design.units) == sum(design.drawn()) == 120
    assert min(design.drawn()) == 20
    assert [unit.id for unit in design.units] == list(range(1, 121))
    mapped = mapped_classes()
    assert all(mapped[unit.row, unit.col] == unit.class_id for unit in design.units)


def test_the_seed_decides_what_is_drawn(three_classes, tmp_path):
    one, same, other = (
        draw_sample(three_classes, tmp_path / name, size=SIZE, seed=seed).units
        for name, seed in (('a', 1), ('b', 1), ('c', 2))
    )
    assert one == same != other


def test_a_negative_seed_is_refused(three_classes, tmp_path):
    with pytest.raises(ConfigError, match='seed is -1: expected a whole number from 0 upwards'):
        draw_sample(three_classes, tmp_path / 'sample', size=SIZE, seed=-1)


def test_folders_that_do_not_name_a_no_data_value_are_read(three_classes, tmp_path):
    design = draw_sample(three_classes, tmp_path / 'sample', size=SIZE)
    assert design.nodata == 255
    path = tmp_path / 'sample' / 'design.json'
    content = json.loads(path.read_text())
    del content['nodata']
    path.write_text(json.dumps(content))
    assert read_design(tmp_path / 'sample').nodata is None


def test_points_lie_in_the_middle_of_their_pixels(three_classes, tmp_path):
    design = draw_sample(three_classes, tmp_path / 'sample', size=SIZE)
    with (
        rasterio.open(three_classes) as dataset,
        fiona.open(tmp_path / 'sample' / 'points.gpkg', layer='points') as points,
        fiona.open(tmp_path / 'sample' / 'points.gpkg', layer='pixels') as pixels,
    ):
        assert points.crs.to_epsg() == 32633
        for unit, point, pixel in zip(design.units, points, pixels, strict=True):
            x, y = point['geometry']['coordinates']
            assert dataset.index(x, y) == (unit.row, unit.col)
            assert (x, y) == pytest.approx(dataset.xy(unit.row, unit.col))
            corners = np.array(pixel['geometry']['coordinates'][0])
            np.testing.assert_allclose(np.ptp(corners, axis=0), (0.5, 0.5))
            np.testing.assert_allclose(corners[:4].mean(0), (x, y))


def test_labelling_is_blind(three_classes, scene, tmp_path):
    """Nothing that a labeller opens names what the map says, nor the stratum."""
    design = draw_sample(three_classes, tmp_path / 'sample', size=SIZE, scene=scene)
    with fiona.open(tmp_path / 'sample' / 'points.gpkg', layer='points') as points:
        assert set(points.schema['properties']) == {'id', 'label', 'note', 'chip'}
        assert all(point['properties']['label'] is None for point in points)
    strata = np.array([unit.stratum for unit in design.units])
    assert (np.diff(strata) < 0).sum() > 20  # ids do not follow the strata
    with zipfile.ZipFile(tmp_path / 'sample' / 'labelling.qgz') as archive:
        assert 'map.tif' not in archive.read('labelling.qgs').decode()


def test_the_qgis_project_offers_the_classes_in_a_list(three_classes, scene, tmp_path):
    draw_sample(three_classes, tmp_path / 'sample', size=SIZE, scene=scene)
    with zipfile.ZipFile(tmp_path / 'sample' / 'labelling.qgz') as archive:
        assert archive.namelist() == ['labelling.qgs']
        text = archive.read('labelling.qgs').decode()
    root = ET.fromstring(text.split('\n', 1)[1])
    points, pixels, picture = root.find('projectlayers')
    assert [layer.get('id') for layer in root.iter('layer-tree-layer')] == [
        layer.findtext('id') for layer in (points, pixels, picture)
    ]
    widgets = {
        field.get('name'): field.find('editWidget')
        for field in points.iterfind('fieldConfiguration/field')
    }
    assert widgets['label'].get('type') == 'ValueMap'
    entries = widgets['label'].findall("config/Option/Option[@name='map']/Option/Option")
    assert [(entry.get('name'), entry.get('value')) for entry in entries] == [
        (name, name) for name in THREE.classes
    ]
    assert widgets['chip'].get('type') == 'ExternalResource'
    assert picture.findtext('datasource') == str(scene)
    assert root.findtext('properties/SpatialRefSys/ProjectionsEnabled') == '1'
    for placed in (points, pixels, picture):
        wkt = placed.findtext('srs/spatialrefsys/wkt')
        assert wkt.startswith('PROJCS["WGS 84 / UTM zone 33N"')
    for layer, name in ((points, 'points'), (pixels, 'pixels')):
        path, _, layer_name = layer.findtext('datasource').partition('|layername=')
        assert layer_name == name
        assert (tmp_path / 'sample' / path).is_file()


def test_chips_show_the_pixel_in_its_frame(three_classes, scene, tmp_path):
    design = draw_sample(three_classes, tmp_path / 'sample', size=SIZE, scene=scene, chip_px=32)
    for unit in design.units:
        chip = np.asarray(Image.open(tmp_path / 'sample' / 'chips' / f'{unit.id:03d}.png'))
        assert chip.shape == (32, 32, 3)
        even = unit.row % 2 == 0 and unit.col % 2 == 0
        assert chip[16, 16].tolist() == [200 if even else 0, 0, 0]
        for along in (13, 19):  # three pixels around the middle one
            assert chip[along, 16].tolist() == chip[16, along].tolist() == [255, 224, 0]
            assert chip[15, 15, 1] == 0


def test_chips_come_from_scenes_of_another_crs_and_type(three_classes, write_raster, tmp_path):
    with rasterio.open(three_classes) as dataset:
        bounds = dataset.bounds
        west, south, east, north = rasterio.warp.transform_bounds(dataset.crs, 'EPSG:4326', *bounds)
    values = np.linspace(1000, 3000, 100 * 100, dtype=np.uint16).reshape(1, 100, 100)
    place = rasterio.transform.from_bounds(
        west - 1e-5, south - 1e-5, east + 1e-5, north + 1e-5, 100, 100
    )
    scene = write_raster('degrees.tif', values, crs='EPSG:4326', transform=place)
    design = draw_sample(three_classes, tmp_path / 'sample', size=SIZE, scene=scene, chip_px=16)
    first = design.units[0]
    chip = np.asarray(Image.open(tmp_path / 'sample' / 'chips' / f'{first.id:03d}.png'))
    assert chip[8, 8, 0] > 0
    assert (chip[0, :, 0] == chip[0, :, 1]).all()  # one band is grey


def test_no_data_does_not_spoil_the_contrast_of_a_chip(three_classes, write_raster, tmp_path):
    values = np.tile(np.linspace(1000, 3000, 90, dtype=np.float32), (3, 120, 1))
    values[:, :20] = np.nan
    values[:, 20:40] = -32768
    scene = write_raster('floats.tif', values, nodata=-32768)
    design = draw_sample(three_classes, tmp_path / 'sample', size=SIZE, scene=scene, chip_px=64)
    partly = [unit for unit in design.units if 45 <= unit.row < 60 and unit.col in range(25, 65)]
    assert partly
    for unit in partly:
        chip = np.asarray(Image.open(tmp_path / 'sample' / 'chips' / f'{unit.id:03d}.png'))
        assert not chip[0].any()  # rows of no-data
        assert len(np.unique(chip[-1])) > 20
        assert (chip[-1].min(), chip[-1].max()) == (0, 255)


def test_a_scene_elsewhere_is_refused_and_leaves_nothing(three_classes, write_raster, tmp_path):
    far = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_800_000)
    scene = write_raster('far.tif', np.zeros((3, 40, 40), np.uint8), transform=far)
    before = set(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r'lies outside .*far.tif: pass the scene that was'):
        draw_sample(three_classes, tmp_path / 'sample', size=SIZE, scene=scene)
    assert set(tmp_path.iterdir()) == before


def test_labels_are_never_overwritten(three_classes, tmp_path):
    draw_sample(three_classes, tmp_path / 'sample', size=SIZE)
    with pytest.raises(ConfigError, match='exists, and may hold labels'):
        draw_sample(three_classes, tmp_path / 'sample', size=SIZE)
    with pytest.raises(ConfigError, match='does not exist: create it first'):
        draw_sample(three_classes, tmp_path / 'no' / 'sample', size=SIZE)


def test_expected_accuracies_decide_the_size(three_classes, tmp_path):
    small, large = (
        draw_sample(
            three_classes,
            tmp_path / name,
            size=SampleSize(standard_error=0.04, expected_of=expected, least=2),
        )
        for name, expected in (('a', {'field': 0.99}), ('b', {'field': 0.5}))
    )
    shares = np.array([stratum.area_m2 for stratum in large.strata])
    spread = shares / shares.sum() @ np.sqrt([0.25, 0.16, 0.16])
    assert len(large.units) == np.ceil((spread / 0.04) ** 2)
    assert len(small.units) < len(large.units)
    with pytest.raises(ConfigError, match='given for lake: expected only the classes field, wood'):
        draw_sample(three_classes, tmp_path / 'c', size=SampleSize(expected_of={'lake': 0.5}))


def test_damaged_folders_are_refused(three_classes, tmp_path):
    with pytest.raises(SceneNotFoundError, match='a folder of `crossearth assess sample`'):
        read_design(tmp_path)
    folder = tmp_path / 'sample'
    draw_sample(three_classes, folder, size=SIZE)
    design = (folder / 'design.json').read_text()
    (folder / 'design.json').write_text(design.replace('"version": 1', '"version": 2'))
    with pytest.raises(SceneError, match='another version'):
        read_design(folder)
    (folder / 'design.json').write_text(design[:100])
    with pytest.raises(SceneError, match='is damaged'):
        read_design(folder)
    (folder / 'design.json').write_text(design)
    with (folder / 'key.csv').open() as file:
        rows = list(csv.reader(file))
    with (folder / 'key.csv').open('w', newline='') as file:
        csv.writer(file).writerows([rows[0], ['x', *rows[1][1:]]])
    with pytest.raises(SceneError, match='is damaged'):
        read_design(folder)
