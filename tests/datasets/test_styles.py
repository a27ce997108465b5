import numpy as np
import pytest
import torch

from crossearth.datasets import FolderDataset, read_scene_styles, read_style_images
from crossearth.errors import BandError, SceneError, SceneNotFoundError
from crossearth.labels import ISPRS


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


def test_styles_of_scenes_are_the_middles_of_what_training_sees(write_raster, tmp_path):
    for name, value in (('a', 500), ('b', 0), ('c', 1000)):
        pixels = np.full((4, 600, 600), value, np.uint16)
        pixels[:, :20] = 60_000  # outside of the middle
        write_raster(f'{name}.tif', pixels)
    scenes = FolderDataset(
        tmp_path, labels=ISPRS, bands=(4, 1), dtype='unit', value_range={'uint16': (0, 2000)}
    )
    stack = read_scene_styles(scenes, size_px=16)
    assert stack.shape == (2, 2, 16, 16)  # the black image gives no style
    assert stack.mean((1, 2, 3)).tolist() == pytest.approx([0.25, 0.5])
    native = FolderDataset(tmp_path, labels=ISPRS, value_range={'uint16': (0, 2000)})
    assert torch.allclose(read_scene_styles(native, size_px=16)[:, :2], stack)
    assert len(read_scene_styles(scenes, limit=1)) == 1


def test_scenes_of_black_alone_have_no_style(write_raster, tmp_path):
    write_raster('a.tif', np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(SceneError, match='1 scenes hold only black'):
        read_scene_styles(FolderDataset(tmp_path, labels=ISPRS))


def test_a_truncated_png_gives_no_style(write_raster, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (3, 300, 300), np.uint8)
    path = write_raster('a.png', noise, crs=None, driver='PNG')
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SceneError, match=r'a\.png: cannot be read .* damaged: fetch it again'):
        read_style_images(tmp_path, size_px=300)
