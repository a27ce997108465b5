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
