from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from crossearth.cli import main

type Write = Callable[..., Path]


def test_a_folder_of_maps_becomes_one(
    write_raster: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'maps').mkdir()
    (tmp_path / 'sure').mkdir()
    for i in range(2):
        place = Affine(0.5, 0, 400_000 + 5 * i, 0, -0.5, 5_000_000)
        ids = np.full((1, 20, 20), i, np.uint8)
        write_raster(f'maps/{i}.tif', ids, nodata=255, transform=place)
        write_raster(f'sure/{i}.tif', ids, nodata=255, transform=place)
    out = tmp_path / 'maps' / 'all.tif'
    words = ['mosaic', str(tmp_path / 'maps'), str(out), '--rule', 'confidence', '--quiet']
    words += ['--confidences', str(tmp_path / 'sure'), '--labels', 'road']
    for _ in range(2):  # the mosaic of the first time is not one of the maps
        assert main(words) == 0
        told = capsys.readouterr().out
        assert f'{out}: 2 maps, by confidence' in told
        assert '30 × 20 px of 0.5 (metre), WGS 84 / UTM zone 33N' in told
        assert 'background     200   50.0 m²' in told
    with rasterio.open(out) as dataset:
        assert dataset.read(1)[0].tolist() == [0] * 10 + [1] * 20


def test_other_mosaics_in_the_folder_of_maps_are_not_maps_unless_they_are_alone(
    write_raster: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ('maps', 'mosaics', 'maps/sure'):
        (tmp_path / folder).mkdir()
    for i in range(2):
        place = Affine(0.5, 0, 400_000 + 5 * i, 0, -0.5, 5_000_000)
        write_raster(f'maps/{i}.tif', np.full((1, 20, 20), i, np.uint8), transform=place)
        sure = np.full((1, 20, 20), 100 * i, np.uint8)
        write_raster(f'maps/sure/{i}.tif', sure, transform=place)
    maps, mosaics = (str(tmp_path / folder) for folder in ('maps', 'mosaics'))
    words = ['--rule', 'confidence', '--confidences', f'{maps}/sure', '--quiet']
    assert main(['mosaic', maps, f'{maps}/all.tif', *words]) == 0
    assert 'all.tif: 2 maps, by confidence' in capsys.readouterr().out
    assert main(['mosaic', maps, f'{mosaics}/again.tif', *words]) == 0
    told = capsys.readouterr().out
    assert 'again.tif: 2 maps, by confidence' in told
    assert f'left out other mosaics in the folder of the maps: {maps}/all.tif' in told
    assert main(['mosaic', mosaics, str(tmp_path / 'whole.tif'), '--quiet']) == 0
    assert 'whole.tif: 1 maps, by centre' in capsys.readouterr().out


def test_a_mosaic_without_a_name_does_not_replace_the_last_map(
    write_raster: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = []
    for i in range(3):
        place = Affine(0.5, 0, 400_000 + 5 * i, 0, -0.5, 5_000_000)
        ids = np.full((1, 20, 20), i, np.uint8)
        maps.append(write_raster(f'{i}.tif', ids, nodata=255, transform=place))
        with rasterio.open(maps[-1], 'r+') as dataset:
            dataset.update_tags(TIFFTAG_SOFTWARE='crossearth')  # as every map that we write
    former = maps[-1].read_bytes()
    assert main(['mosaic', *map(str, maps), '--quiet']) == 2
    told = capsys.readouterr().err
    assert '2.tif exists and is not a mosaic' in told
    assert 'the last path is the mosaic to write' in told
    assert maps[-1].read_bytes() == former
    for name in ('all.tif', 'all.vrt'):
        words = [*map(str, maps), str(tmp_path / name), '--rule', 'first', '--quiet']
        assert [main(['mosaic', *words]) for _ in range(2)] == [0, 0]  # a mosaic is replaced
    (tmp_path / 'all.tif').write_bytes(former[:100])  # as is a damaged file
    assert main(['mosaic', *map(str, maps), str(tmp_path / 'all.tif'), '--quiet']) == 0


def test_maps_that_do_not_fit_are_one_line(
    write_raster: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = np.zeros((1, 20, 20), np.uint8)
    words = ['mosaic', str(write_raster('a.tif', ids)), str(tmp_path / 'all.vrt')]
    assert main([*words, '--quiet']) == 2
    assert "crossearth: rule is 'centre', but a VRT can only stack" in capsys.readouterr().err
