import resource
import signal
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import sieve
from rasterio.transform import Affine

from crossearth.errors import ConfigError, SceneError, SceneNotFoundError, WriteError
from crossearth.inference import map_files, sieve_map
from crossearth.inference.components import components
from crossearth.inference.qgis import write_attribute_table, write_qgis_style
from crossearth.labels import ISPRS, ROAD
from tests.inference.test_predict import Write
from tests.inference.test_regions import blobs


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def sieved_by_gdal(labels: np.ndarray, size: int, connectivity: int) -> np.ndarray:
    """What GDAL makes of a map when it is run until nothing changes."""
    valid = labels != 255
    while True:
        new = sieve(labels, size, mask=valid, connectivity=connectivity)
        new[~valid] = 255
        if (new == labels).all():
            return new
        labels = new


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(1, 4),
    size=st.integers(2, 30),
    connectivity=st.sampled_from([4, 8]),
)
def test_regions_in_pixels_are_merged_as_gdal_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int, classes: int, size: int, connectivity: int
) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 150), random.integers(1, 40)
    labels = random.integers(0, classes, (height, width)).astype(np.uint8)
    labels[random.random(labels.shape) < 0.6] = 0
    labels[random.random(labels.shape) < 0.05] = 255
    folder = tmp_path_factory.mktemp('sieve')
    with rasterio.open(
        folder / 'map.tif', 'w', driver='GTiff', count=1, height=height, width=width, dtype='uint8',
        nodata=255, crs='EPSG:32633', transform=Affine(0.5, 0, 4e5, 0, -0.5, 5e6),
    ) as file:  # fmt: skip
        file.write(labels, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_files, '_STRIP_PIXELS', 1)  # strips of 64 rows
        sieve_map(
            folder / 'map.tif', folder / 'out.tif', min_pixels=size, connectivity=connectivity
        )
    np.testing.assert_array_equal(
        read(folder / 'out.tif'), sieved_by_gdal(labels, size, connectivity)
    )


def test_one_round_leaves_what_a_later_one_finds(write_scene: Write, tmp_path: Path) -> None:
    # 2 and 3 are each other's largest neighbours; 3 meets the large field only through the 4
    labels = np.zeros((1, 9, 9), np.uint8)
    labels[0, 0] = [2, 2, 2, 3, 3, 4, 0, 0, 0]
    labels[0, 1] = [255, 255, 255, 255, 255, 0, 0, 0, 0]
    scene = write_scene(labels, nodata=255)
    made = sieve_map(scene, tmp_path / 'o.tif', min_pixels=5)
    assert (made.merged, made.left) == (3, 0)
    expected = labels[0].copy()
    expected[0] = 0
    np.testing.assert_array_equal(read(made.path), expected)
    once = sieve(labels[0], 5, mask=labels[0] != 255)
    assert once[0].tolist() == [2, 2, 2, 3, 3, 0, 0, 0, 0]


def test_pixels_without_data_are_neither_filled_nor_grown(
    write_scene: Write, tmp_path: Path
) -> None:
    labels = np.full((1, 20, 20), 255, np.uint8)
    labels[0, 3:6, 3:6] = 1  # an island: it has no neighbour
    labels[0, 10:, :] = 2
    labels[0, 15, 15] = 255  # a hole of one pixel
    labels[0, 10, 5] = 1  # a part of the rim
    made = sieve_map(write_scene(labels, nodata=255), tmp_path / 'o.tif', min_pixels=50)
    assert (made.merged, made.left) == (1, 1)
    expected = labels[0].copy()
    expected[10, 5] = 2
    np.testing.assert_array_equal(read(made.path), expected)


def test_a_unit_in_square_metres_is_one_on_the_ground(write_scene: Write, tmp_path: Path) -> None:
    # a degree of longitude is half as long at 60° as at the equator
    labels = np.zeros((1, 640, 12), np.uint8)
    labels[0, 5, 4:8] = labels[0, 634, 4:8] = 1
    scene = write_scene(
        labels, crs='EPSG:4326', transform=Affine(0.1, 0, 10, 0, -0.1, 62), nodata=255
    )
    pixel_m2 = (0.1 * 111_195) ** 2
    made = sieve_map(scene, tmp_path / 'o.tif', min_area_m2=3 * pixel_m2)
    assert made.merged == 1
    assert read(made.path)[5].tolist() == [0] * 12
    assert read(made.path)[634].tolist() == [0] * 4 + [1] * 4 + [0] * 4


@pytest.mark.parametrize('units', [{'building': 9, 'CAR': 3}, {1: 9, 4: 3}])
def test_classes_have_units_of_their_own(
    write_scene: Write, tmp_path: Path, units: dict[str | int, float]
) -> None:
    labels = np.zeros((1, 30, 30), np.uint8)
    labels[0, 2:4, 2:6] = 1  # 8 pixels, too small for a building
    labels[0, 2:4, 12:16] = 4  # large enough for a car
    labels[0, 10, 10:12] = 4
    labels[0, 20, 20] = 3  # a tree has no unit
    scene = write_scene(labels)
    with rasterio.open(scene, 'r+') as dataset:
        dataset.update_tags(**{f'CLASS_{i}': name for i, name in enumerate(ISPRS.classes)})
    made = sieve_map(scene, tmp_path / 'o.tif', min_pixels=units)
    expected = labels[0].copy()
    expected[2:4, 2:6] = expected[10, 10:12] = 0
    np.testing.assert_array_equal(read(made.path), expected)
    with rasterio.open(made.path) as dataset:
        assert dataset.tags()['SIEVED'] == 'class 1: 9 px, class 4: 3 px; 4-connected'


def test_the_map_keeps_colours_names_table_style_and_metadata(
    write_scene: Write, tmp_path: Path
) -> None:
    scene = write_scene(np.ones((1, 40, 40), np.uint8), 'map.tif', nodata=255)
    with rasterio.open(scene, 'r+') as dataset:
        dataset.write_colormap(1, {0: (1, 2, 3, 255), 1: (4, 5, 6, 255)})
        dataset.update_tags(CLASS_0='background', CLASS_1='road', MODEL='a')
        dataset.update_tags(ns='LINEAGE', made='today')
        dataset.update_tags(1, STATISTICS_MEAN='7', sensor='b')
        dataset.set_band_description(1, 'class')
    write_attribute_table(scene, ROAD)
    write_qgis_style(scene, ROAD)
    sidecar = scene.with_name('map.tif.aux.xml')
    table = sidecar.read_text()
    statistics = '<Histograms/><Metadata><MDI key="STATISTICS_MEAN">7</MDI></Metadata>'
    sidecar.write_text(table.replace('</PAMRasterBand>', f'{statistics}</PAMRasterBand>'))
    confidence = write_scene(np.full((1, 40, 40), 9, np.uint8), 'sure.tif').read_bytes()
    made = sieve_map(scene, tmp_path / 'o.tif', min_area_m2=5)
    with rasterio.open(scene) as before, rasterio.open(made.path) as after:
        assert after.colormap(1) == before.colormap(1)
        assert after.colorinterp == before.colorinterp
        assert after.tags() == before.tags() | {
            'SIEVED': '5 m2; 4-connected',
            'TIFFTAG_SOFTWARE': 'crossearth',
        }
        assert after.tags(ns='LINEAGE') == {'made': 'today'}
        assert after.tags(1) == {'sensor': 'b'}
        assert after.descriptions == ('class',)
        assert (after.crs, after.transform, after.nodata) == (
            before.crs,
            before.transform,
            before.nodata,
        )
        assert after.block_shapes == [(512, 512)] or after.height < 512
    assert (tmp_path / 'o.qml').read_text() == (tmp_path / 'map.qml').read_text()
    copied = (tmp_path / 'o.tif.aux.xml').read_text()
    assert ET.canonicalize(copied, strip_text=True) == ET.canonicalize(table, strip_text=True)
    assert (tmp_path / 'sure.tif').read_bytes() == confidence
    scene.with_suffix('.qml').unlink()
    sieve_map(scene, tmp_path / 'o.tif', min_area_m2=5)
    assert not (tmp_path / 'o.qml').exists()
    assert not list(tmp_path.glob('.*'))


def test_a_cloud_optimised_map_stays_one(write_scene: Write, tmp_path: Path) -> None:
    cogeo = pytest.importorskip('rio_cogeo.cogeo', reason='rio-cogeo is not installed')
    labels = np.repeat(np.repeat(blobs(150, 150), 4, 0), 4, 1)[None]
    write_scene(labels, 'plain.tif')
    rasterio.shutil.copy(tmp_path / 'plain.tif', tmp_path / 'map.tif', driver='COG')
    made = sieve_map(tmp_path / 'map.tif', tmp_path / 'o.tif', min_pixels=100)
    assert cogeo.cog_validate(made.path, strict=True)[0]


def test_bad_input_is_named_and_leaves_nothing(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(blobs(20, 20)[None], 'map.tif')
    floats = write_scene(np.zeros((1, 9, 9), np.float32), 'f.tif')
    ids = write_scene(np.zeros((1, 9, 9), np.int32), 'i.tif')
    nowhere = write_scene(np.zeros((1, 9, 9), np.uint8), 'n.tif', crs=None)
    before = sorted(tmp_path.iterdir())
    out = tmp_path / 'o.tif'
    for options, source, kind, message in [
        ({'min_pixels': 5}, tmp_path / 'no.tif', SceneNotFoundError, 'no.tif'),
        ({'min_pixels': 5}, floats, SceneError, r'f.tif has 1 band\(s\) of float32'),
        ({'min_pixels': 5}, ids, SceneError, 'i.tif has int32: expected class ids in uint8'),
        (
            {'min_area_m2': 5},
            nowhere,
            ConfigError,
            'n.tif: .*no georeference: give the unit in pixels',
        ),
        ({}, scene, ConfigError, 'min_area_m2 is None, min_pixels is None: expected one'),
        ({'min_pixels': 5, 'min_area_m2': 5}, scene, ConfigError, 'expected one of the two'),
        ({'min_pixels': 0}, scene, ConfigError, 'unit is 0: expected numbers above 0'),
        ({'min_pixels': float('nan')}, scene, ConfigError, 'unit is nan'),
        (
            {'min_pixels': {'road': 5}},
            scene,
            ConfigError,
            'because the map has no class names',
        ),
        ({'min_pixels': {256: 5}}, scene, ConfigError, 'class 256: expected an id from 0 to 255'),
    ]:
        with pytest.raises(kind, match=message):
            sieve_map(source, out, **options)
    with pytest.raises(ConfigError, match='choose another name'):
        sieve_map(scene, scene, min_pixels=5)
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_leaves_the_map_that_was_there(write_scene: Write, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 200, (1, 300, 300), np.uint8)
    scene = write_scene(noise, 'map.tif')
    (tmp_path / 'o.tif').write_text('before')
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(WriteError, match=r'o.tif cannot be written .*free disk space'):
            sieve_map(scene, tmp_path / 'o.tif', min_pixels={7: 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / 'o.tif').read_text() == 'before'
    assert {path.name for path in tmp_path.iterdir()} == {'map.tif', 'o.tif'}


@pytest.mark.usefixtures('unchecked')
def test_pixels_touch_in_4_or_8_directions(write_scene: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='connectivity is 6: expected 4 or 8'):
        sieve_map(
            write_scene(blobs(20, 20)[None]), tmp_path / 'o.tif', min_pixels=5, connectivity=6
        )


@pytest.mark.parametrize(('connectivity', 'number'), [(4, 6), (8, 2)])
def test_corners_connect_regions_if_asked(connectivity: int, number: int) -> None:
    labels = np.array([[1, 2, 1], [2, 1, 1], [1, 2, 2]])
    assert components(labels, connectivity=connectivity)[1] == number


def test_world_maps_whose_rim_is_off_the_globe_are_sieved(
    write_scene: Write, tmp_path: Path
) -> None:
    labels = np.ones((1, 181, 362), np.uint8)
    labels[:, 60:64, 100:104] = 2
    scene = write_scene(
        labels, crs='ESRI:54009', transform=Affine(1e5, 0, -1.81e7, 0, -1e5, 9_050_000)
    )
    made = sieve_map(scene, tmp_path / 'o.tif', min_area_m2=2e11)  # 20 pixels
    assert (made.merged, made.left) == (1, 0)
