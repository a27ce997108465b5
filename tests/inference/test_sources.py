import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crossearth.errors import ConfigError, SceneNotFoundError
from crossearth.inference import predict_scene
from crossearth.inference.sources import find_scenes, tasks_of
from tests.inference.test_predict import Write, labels_of


def two(images: Tensor) -> Tensor:
    return torch.cat([images[:, :1], 1 - images[:, :1]], 1)


def test_folder_gives_its_rasters_in_order_and_below(write_scene: Write, tmp_path: Path) -> None:
    for name in ('b.tif', 'a.tif'):
        write_scene(np.zeros((1, 4, 4), np.uint8), name)
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'sub' / 'c.JP2').touch()
    (tmp_path / 'notes.md').touch()
    (tmp_path / '.hidden.tif').touch()
    names = [Path(scene).relative_to(tmp_path).as_posix() for scene in find_scenes(tmp_path)]
    assert names == ['a.tif', 'b.tif', 'sub/c.JP2']


def test_scenes_in_an_archive_are_mapped_without_unpacking(
    write_scene: Write, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 255, (1, 30, 40), np.uint8)
    plain = write_scene(values)
    with zipfile.ZipFile(tmp_path / 'all.zip', 'w') as archive:
        archive.write(plain, 'deep/scene.tif')
    (scene,) = find_scenes(tmp_path / 'all.zip')
    assert scene == f'/vsizip/{tmp_path}/all.zip/deep/scene.tif'
    one = predict_scene(two, scene, tmp_path / 'one.tif')
    other = predict_scene(two, plain, tmp_path / 'other.tif')
    assert one.path.read_bytes() == other.path.read_bytes()


def test_virtual_mosaics_are_mapped(write_scene: Write, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (1, 30, 40), np.uint8)
    write_scene(values)
    vrt = tmp_path / 'mosaic.vrt'
    vrt.write_text(
        '<VRTDataset rasterXSize="40" rasterYSize="30"><SRS>EPSG:32633</SRS>'
        '<GeoTransform>4e5,0.5,0,5e6,0,-0.5</GeoTransform>'
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">scene.tif</SourceFilename><SourceBand>1</SourceBand>'
        '</SimpleSource></VRTRasterBand></VRTDataset>'
    )
    made = predict_scene(two, vrt, tmp_path / 'map.tif')
    np.testing.assert_array_equal(labels_of(made.path), (values[0] <= 127).astype(np.uint8))


def test_lists_name_scenes_beside_them(tmp_path: Path) -> None:
    (tmp_path / 'list.txt').write_text('a.tif\n\n s3://bucket/b.tif \n')
    assert find_scenes(tmp_path / 'list.txt') == [str(tmp_path / 'a.tif'), 's3://bucket/b.tif']
    (tmp_path / 'list.csv').write_text('id,scene\n1,a.tif\n2,/vsicurl/http://x/b.tif\n')
    assert find_scenes(tmp_path / 'list.csv')[1] == '/vsicurl/http://x/b.tif'
    (tmp_path / 'bad.csv').write_text('id,path\n1,a.tif\n')
    with pytest.raises(ConfigError, match=r"columns \['id', 'path'\]: expected one named scene"):
        find_scenes(tmp_path / 'bad.csv')


def test_stac_items_give_their_image(tmp_path: Path) -> None:
    tiff = 'image/tiff; application=geotiff'
    items = [
        {'id': 'a', 'assets': {'thumbnail': {'href': 't.png'}, 'visual': {'href': 'a.tif'}}},
        {'id': 'b', 'assets': {'B': {'href': 'https://x.org/b.tif', 'type': tiff}}},
    ]
    path = tmp_path / 'items.json'
    path.write_text(json.dumps({'type': 'FeatureCollection', 'features': items}))
    assert find_scenes(path) == [str(tmp_path / 'a.tif'), '/vsicurl/https://x.org/b.tif']
    path.write_text(json.dumps({'id': 'c', 'assets': {'x': {'href': 'x'}, 'y': {'href': 'y'}}}))
    with pytest.raises(ConfigError, match='item c has the assets x, y: expected one of visual'):
        find_scenes(path)
    path.write_text('{')
    with pytest.raises(ConfigError, match='is no JSON'):
        find_scenes(path)
    path.write_text('[]')
    with pytest.raises(SceneNotFoundError, match='holds no scenes'):
        find_scenes(path)


def test_two_scenes_never_share_a_map(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='would both be mapped'):
        tasks_of(['s3://a/x.tif', 's3://b/x.jp2'], tmp_path)
    with pytest.raises(SceneNotFoundError, match='none is not there'):
        tasks_of([tmp_path / 'none'], tmp_path)
