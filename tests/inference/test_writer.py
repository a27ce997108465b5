import resource
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.crs import CRS
from torch import Tensor

from crossearth.errors import ConfigError, WriteError
from crossearth.inference import Outputs, View, Windows, predict_scene
from crossearth.inference.writer import Layer, RasterWriter, whole_file, write_text
from crossearth.labels import ISPRS
from crossearth.rasters import Georeference
from tests.inference.test_predict import OneHot, Write, labels_of, random_ids


def test_cloud_optimised_maps_are_valid_and_hold_the_same(
    write_scene: Write, one_hot: Callable[[int], Callable[[Tensor], Tensor]], tmp_path: Path
) -> None:
    cogeo = pytest.importorskip('rio_cogeo.cogeo', reason='rio-cogeo is not installed')
    ids = np.repeat(np.repeat(random_ids(140, 150), 8, 1), 8, 2)
    scene = write_scene(ids)
    made = predict_scene(
        one_hot(6),
        scene,
        tmp_path / 'map.tif',
        labels=ISPRS,
        outputs=Outputs(cog=True, confidence=tmp_path / 'c.tif'),
    )
    for path in (made.path, tmp_path / 'c.tif'):
        valid, errors, warnings = cogeo.cog_validate(path, strict=True)
        assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(made.path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), ids[0])
        assert dataset.overviews(1) == [2, 4]
        np.testing.assert_array_equal(
            dataset.read(1, out_shape=(280, 300)), ids[0][::4, ::4]
        )  # fmt: skip
        assert dataset.colormap(1)[1] == (0, 0, 255, 255)
        assert dataset.tags()['CLASS_3'] == 'tree'
        assert dataset.nodata == 255
        assert dataset.transform == rasterio.open(scene).transform
    assert {path.name for path in tmp_path.iterdir()} == {
        'scene.tif',
        'map.tif',
        'map.tif.aux.xml',
        'map.qml',
        'c.tif',
    }


def test_georeferencing_of_all_kinds_survives_cloud_optimisation(
    write_scene: Write, real_data: Path, tmp_path: Path
) -> None:
    cogeo = pytest.importorskip('rio_cogeo.cogeo', reason='rio-cogeo is not installed')

    def model(images: Tensor) -> Tensor:
        return torch.stack([images.mean(1), 1 - images.mean(1)], 1) - 0.5

    for file in sorted((real_data / 'georef').glob('*.tif')):
        with rasterio.open(file) as before:
            floats = before.dtypes[0].startswith('float')
            made = predict_scene(
                model,
                file,
                tmp_path / 'map.tif',
                view=View(value_range=(0, 100) if floats else None),
                outputs=Outputs(cog=True),
                windows=Windows(overlap=0),
            )
            with rasterio.open(made.path) as after:
                assert after.crs == before.crs, file.name
                assert after.transform == before.transform, file.name
                assert after.gcps == before.gcps, file.name
            assert cogeo.cog_validate(made.path, strict=True)[0], file.name


def test_map_has_colours_names_nodata_and_512_blocks(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    made = predict_scene(
        one_hot(6), write_scene(random_ids(600, 700)), tmp_path / 'map.tif', labels=ISPRS
    )
    with rasterio.open(made.path) as dataset:
        assert dataset.colormap(1)[1] == (0, 0, 255, 255)
        assert dataset.colormap(1)[255] == (0, 0, 0, 0)
        assert dataset.tags()['CLASS_3'] == 'tree'
        assert dataset.nodata == 255
        assert dataset.dtypes == ('uint8',)
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.compression.value == 'DEFLATE'
    assert (made.height, made.width, made.num_classes, made.windows) == (600, 700, 6, 4)


def test_more_than_255_classes_are_written_in_16_bits(write_scene: Write, tmp_path: Path) -> None:
    def last_class(images: Tensor) -> Tensor:
        logits = torch.zeros((images.shape[0], 300, *images.shape[2:]))
        logits[:, 299] = images[:, 0]
        return logits

    scene = write_scene(np.full((1, 5, 5), 9, np.uint8))
    with pytest.raises(ConfigError, match='nodata is 255, but the class ids are 0 to 299'):
        predict_scene(last_class, scene, tmp_path / 'map.tif')
    made = predict_scene(last_class, scene, tmp_path / 'map.tif', outputs=Outputs(nodata=65535))
    assert labels_of(made.path).dtype == np.uint16
    assert (labels_of(made.path) == 299).all()


def test_statistics_of_a_map_that_is_replaced_go_with_it(tmp_path: Path) -> None:
    path, sidecar = tmp_path / 'map.tif', tmp_path / 'map.tif.aux.xml'
    sidecar.write_text('of the old map')
    with whole_file(path) as temporary:
        temporary.write_text('new')
        assert sidecar.exists()  # as long as the old map is there
    assert path.read_text() == 'new'
    assert not sidecar.exists()
    with whole_file(path) as temporary:
        temporary.write_text('newer')
        temporary.with_name(sidecar.name).write_text('of the newer map')
    assert sidecar.read_text() == 'of the newer map'


def test_overviews_and_masks_of_a_map_that_is_replaced_go_with_it(
    write_scene: Write, one_hot: Callable[[int], Callable[[Tensor], Tensor]], tmp_path: Path
) -> None:
    path = tmp_path / 'map.tif'
    for value in (1, 2):
        ids = np.full((1, 64, 64), value, np.uint8)
        predict_scene(one_hot(3), write_scene(ids), path)
        with rasterio.open(path) as dataset:
            assert (dataset.read(1, out_shape=(16, 16)) == value).all()
            assert dataset.read_masks(1).all()
        with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, 'r+') as dataset:
            dataset.build_overviews([2, 4])
        with rasterio.open(write_scene(np.zeros_like(ids), 'map.tif.msk'), 'r+') as mask:
            mask.update_tags(INTERNAL_MASK_FLAGS_1='2')
        assert (tmp_path / 'map.tif.ovr').exists()
    with pytest.raises(ZeroDivisionError), whole_file(path):
        raise ZeroDivisionError
    assert len(list(tmp_path.glob('map.tif.*'))) == 2  # they belong to the map that is still there


def test_a_failure_keeps_the_old_map_and_its_statistics(tmp_path: Path) -> None:
    path, sidecar = tmp_path / 'map.tif', tmp_path / 'map.tif.aux.xml'
    path.write_text('old')
    sidecar.write_text('of the old map')
    with pytest.raises(ZeroDivisionError), whole_file(path) as temporary:
        temporary.write_text('new')
        temporary.with_name(sidecar.name).write_text('of the new map')
        raise ZeroDivisionError
    assert (path.read_text(), sidecar.read_text()) == ('old', 'of the old map')
    assert len(list(tmp_path.iterdir())) == 2


def test_an_error_while_a_map_is_written_closes_the_file(tmp_path: Path) -> None:
    layer = Layer('uint8', 1, None, {}, {})
    place = Georeference(CRS.from_epsg(32633).to_wkt(), Affine(0.5, 0, 4e5, 0, -0.5, 5e6))
    writer = RasterWriter(
        tmp_path / 'map.tif', height=40, width=30, layer=layer, georeference=place
    )
    with pytest.raises(ZeroDivisionError), writer:
        raise ZeroDivisionError
    assert writer._dataset.closed


def test_a_full_disk_and_a_folder_in_the_way_are_errors_that_name_the_file(
    tmp_path: Path,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        with (
            pytest.raises(WriteError, match=r'page.html cannot be written .*free disk space'),
            whole_file(tmp_path / 'page.html') as temporary,
        ):
            write_text(temporary, 'x' * 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())
    (tmp_path / 'page.html').mkdir()
    with (
        pytest.raises(WriteError, match=r'page.html cannot be replaced .*Is a directory'),
        whole_file(tmp_path / 'page.html') as temporary,
    ):
        write_text(temporary, 'x')
    assert [path.name for path in tmp_path.iterdir()] == ['page.html']
