from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from crossearth.cli import main

type Write = Callable[..., Path]


@pytest.fixture
def scene(write_raster: Write) -> Path:
    """A field with regions of 1, 4 and 9 pixels of class 1 and of 2 of class 2; .25 m² each."""
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 2, 2] = labels[0, 5:7, 5:7] = labels[0, 10:13, 10:13] = 1
    labels[0, 16, 3:5] = 2
    path = write_raster('map.tif', labels)
    with rasterio.open(path, 'r+') as file:
        file.update_tags(CLASS_0='background', CLASS_1='building', CLASS_2='car')
    return path


@pytest.mark.parametrize(
    ('words', 'merged', 'pixels'),
    [
        (['--min-area-m2', '1.1'], 3, 9),
        (['--min-area-m2', 'building=1.1'], 2, 11),
        (['--min-pixels', 'building=2', 'car=3'], 2, 13),
        (['--min-pixels', '1=10'], 3, 2),
        (['--min-pixels', '2', '--connectivity', '8'], 1, 15),
    ],
)
def test_small_regions_go(
    scene: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    merged: int,
    pixels: int,
) -> None:
    assert main(['sieve', str(scene), str(tmp_path / 'o.tif'), *words]) == 0
    assert f'o.tif: {merged} small regions took the class' in capsys.readouterr().out
    with rasterio.open(tmp_path / 'o.tif') as made:
        assert np.count_nonzero(made.read(1)) == pixels


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['5', 'car=3'], 'given more than once'),
        (['car=3', 'car=4'], 'given more than once'),
        (
            ['car=5', 'CAR=3'],
            "class 2 has two units, the second one by 'CAR': pass each class once",
        ),
        (['1=5', 'building=3'], "class 1 has two units, the second one by 'building'"),
        (['tree=4'], "no class is named 'tree': expected background, building, car"),
        (['7=4'], 'no class has the id 7: expected one of 0 background, 1 building, 2 car'),
    ],
)
def test_units_that_have_no_meaning_are_refused(
    scene: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    out = tmp_path / 'o.tif'
    assert main(['sieve', str(scene), str(out), '--min-pixels', *words]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_words_that_are_not_numbers_are_named(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match='2'):
        main(['sieve', str(scene), 'o.tif', '--min-area-m2', 'much'])
    assert "'much': expected a number, or CLASS=NUMBER" in capsys.readouterr().err
