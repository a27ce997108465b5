import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from torch import Tensor

from crossearth.errors import ConfigError, SceneError, SceneNotFoundError
from crossearth.inference import Running, predict_scene
from crossearth.inference.scene_sources import find_scenes, tasks_of
from tests.inference.serving import serve
from tests.inference.test_predict import Write, labels_of


def two(images: Tensor) -> Tensor:
    return torch.cat([images[:, :1], 1 - images[:, :1]], 1) - 0.5


def test_folder_gives_its_rasters_in_order_and_below(write_scene: Write, tmp_path: Path) -> None:
    for name in ('b.tif', 'a.tif'):
        write_scene(np.zeros((1, 4, 4), np.uint8), name)
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'sub' / 'c.JP2').touch()
    (tmp_path / 'notes.md').touch()
    (tmp_path / '.hidden.tif').touch()
    (tmp_path / 'a.tif.parts').mkdir()
    (tmp_path / 'a.tif.parts' / '00000-labels.tif').touch()
    names = [Path(scene).relative_to(tmp_path).as_posix() for scene in find_scenes(tmp_path)]
    assert names == ['a.tif', 'b.tif', 'sub/c.JP2']


def test_scenes_in_an_archive_are_mapped_without_unpacking(
    write_scene: Write, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).integers(0, 255, (1, 30, 40), np.uint8)
    plain = write_scene(values)
    with zipfile.ZipFile(tmp_path / 'all.zip', 'w') as archive:
        archive.write(plain, 'deep/scene.tif')
        for hidden in ('__MACOSX/deep/._scene.tif', '.cache/a.tif', 'deep/a.tif.parts/0.tif'):
            archive.writestr(hidden, 'no scene')
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


def test_lists_name_scenes_next_to_them(tmp_path: Path) -> None:
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
    with pytest.raises(ConfigError, match='is not JSON'):
        find_scenes(path)
    path.write_text('[]')
    with pytest.raises(SceneNotFoundError, match='holds no scenes'):
        find_scenes(path)


def test_scene_that_is_listed_twice_is_mapped_once(tmp_path: Path) -> None:
    (tmp_path / 'list.txt').write_text('a.tif\nb.tif\na.tif\n')
    (tmp_path / 'a.tif').touch()
    tasks = tasks_of([tmp_path / 'list.txt', tmp_path / 'a.tif'], tmp_path)
    assert [Path(task.scene).name for task in tasks] == ['a.tif', 'b.tif']


def test_two_scenes_never_share_a_map(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='would both be mapped'):
        tasks_of(['s3://a/x.tif', 's3://b/x.jp2'], tmp_path)
    with pytest.raises(SceneNotFoundError, match='none does not exist'):
        tasks_of([tmp_path / 'none'], tmp_path)


@pytest.fixture
def remote_scene(write_scene: Write, tmp_path: Path) -> Path:
    """A scene of 36 blocks in a folder `bucket`, and a map of it next to the folder."""
    (tmp_path / 'bucket').mkdir()
    values = np.random.default_rng(0).integers(0, 255, (1, 1500, 1300), np.uint8)
    scene = write_scene(values, 'bucket/scene.tif', tiled=True, blockxsize=256, blockysize=256)
    predict_scene(two, scene, tmp_path / 'local.tif')
    return scene


def test_scenes_of_web_servers_are_read_by_ranges(remote_scene: Path, tmp_path: Path) -> None:
    with serve(tmp_path, tmp_path / 'log') as server:
        url = f'{server.url}/bucket/scene.tif'
        for name in (f'/vsicurl/{url}', url):
            made = predict_scene(two, name, tmp_path / 'map.tif')
            assert made.path.read_bytes() == (tmp_path / 'local.tif').read_bytes()
        requests = server.requests()
        with pytest.raises(SceneNotFoundError, match=r'nothing\.tif: not found'):
            predict_scene(two, f'/vsicurl/{server.url}/nothing.tif', tmp_path / 'map.tif')
    assert not any(line.startswith('200 GET') for line in requests)  # never all of the file
    ends = [line.split('bytes=')[1].split('-') for line in requests if line.startswith('206')]
    given = sum(int(last) - int(first) + 1 for first, last in ends)
    assert given < 2.5 * remote_scene.stat().st_size  # once for each of the two maps


def test_scenes_of_object_stores_are_read(
    remote_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(tmp_path, tmp_path / 'log') as server:
        for name, value in {
            'AWS_S3_ENDPOINT': server.url.removeprefix('http://'),
            'AWS_HTTPS': 'NO',
            'AWS_VIRTUAL_HOSTING': 'FALSE',
            'AWS_NO_SIGN_REQUEST': 'YES',
        }.items():
            monkeypatch.setenv(name, value)
        made = predict_scene(two, '/vsis3/bucket/scene.tif', tmp_path / 'map.tif')
        with pytest.raises(SceneNotFoundError, match='check the address'):
            predict_scene(two, '/vsis3/bucket/nothing.tif', tmp_path / 'map.tif')
    assert made.path.read_bytes() == (tmp_path / 'local.tif').read_bytes()


def test_server_without_ranges_is_named_and_read_as_a_stream(
    remote_scene: Path, tmp_path: Path
) -> None:
    with serve(tmp_path, tmp_path / 'log', ranges=False) as server:
        url = f'{server.url}/bucket/{remote_scene.name}'
        with pytest.raises(SceneError, match=r'whole files only: .* /vsicurl_streaming/'):
            predict_scene(two, f'/vsicurl/{url}', tmp_path / 'map.tif')
        made = predict_scene(two, f'/vsicurl_streaming/{url}', tmp_path / 'map.tif')
    assert made.path.read_bytes() == (tmp_path / 'local.tif').read_bytes()


TILES = """<GDAL_WMS>
  <Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>
  <DataWindow>
    <UpperLeftX>-20037508.34</UpperLeftX><UpperLeftY>20037508.34</UpperLeftY>
    <LowerRightX>20037508.34</LowerRightX><LowerRightY>-20037508.34</LowerRightY>
    <TileLevel>14</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY>
    <YOrigin>top</YOrigin>
  </DataWindow>
  <Projection>EPSG:3857</Projection>
  <BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY><BandsCount>3</BandsCount>
</GDAL_WMS>"""
PART = """<VRTDataset rasterXSize="512" rasterYSize="256">
  <SRS>EPSG:3857</SRS><GeoTransform>{left}, {pixel}, 0, {top}, 0, -{pixel}</GeoTransform>{bands}
</VRTDataset>"""
BAND = """<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource>
  <SourceFilename relativeToVRT="1">tiles.xml</SourceFilename><SourceBand>{band}</SourceBand>
  <SrcRect xOff="{x}" yOff="{y}" xSize="512" ySize="256"/>
  <DstRect xOff="0" yOff="0" xSize="512" ySize="256"/>
</SimpleSource></VRTRasterBand>"""


def test_tiles_of_a_map_service_are_mapped_as_their_pixels_are(
    write_raster: Write, tmp_path: Path
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 256, 512), np.uint8)
    col, row, pixel = 9000, 5000, 2 * 20037508.34 / 2**22
    for i in range(2):
        tile = image[..., 256 * i : 256 * i + 256]
        write_raster(f'14/{col + i}/{row}.png', tile, crs=None, driver='PNG')
    left, top = col * 256 * pixel - 20037508.34, 20037508.34 - row * 256 * pixel
    place = Affine(pixel, 0, left, 0, -pixel, top)
    plain = write_raster('plain.tif', image, crs='EPSG:3857', transform=place)
    bands = ''.join(BAND.format(band=band, x=256 * col, y=256 * row) for band in (1, 2, 3))
    part = tmp_path / 'part.vrt'
    part.write_text(PART.format(left=left, top=top, pixel=pixel, bands=bands))
    with serve(tmp_path, tmp_path / 'log') as served:
        (tmp_path / 'tiles.xml').write_text(TILES.format(url=served.url))
        assert find_scenes(tmp_path / 'tiles.xml') == [str(tmp_path / 'tiles.xml')]
        made = predict_scene(two, part, tmp_path / 'a.tif')
    expected = predict_scene(two, plain, tmp_path / 'b.tif')
    with rasterio.open(made.path) as one, rasterio.open(expected.path) as other:
        np.testing.assert_array_equal(one.read(), other.read())
        assert one.transform.almost_equals(other.transform)
    with pytest.raises(SceneError, match=r'part.vrt: rows .* cannot be read .*Unable to download'):
        predict_scene(two, part, tmp_path / 'c.tif')


def test_server_that_dies_is_an_error_or_blocks_without_data(
    remote_scene: Path, tmp_path: Path
) -> None:
    with serve(tmp_path, tmp_path / 'log') as server:
        predict_scene(two, f'/vsicurl/{server.url}/bucket/scene.tif', tmp_path / 'map.tif')
        blocks = [line for line in server.requests() if line.startswith('206')]
        before = server.requests().index(blocks[-1])  # all but the last range
    (tmp_path / 'map.tif').unlink()
    with serve(tmp_path, tmp_path / 'log2', dies_after=before) as server:
        name = f'/vsicurl/{server.url}/bucket/{remote_scene.name}'
        with pytest.raises(SceneError, match=r'rows \d+-\d+, columns 0-1299 .* failed'):
            predict_scene(two, name, tmp_path / 'map.tif')
    assert not (tmp_path / 'map.tif').exists()
    with serve(tmp_path, tmp_path / 'log3', dies_after=before) as server:
        name = f'/vsicurl/{server.url}/bucket/{remote_scene.name}'
        made = predict_scene(
            two, name, tmp_path / 'map.tif', running=Running(on_read_error='nodata')
        )
    assert 0 < len(made.lost) < 36
    lost = np.zeros((1500, 1300), bool)
    for window in made.lost:
        lost[window.row : window.stop[0], window.col : window.stop[1]] = True
    np.testing.assert_array_equal(labels_of(made.path) == 255, lost)


def test_maps_in_a_folder_of_scenes_are_no_scenes(write_scene: Write, tmp_path: Path) -> None:
    (tmp_path / 'in' / 'maps').mkdir(parents=True)
    (tmp_path / 'in' / '.a.tif.12345678').mkdir()
    for name in ('in/a.tif', 'in/maps/a.tif', 'in/.a.tif.12345678/a.tif'):
        write_scene(np.ones((1, 4, 4), np.uint8), name)
    (task,) = tasks_of([tmp_path / 'in'], tmp_path / 'in' / 'maps')
    assert task.scene == str(tmp_path / 'in' / 'a.tif')
    (tmp_path / 'in' / 'maps' / 'a.tif').rename(tmp_path / 'in' / 'maps' / 'b.tif')
    for folder in (tmp_path, tmp_path / 'in'):
        assert len(tasks_of([tmp_path / 'in'], folder)) == 2


def test_lists_of_spreadsheets_have_a_byte_order_mark_and_empty_rows(tmp_path: Path) -> None:
    (tmp_path / 'a.csv').write_text('\ufeffscene,year\n a.tif ,2020\n,\n', encoding='utf-8')
    assert find_scenes(tmp_path / 'a.csv') == [str(tmp_path / 'a.tif')]


def test_assets_without_a_type_are_passed_over(tmp_path: Path) -> None:
    item = {'assets': {'notes': {'href': 'a.txt', 'type': None}, 'visual': {'href': 'a.tif'}}}
    (tmp_path / 'a.json').write_text(json.dumps(item))
    assert find_scenes(tmp_path / 'a.json') == [str(tmp_path / 'a.tif')]


def test_items_whose_images_share_a_name_are_mapped_to_their_ids(tmp_path: Path) -> None:
    items = [
        {'id': name, 'assets': {'visual': {'href': f'https://a.org/{name}/TCI.tif'}}}
        for name in ('T32UQD_1', 'T32UQE_1')
    ]
    (tmp_path / 'a.json').write_text(json.dumps({'features': items}))
    first, second = tasks_of([tmp_path / 'a.json'], 'maps')
    assert first.destination == Path('maps/T32UQD_1.tif')
    assert (second.scene, second.destination) == (
        '/vsicurl/https://a.org/T32UQE_1/TCI.tif',
        Path('maps/T32UQE_1.tif'),
    )


def test_folders_archives_and_lists_are_mirrored(write_scene: Write, tmp_path: Path) -> None:
    for name in ('a', 'b/deep', 'c'):
        (tmp_path / 'in' / name).mkdir(parents=True)
    names = ['a/TCI', 'b/deep/TCI']
    for name in names:
        write_scene(np.ones((1, 4, 4), np.uint8), f'in/{name}.tif')
    expected = [Path('maps', f'{name}.tif') for name in names]
    assert [task.destination for task in tasks_of([tmp_path / 'in'], 'maps')] == expected

    with zipfile.ZipFile(tmp_path / 'all.zip', 'w') as archive:
        for name in names:
            archive.write(tmp_path / 'in' / f'{name}.tif', f'{name}.tif')
    assert [task.destination for task in tasks_of([tmp_path / 'all.zip'], 'maps')] == expected

    listing = tmp_path / 'in' / 'c' / 'list.txt'
    for lines in (
        ['../a/TCI.tif', '../b/deep/TCI.tif'],
        [f'{tmp_path}/in/a/TCI.tif', '../b/deep/TCI.tif'],
        ['s3://bucket/a/TCI.tif', 's3://bucket/b/deep/TCI.tif'],
        ['https://x.org/y/a/TCI.tif?key=/1/', 'https://x.org/y/b/deep/TCI.tif?key=/2/3/'],
    ):
        listing.write_text('\n'.join(lines))
        assert [task.destination for task in tasks_of([listing], 'maps')] == expected
    listing.write_text('one.tif\ntwo.tif')
    assert [task.destination.name for task in tasks_of([listing], 'maps')] == ['one.tif', 'two.tif']


def test_names_that_no_map_can_have_are_named(write_scene: Write, tmp_path: Path) -> None:
    items = [
        {'id': f'T32\0{number}', 'assets': {'visual': {'href': f'{number}/TCI.tif'}}}
        for number in (1, 2)
    ]
    (tmp_path / 'a.json').write_text(json.dumps({'features': items}))
    with pytest.raises(ConfigError, match=r'the map .T32.+x001.: file names cannot contain'):
        tasks_of([tmp_path / 'a.json'], 'maps')
    with zipfile.ZipFile(tmp_path / 'all.zip', 'w') as archive:
        archive.write(write_scene(np.ones((1, 4, 4), np.uint8)), '../up.tif')
    with pytest.raises(SceneError, match=r'holds ../up.tif, a path that leaves the archive'):
        tasks_of([tmp_path / 'all.zip'], 'maps')


def test_a_source_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = tmp_path / 'list.txt'
    listing.write_text('a.tif')

    def refuse(*words: object, **options: object) -> str:
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Path, 'read_text', refuse)  # the superuser may read everything
    with pytest.raises(SceneError, match=r'list.txt cannot be read .* check its permissions'):
        find_scenes(listing)
