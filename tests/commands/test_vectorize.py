from collections.abc import Callable
from pathlib import Path

import fiona
import numpy as np
import pytest

from crossearth.cli import main

type Write = Callable[..., Path]


def test_polygons_of_a_map(
    write_raster: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 4:9, 4:9] = 1
    written = tmp_path / 'o.gpkg'
    words = ['vectorize', str(write_raster('map.tif', labels)), str(written)]
    assert main([*words, '--labels', 'isprs', '--classes', '1']) == 0
    assert f'{written}: 1 polygons, 0 smaller ones left out' in capsys.readouterr().out
    with fiona.open(written) as file:
        (polygon,) = file
        assert polygon['properties']['class'] == 'building'
        assert polygon['properties']['area_m2'] == pytest.approx(25 * 0.25, rel=2e-3)


def test_smaller_polygons_are_counted(
    write_raster: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 4, 4] = 1
    words = ['vectorize', str(write_raster('map.tif', labels)), str(tmp_path / 'o.gpkg')]
    assert main([*words, '--min-area-m2', '1']) == 0
    assert '1 polygons, 1 smaller ones left out' in capsys.readouterr().out


def test_buildings_with_right_angles_are_counted(
    write_raster: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.zeros((1, 60, 60), np.uint8)
    labels[0, 10:40, 10:40] = 1
    labels[0, 10:14, 10:14] = 0
    words = ['vectorize', str(write_raster('map.tif', labels)), str(tmp_path / 'o.gpkg')]
    options = ['--labels', 'isprs', '--classes', 'Building', '--square-m', '1']
    assert main([*words, *options]) == 0
    assert '1 polygons, 1 of them with right angles, 0 smaller' in capsys.readouterr().out


def test_centre_lines_of_a_map(
    write_raster: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('skimage', reason='scikit-image is not installed')
    labels = np.zeros((1, 60, 100), np.uint8)
    labels[0, 20:28] = 1
    words = ['vectorize', str(write_raster('map.tif', labels)), str(tmp_path / 'o.gpkg')]
    assert main([*words, '--labels', 'road', '--centre-lines']) == 0
    assert '1 lines, 0.05 km, 0 spurs and short lines left out' in capsys.readouterr().out
    assert main([*words, '--centre-lines', '1', '--min-length-m', '60']) == 0
    assert '0 lines, 0.00 km, 1 spurs' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--centre-lines', '--square-m', '1'], '--square-m is for polygons'),
        (['--centre-lines', '--classes', '1'], '--classes is for polygons'),
        (['--min-length-m', '5'], '--min-length-m only works with --centre-lines'),
    ],
)
def test_options_of_polygons_and_lines_do_not_mix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(['vectorize', 'map.tif', str(tmp_path / 'o.gpkg'), *options]) == 2
    assert message in capsys.readouterr().err
