import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rasterio.transform import Affine
from torch import nn

from crossearth import __version__
from crossearth.catalog import write_catalogue, write_item
from crossearth.catalog.times import stated_time
from crossearth.errors import ConfigError
from crossearth.inference import Task, Windows, predict_scenes, tasks_of
from crossearth.labels import ISPRS

UTM = Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)

type Write = Callable[..., Path]


def load() -> nn.Module:
    return nn.Conv2d(3, 6, 1)


@pytest.fixture
def mapped(write_raster: Write, tmp_path: Path) -> Path:
    """The maps of two scenes, in folders."""
    for folder in ('a', 'b'):
        (tmp_path / 'scenes' / folder).mkdir(parents=True)
        write_raster(f'scenes/{folder}/TCI.tif', np.zeros((3, 20, 30), np.uint8), transform=UTM)
    predict_scenes(
        load,
        tasks_of([tmp_path / 'scenes'], tmp_path / 'maps'),
        labels=ISPRS,
        windows=Windows(tile_px=16),
        model_id='six classes',
    )
    return tmp_path / 'maps'


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def check_core(content: dict[str, Any], kind: pystac.STACObjectType) -> None:
    """Against the core schemas of STAC 1.1, which pystac brings; extensions need a network."""
    JsonSchemaSTACValidator().validate_core(content, kind, '1.1.0')


def test_a_catalogue_is_valid_and_leads_to_every_map(mapped: Path) -> None:
    made = write_catalogue(mapped)
    assert (made.items, made.undated, made.left_out) == (2, 2, ())
    check_core(read(made.path), pystac.STACObjectType.CATALOG)
    catalogue = pystac.Catalog.from_file(str(made.path))
    items = list(catalogue.get_items())
    assert [item.id for item in items] == ['a__TCI', 'b__TCI']
    for item in items:
        content = read(Path(item.get_self_href() or ''))
        check_core(content, pystac.STACObjectType.ITEM)
        assert item.get_parent() is catalogue
        for asset in item.assets.values():
            assert Path(asset.get_absolute_href() or '').is_file()


def test_a_catalogue_that_does_not_validate_would_be_noticed(mapped: Path) -> None:
    write_catalogue(mapped)
    item = read(mapped / 'a' / 'TCI.tif.stac.json')
    del item['properties']['start_datetime']
    with pytest.raises(pystac.errors.STACValidationError):
        check_core(item, pystac.STACObjectType.ITEM)


def test_an_item_says_what_the_map_is_and_where_it_comes_from(mapped: Path) -> None:
    write_catalogue(mapped, time='2021-06-30T10:20:30Z')
    item = read(mapped / 'b' / 'TCI.tif.stac.json')
    properties, asset = item['properties'], item['assets']['map']
    assert properties['datetime'] == '2021-06-30T10:20:30Z'
    assert properties['crossearth:model_id'] == 'six classes'
    assert properties['processing:software'] == {'crossearth': __version__}
    assert 'own pixels 0.5 m' in properties['crossearth:seen']
    assert asset['href'] == './TCI.tif'
    assert asset['proj:code'] == 'EPSG:32633'
    assert asset['proj:shape'] == [20, 30]
    assert asset['proj:transform'] == [0.5, 0, 400_000, 0, -0.5, 5_000_000]
    assert asset['gsd'] == pytest.approx(0.5, rel=1e-3)
    classes = asset['classification:classes']
    expected = {'value': 1, 'name': 'building', 'title': 'building', 'color_hint': '0000FF'}
    assert classes[1] == expected
    assert classes[-1] == {'value': 255, 'name': 'no_data', 'title': 'no data', 'nodata': True}
    assert item['assets']['scene']['href'] == '../../scenes/b/TCI.tif'
    assert item['assets']['style']['href'] == './TCI.qml'
    west, south, east, north = item['bbox']
    assert (west, north) == pytest.approx((13.7286, 45.1467), abs=1e-3)
    assert (east - west, north - south) == pytest.approx((1.9e-4, 9e-5), rel=0.1)


def test_the_extensions_read_as_pystac_reads_them(mapped: Path) -> None:
    classification = pytest.importorskip('pystac.extensions.classification')
    projection = pytest.importorskip('pystac.extensions.projection')
    write_catalogue(mapped)
    item = pystac.Item.from_file(str(mapped / 'a' / 'TCI.tif.stac.json'))
    asset = item.assets['map']
    classes = classification.ClassificationExtension.ext(asset).classes
    assert [one.name for one in classes][:2] == ['impervious_surface', 'building']
    assert projection.ProjectionExtension.ext(asset).epsg == 32633


def test_a_folder_may_be_moved_with_its_catalogue(mapped: Path, tmp_path: Path) -> None:
    write_catalogue(mapped)
    moved = mapped.rename(tmp_path / 'elsewhere')
    catalogue = pystac.Catalog.from_file(str(moved / 'catalog.json'))
    for item in catalogue.get_items():
        assert Path(item.assets['map'].get_absolute_href() or '').is_relative_to(moved)
    assert str(mapped) not in ''.join(path.read_text() for path in moved.rglob('*stac.json'))


def test_the_scene_is_found_from_any_folder_and_after_a_move_of_both(
    write_raster: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / 'here' / 'scenes').mkdir(parents=True)
    write_raster('here/scenes/a #1%.tif', np.zeros((3, 20, 30), np.uint8), transform=UTM)
    monkeypatch.chdir(tmp_path / 'here')
    tasks = [Task('scenes/a #1%.tif', Path('maps/a.tif'))]
    Path('maps').mkdir()
    predict_scenes(load, tasks, labels=ISPRS, windows=Windows(tile_px=16), model_id='six')
    monkeypatch.chdir('/')
    (tmp_path / 'here').rename(tmp_path / 'there')
    maps = tmp_path / 'there' / 'maps'
    for _ in range(2):  # from the receipt, then from the item
        write_catalogue(maps)
        item = read(maps / 'a.tif.stac.json')
        assert item['assets']['scene']['href'] == '../scenes/a %231%25.tif'
        (maps / 'a.tif.receipt.json').unlink(missing_ok=True)


@pytest.mark.parametrize('name', ['a#1.tif', 'b?.tif', '50%.tif'])
def test_names_that_addresses_cannot_hold_are_refused(mapped: Path, name: str) -> None:
    (mapped / 'a' / 'TCI.tif').rename(mapped / 'a' / name)
    with pytest.raises(ConfigError, match=rf'a/.* contains \{name.strip("ab150.tif")}, which'):
        write_catalogue(mapped)
    assert not (mapped / 'catalog.json').exists()


def test_a_time_that_is_not_known_is_null_between_two_that_are(mapped: Path) -> None:
    write_catalogue(mapped)
    properties = read(mapped / 'a' / 'TCI.tif.stac.json')['properties']
    assert properties['datetime'] is None
    assert properties['start_datetime'] == '1900-01-01T00:00:00Z'
    assert properties['end_datetime'] == properties['created']
    assert properties['crossearth:time'].startswith('not known')


def test_times_come_from_the_files_of_scenes_and_from_stac_items(
    mapped: Path, tmp_path: Path
) -> None:
    with rasterio.open(tmp_path / 'scenes' / 'a' / 'TCI.tif', 'r+') as scene:
        scene.update_tags(ns='IMAGERY', ACQUISITIONDATETIME='2020-05-04 03:02:01')
    source = {
        'id': 'S2_b',
        'properties': {'datetime': '2022-02-02T02:02:02Z'},
        'links': [{'rel': 'self', 'href': './S2 b.json'}],
        'assets': {'visual': {'href': './scenes/b/TCI.tif'}},
    }
    (tmp_path / 'items.json').write_text(json.dumps({'features': [source]}))
    made = write_catalogue(mapped, scene_items=tmp_path / 'items.json')
    assert made.undated == 0
    one, two = (read(mapped / folder / 'TCI.tif.stac.json') for folder in ('a', 'b'))
    assert one['properties']['datetime'] == '2020-05-04T03:02:01Z'
    assert two['properties']['datetime'] == '2022-02-02T02:02:02Z'
    derived = [link for link in two['links'] if link['rel'] == 'derived_from']
    assert [link['href'] for link in derived] == ['../../S2 b.json']


@pytest.mark.parametrize('day', ['2021-06-30', '20210630', '2021-06-01/2021-06-30', ' 2021-06-30 '])
def test_a_day_lasts_until_midnight(day: str) -> None:
    assert stated_time(day).stop == datetime(2021, 6, 30, 23, 59, 59, tzinfo=UTC)


def test_a_moment_lasts_no_longer() -> None:
    moment = stated_time('20210630T10')
    assert moment.start == moment.stop == datetime(2021, 6, 30, 10, tzinfo=UTC)


def test_a_catalogue_of_somebody_else_is_not_replaced(mapped: Path) -> None:
    catalogue = mapped / 'catalog.json'
    for foreign in ('{"type": "Catalog", "description": "mine"}', '[]', 'no JSON'):
        catalogue.write_text(foreign)
        with pytest.raises(ConfigError, match=r'catalog\.json exists and was not written by cross'):
            write_catalogue(mapped)
        assert catalogue.read_text() == foreign
        assert not list(mapped.rglob('*.stac.json'))
    catalogue.write_text('{"description": "2 maps of land cover, made with crossearth."}')
    for _ in range(2):  # first a catalogue of an earlier version, then its own
        write_catalogue(mapped)
    content = read(catalogue)
    assert content['crossearth:version'] == __version__
    assert content['id'] == 'maps'


def test_classes_named_in_other_scripts_keep_names_of_their_own(mapped: Path) -> None:
    with rasterio.open(mapped / 'a' / 'TCI.tif', 'r+') as dataset:
        dataset.update_tags(
            CLASS_0='лес', CLASS_1='луг', CLASS_2='a b', CLASS_3='a-b', CLASS_4='a_b'
        )
    write_catalogue(mapped)
    asset = read(mapped / 'a' / 'TCI.tif.stac.json')['assets']['map']
    names = [one['name'] for one in asset['classification:classes']]
    assert names[:5] == ['class_0', 'class_1', 'a_b', 'a-b', 'class_4']
    assert asset['classification:classes'][0]['title'] == 'лес'


def test_what_is_not_a_map_is_left_out_and_what_is_gone_too(mapped: Path) -> None:
    with rasterio.open(
        mapped / 'sure.tif', 'w', width=4, height=4, count=1, dtype='uint8', driver='GTiff',
        crs='EPSG:32633', transform=UTM,
    ) as dataset:  # fmt: skip
        dataset.set_band_description(1, 'confidence')
    made = write_catalogue(mapped)
    assert (made.items, made.left_out) == (2, (mapped / 'sure.tif',))
    (mapped / 'b' / 'TCI.tif').unlink()
    assert write_catalogue(mapped).items == 1
    links = read(mapped / 'catalog.json')['links']
    assert [link['href'] for link in links if link['rel'] == 'item'] == ['./a/TCI.tif.stac.json']


def test_one_map_has_an_item_that_a_later_catalogue_believes(mapped: Path) -> None:
    (mapped / 'a' / 'TCI.tif.receipt.json').unlink()
    path = write_item(mapped / 'a' / 'TCI.tif', scene='s3://bucket/a.tif', model_id='mine')
    check_core(read(path), pystac.STACObjectType.ITEM)
    write_catalogue(mapped)
    item = read(path)
    assert item['properties']['crossearth:model_id'] == 'mine'
    assert item['assets']['scene']['href'] == 's3://bucket/a.tif'


def test_what_cannot_be_described_is_told(mapped: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'June' is not a time: expected 2021-06-30"):
        write_catalogue(mapped, time='June')
    with pytest.raises(ConfigError, match=r'ends before it begins'):
        write_catalogue(mapped, time='2021-06-30/2021-06-01')
    with pytest.raises(ConfigError, match=r'none is not a folder'):
        write_catalogue(tmp_path / 'none')
    (tmp_path / 'items.json').write_text('{"features": [{"id": "a"}]}')
    with pytest.raises(ConfigError, match=r'items.json does not hold STAC items with times'):
        write_catalogue(mapped, scene_items=tmp_path / 'items.json')
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(
            mapped / 'a.tif', 'w', width=4, height=4, count=1, dtype='uint8', driver='GTiff'
        ) as dataset,
    ):
        dataset.set_band_description(1, 'class')
    with pytest.raises(ConfigError, match=r'a.tif has no CRS .* no place in a catalogue'):
        write_catalogue(mapped)
