import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from crossearth.datasets import FolderDataset, read_scene
from crossearth.errors import SceneError
from crossearth.labels import ISPRS
from crossearth.rasters.headers import HeaderCache, cache_folder
from crossearth.rasters.world_file import find_world_file, read_world_file

PIXELS = np.ones((3, 20, 24), np.uint8)


@pytest.fixture
def keep_all(monkeypatch, tmp_path):
    monkeypatch.setattr('crossearth.rasters.headers._WORTH_KEEPING', 1)
    monkeypatch.setenv('CROSSEARTH_CACHE', str(tmp_path / 'cache'))


@pytest.fixture
def reads(monkeypatch):
    """Names of the files whose headers are read."""
    from crossearth.rasters import headers

    names, real = [], headers.read_header

    def spy(path, **options):
        names.append(Path(path).name)
        return real(path, **options)

    monkeypatch.setattr(headers, 'read_header', spy)
    return names


def test_headers_are_read_once_and_say_the_same_again(keep_all, reads, write_raster, tmp_path):
    place = Affine(0.1, 0.02, 366_675.123456789, 0.02, -0.1, 5_808_000.987654321)
    write_raster('x/a.tif', PIXELS, transform=place, nodata=7)
    write_raster('x/b.tif', PIXELS.astype(np.float32), nodata=np.nan, crs='EPSG:4326')
    write_raster('x/c.png', PIXELS, crs=None, driver='PNG')
    first = FolderDataset(tmp_path / 'x', labels=ISPRS)
    assert reads == ['a.tif', 'b.tif', 'c.png']
    second = FolderDataset(tmp_path / 'x', labels=ISPRS)
    assert len(reads) == 3
    assert repr(second.scenes) == repr(first.scenes)
    assert second.scenes[0] == first.scenes[0]


def test_a_changed_file_is_read_again(keep_all, reads, write_raster, tmp_path):
    path = write_raster('x/a.tif', PIXELS)
    write_raster('x/b.tif', PIXELS)
    FolderDataset(tmp_path / 'x', labels=ISPRS)
    write_raster('x/a.tif', np.ones((3, 30, 30), np.uint8))
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 5))
    del reads[:]
    assert FolderDataset(tmp_path / 'x', labels=ISPRS).scenes[0].height == 30
    assert reads == ['a.tif']
    path.unlink()
    assert len(FolderDataset(tmp_path / 'x', labels=ISPRS)) == 1


def test_a_georeference_that_comes_later_beside_a_file_is_seen(keep_all, write_raster, tmp_path):
    write_raster('x/a.png', PIXELS, crs=None, driver='PNG')
    assert FolderDataset(tmp_path / 'x', labels=ISPRS).crs is None
    place = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
    write_raster('y/a.png', PIXELS, driver='PNG', transform=place)
    (tmp_path / 'y' / 'a.png.aux.xml').rename(tmp_path / 'x' / 'a.png.aux.xml')
    assert FolderDataset(tmp_path / 'x', labels=ISPRS).crs.to_epsg() == 32633


@pytest.mark.parametrize(
    'text', ['', '{', '[]', '{"version": 99, "entries": {}}', '{"version": 2}']
)
def test_a_damaged_cache_is_as_good_as_none(keep_all, reads, write_raster, tmp_path, text):
    write_raster('x/a.tif', PIXELS)
    FolderDataset(tmp_path / 'x', labels=ISPRS)
    (kept,) = cache_folder().rglob('*.json')
    kept.write_text(text)
    assert len(FolderDataset(tmp_path / 'x', labels=ISPRS)) == 1
    assert len(reads) == 2
    assert json.loads(kept.read_text())['entries']


def test_a_cache_that_cannot_be_written_is_no_error(keep_all, write_raster, tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('CROSSEARTH_CACHE', str(tmp_path / 'file'))
    write_raster('x/a.tif', PIXELS)
    assert len(FolderDataset(tmp_path / 'x', labels=ISPRS)) == 1


def test_few_headers_are_not_kept(write_raster, tmp_path, monkeypatch):
    monkeypatch.setenv('CROSSEARTH_CACHE', str(tmp_path / 'cache'))
    write_raster('x/a.tif', PIXELS)
    FolderDataset(tmp_path / 'x', labels=ISPRS)
    assert not (tmp_path / 'cache').exists()


def test_the_cache_lies_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.delenv('CROSSEARTH_CACHE', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert cache_folder() == tmp_path / 'crossearth'
    monkeypatch.setenv('CROSSEARTH_CACHE', str(tmp_path / 'own'))
    assert cache_folder() == tmp_path / 'own'
    assert HeaderCache('a')._file.is_relative_to(tmp_path / 'own')


def test_a_mask_that_comes_later_beside_a_file_is_seen(keep_all, write_raster, tmp_path):
    write_raster('x/a.tif', PIXELS)
    seen = FolderDataset(tmp_path / 'x', labels=ISPRS)
    assert seen.scenes[0].raster.masks == ()
    shown = np.full(PIXELS.shape[1:], 255, np.uint8)
    shown[:4] = 0
    with rasterio.open(write_raster('x/a.tif.msk', shown[None]), 'r+') as mask:
        mask.update_tags(INTERNAL_MASK_FLAGS_1=2)  # one for all bands
    seen = FolderDataset(tmp_path / 'x', labels=ISPRS)
    assert (seen[0]['image'] == 0).all(dim=0).sum() == 4 * 24


@pytest.mark.parametrize(
    ('image', 'world', 'found'),
    [
        ('a.tif', 'a.tfw', True),
        ('a.tif', 'a.TFW', True),
        ('a.tif', 'a.tifw', True),
        ('a.jpg', 'a.jgw', True),
        ('a.png', 'a.pgw', True),
        ('a.png', 'a.wld', True),
        ('a.tif', 'a.jgw', False),
        ('a.tif', 'ab.tfw', False),
    ],
)
def test_world_files_are_found_by_the_rule_of_letters(image, world, found):
    assert (find_world_file(f'x/{image}', {image, world}) is not None) == found


def test_a_world_file_gives_what_gdal_makes_of_it(write_raster, tmp_path):
    path = write_raster('a.tif', PIXELS, crs=None)
    text = '0.05\n0.01\n0.02\n-0.06\n366676.0251234567\n5808299.9751234567\n'
    path.with_suffix('.tfw').write_text(text)
    with rasterio.open(path) as source:
        expected = tuple(source.transform)
    assert tuple(read_world_file(path.with_suffix('.tfw'))) == pytest.approx(expected, abs=1e-9)
    scene = read_scene(path, crs='EPSG:32633')
    assert tuple(scene.transform) == pytest.approx(expected, abs=1e-9)
    assert scene.crs.to_epsg() == 32633
    assert read_scene(path).crs is None


def test_a_file_that_places_itself_is_believed_before_its_world_file(write_raster):
    path = write_raster('a.tif', PIXELS)
    path.with_suffix('.tfw').write_text('1\n0\n0\n-1\n0\n0\n')
    assert read_scene(path, crs='EPSG:4326').transform.c == 400_000
    assert read_scene(path, crs='EPSG:4326').crs.to_epsg() == 32633


def test_world_files_without_a_transform_are_named(write_raster):
    path = write_raster('a.tif', PIXELS, crs=None)
    path.with_suffix('.tfw').write_text('1\n0\n0\n')
    with pytest.raises(SceneError, match=r'a\.tfw: holds 3 words, expected the six numbers'):
        read_scene(path)
    path.with_suffix('.tfw').write_text('0\n0\n0\n0\n1\n1\n')
    with pytest.raises(SceneError, match='its pixels have no area'):
        read_scene(path)


@pytest.mark.parametrize(
    'text',
    [
        b'\xef\xbb\xbf0.5\n0\n0\n-0.5\n10.25\n19.75\n',
        b'0.5\r0\r0\r-0.5\r10.25\r19.75',
        b'0.5\r\n0\r\n0\r\n-0.5\r\n10.25\r\n19.75\r\n\x1a',
        b'0,5\n0\n0\n-0,5\n10,25\n19,75\n\nwritten by hand\n',
    ],
    ids=['byte order mark', 'old Mac', 'DOS', 'commas and a remark'],
)
def test_world_files_of_odd_writers_are_read(tmp_path, text):
    path = tmp_path / 'a.tfw'
    path.write_bytes(text)
    assert tuple(read_world_file(path))[:6] == (0.5, 0, 10, 0, -0.5, 20)


@pytest.mark.parametrize('word', ['nan', 'inf'])
def test_world_files_of_no_numbers_are_refused(tmp_path, word):
    (tmp_path / 'a.tfw').write_text(f'{word}\n0\n0\n-0.5\n1\n2\n')
    with pytest.raises(SceneError, match='its pixels have no area'):
        read_world_file(tmp_path / 'a.tfw')


@pytest.mark.parametrize('damage', ['no CRSs', 'short entries'])
def test_damaged_entries_of_the_cache_are_read_anew(
    keep_all, reads, write_raster, tmp_path, damage
):
    write_raster('x/a.tif', PIXELS)
    before = FolderDataset(tmp_path / 'x', labels=ISPRS).scenes
    (kept,) = cache_folder().rglob('*.json')
    said = json.loads(kept.read_text())
    if damage == 'no CRSs':
        said['crs'] = []
    else:
        said['entries'] = {name: [stamp, [1]] for name, (stamp, _) in said['entries'].items()}
    kept.write_text(json.dumps(said))
    assert FolderDataset(tmp_path / 'x', labels=ISPRS).scenes == before
    assert len(reads) == 2


def test_names_that_gdal_cannot_take_are_told(write_raster, tmp_path):
    path = write_raster('x/a.tif', PIXELS)
    strange = os.fsdecode(os.fsencode(path.parent) + b'/\xfe.tif')
    try:
        path.rename(strange)
    except OSError:
        pytest.skip('this file system takes no such name')
    with pytest.raises(SceneError, match='not valid UTF-8'):
        FolderDataset(tmp_path / 'x', labels=ISPRS)
