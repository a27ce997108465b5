import numpy as np
import pytest

from crossearth.datasets import read_style_images
from crossearth.errors import BandError, SceneNotFoundError


def test_images_of_any_size_keep_their_mean(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (('a', (64, 64)), ('b', (40, 100))):
        write_raster(f'{name}.tif', rng.integers(0, 255, (3, *size), np.uint8))
    stack = read_style_images(tmp_path, size_px=32)
    assert stack.shape == (2, 3, 32, 32)
    assert stack.float().mean() == pytest.approx(127, abs=3)


def test_a_limit_takes_images_from_the_whole_folder(write_raster, tmp_path):
    for i in range(9):
        write_raster(f'{i}.tif', np.full((3, 8, 8), 10 * i, np.uint8))
    stack = read_style_images(tmp_path, size_px=8, limit=3)
    assert stack[:, 0, 0, 0].tolist() == [0, 40, 80]


def test_images_that_are_no_pictures_are_named(write_raster, tmp_path):
    with pytest.raises(SceneNotFoundError, match='holds no images'):
        read_style_images(tmp_path)
    write_raster('grey.tif', np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(BandError, match=r'grey\.tif: 1 band\(s\) of uint8, expected three'):
        read_style_images(tmp_path)
