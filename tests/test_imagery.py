"""What a model was trained on goes with it, and decides how it is shown a scene."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import ConfigError
from crossearth.imagery import Imagery, imagery_of
from crossearth.inference import View, Windows, estimate_scene, predict_scene
from crossearth.labels import ROAD
from crossearth.models import fpn_timm, load_model, save_model
from crossearth.rasters import Raster, open_raster
from crossearth.resolution import GsdEstimate

type Write = Callable[..., Path]
COARSE = Affine(1.0, 0, 400_000, 0, -1.0, 5_800_000)


def test_a_model_of_one_distance_sees_every_scene_at_it() -> None:
    known = Imagery(gsd_m=1.0)
    assert known.gsd_for((0.21, 0.21)) == 1.0
    assert known.gsd_for((3.0, 3.0)) == 1.0
    with pytest.raises(ConfigError, match=r"trained at 1 m .*--gsd 0\.21.*gsd_m='native'"):
        known.gsd_for(None)
    assert Imagery().gsd_for(None) is None


def test_a_model_of_a_range_sees_scenes_within_it_as_they_are() -> None:
    known = Imagery(gsd_m=0.6, gsd_range_m=(0.3, 1.2))
    assert known.gsd_for((0.61, 0.59)) is None
    assert known.gsd_for((0.4, 0.9)) == pytest.approx(0.6)  # square ones of the same area
    assert known.gsd_for((0.1, 0.1)) == pytest.approx(0.6)  # what it knows best
    assert known.gsd_for((2.0, 2.0)) == pytest.approx(0.6)
    for near, far in ((0.295, 0.29), (1.22, 1.23)):  # the ends are meant to 2 %
        assert known.gsd_for((near, near)) is None
        assert known.gsd_for((far, far)) == pytest.approx(0.6)
    stated = Imagery(gsd_m=0.5, gsd_range_m=(0.3, 1.2))
    assert stated.gsd_for((0.1, 0.1)) == 0.5
    assert stated.gsd_for((0.4, 0.9)) == pytest.approx(0.6)


def test_the_distance_travels_from_the_dataset_through_the_file_into_the_map(
    write_raster: Write, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for i in range(2):
        write_raster(f'i/{i}.tif', rng.integers(0, 255, (3, 70, 70), np.uint8), transform=COARSE)
        write_raster(f'm/{i}.tif', rng.integers(0, 2, (1, 70, 70), np.uint8), transform=COARSE)
    data = ShiftDataModule(
        FolderDataset(tmp_path / 'i', tmp_path / 'm', labels=ROAD), size_px=32, windows_per_epoch=4
    )
    assert data.gsd_m == pytest.approx(1.0, rel=1e-3)
    assert data.gsd_range_m is None
    path = save_model(
        fpn_timm('resnet10t', num_classes=2, width=8), tmp_path / 'm.safetensors', labels=ROAD,
        gsd_m=data.gsd_m, gsd_range_m=data.gsd_range_m,
    )  # fmt: skip
    model = load_model(path)
    assert imagery_of(model).gsd_m == data.gsd_m
    assert imagery_of(model).labels == ROAD

    fine = write_raster('fine.tif', rng.integers(0, 255, (3, 300, 300), np.uint8))  # 0.5 m
    told = predict_scene(
        model,
        fine,
        tmp_path / 'told.tif',
        view=View(gsd_m=data.gsd_m),
        windows=Windows(tile_px=64),
        labels=ROAD,
    )
    made = predict_scene(model, fine, tmp_path / 'made.tif', windows=Windows(tile_px=64))
    native = predict_scene(
        model, fine, tmp_path / 'native.tif', windows=Windows(tile_px=64), view=View(gsd_m='native')
    )
    assert made.windows == told.windows < native.windows
    with rasterio.open(made.path) as ours, rasterio.open(told.path) as theirs:
        np.testing.assert_array_equal(ours.read(), theirs.read())
        assert ours.tags()['CLASS_1'] == 'road'
    assert (
        estimate_scene(model, fine, windows=Windows(tile_px=64)).model_height == 150
    )  # scaled along its own axes
    assert (
        estimate_scene(
            model, fine, windows=Windows(tile_px=64), view=View(gsd_m='native')
        ).model_height
        == 300
    )

    nowhere = write_raster('n.tif', rng.integers(0, 255, (3, 70, 70), np.uint8), crs=None)
    with pytest.raises(ConfigError, match=r"n\.tif: the model was trained at .*gsd_m='native'"):
        predict_scene(model, nowhere, tmp_path / 'no.tif')
    assert predict_scene(model, nowhere, tmp_path / 'no.tif', view=View(gsd_m='native')).complete


def test_a_source_of_several_distances_gives_a_range(write_raster: Write, tmp_path: Path) -> None:
    for i, size in enumerate((0.3, 0.5, 1.2)):
        place = Affine(size, 0, 400_000, 0, -size, 5_800_000)
        pixels = np.ones((3, 40, 40), np.uint8)
        write_raster(f'i/{i}.tif', pixels, transform=place)
        write_raster(f'm/{i}.tif', pixels[:1], transform=place)
    data = FolderDataset(tmp_path / 'i', tmp_path / 'm', labels=ROAD)
    module = ShiftDataModule(data, size_px=32, windows_per_epoch=4)
    assert module.gsd_range_m == pytest.approx((0.3, 1.2), rel=1e-3)
    assert module.gsd_m == pytest.approx(0.6, rel=1e-3)
    alike = FolderDataset(tmp_path / 'i', tmp_path / 'm', labels=ROAD, gsd_m=0.5)
    module = ShiftDataModule(alike, size_px=16, windows_per_epoch=4, pad=True)
    assert (module.gsd_m, module.gsd_range_m) == (0.5, None)
    assert torch.is_tensor(alike[0]['image'])


def test_a_stated_distance_stands_in_for_a_georeference(
    write_raster: Write, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (3, 90, 70), np.uint8)
    bright = torch.nn.Conv2d(3, 2, 1)
    torch.nn.init.constant_(bright.weight, 1.0)
    bright.weight.data[0] *= -1
    torch.nn.init.constant_(bright.bias, 0.0)
    bright.bias.data[1] = -2.9
    bright.imagery = Imagery(labels=ROAD, gsd_m=1.0)  # type: ignore[assignment]  # as of load_model
    windows = Windows(tile_px=32)
    placed = write_raster('placed.tif', pixels)  # 0.5 m
    wrong = write_raster('wrong.tif', pixels, transform=COARSE @ Affine.scale(3))
    plain = write_raster('plain.png', pixels, crs=None, driver='PNG')
    stated = View(scene_gsd_m=0.5, return_by='bilinear')
    maps = {}
    for name, source, view in (
        ('placed', placed, View(return_by='bilinear')),
        ('wrong', wrong, stated),
        ('plain', plain, stated),
    ):
        made = predict_scene(
            bright, source, tmp_path / f'{name}-map.tif', view=view, windows=windows
        )
        with open_raster(made.path) as result, open_raster(source) as scene:
            maps[name] = result.read(1)
            assert (result.crs, result.transform) == (scene.crs, scene.transform)
    assert 0.1 < maps['plain'].mean() < 0.9
    np.testing.assert_array_equal(maps['plain'], maps['wrong'])
    assert (maps['plain'] != maps['placed']).mean() < 0.02  # metres of UTM, and of the ground
    assert estimate_scene(bright, plain, view=stated).model_height == 45

    class Guess:
        name = 'always half a metre'

        def __call__(self, raster: Raster) -> GsdEstimate:
            assert raster.path == str(plain)
            return GsdEstimate(0.5, None, None, 1, '')

    guessed = View(scene_gsd_m=Guess(), return_by='bilinear')
    assert guessed.describe()['scene_gsd_m'] == 'always half a metre'
    predict_scene(bright, plain, tmp_path / 'guess.tif', view=guessed, windows=windows)
    with open_raster(tmp_path / 'guess.tif') as result:
        np.testing.assert_array_equal(result.read(1), maps['plain'])
    assert estimate_scene(bright, wrong, view=guessed).model_height == 270  # the georeference says
    with pytest.raises(ConfigError, match=r'scene_gsd_m is -1: expected metres'):
        View(scene_gsd_m=-1)


def test_a_folder_of_plain_images_is_resampled_by_its_stated_distance(
    write_raster: Write, tmp_path: Path
) -> None:
    pixels = np.ones((3, 60, 40), np.uint8)
    for name in ('i/a.png', 'm/a.png'):
        write_raster(name, pixels[: 3 if name[0] == 'i' else 1], crs=None, driver='PNG')
    data = FolderDataset(tmp_path / 'i', tmp_path / 'm', labels=ROAD, native_gsd_m=0.2, gsd_m=1.0)
    assert data[0]['image'].shape == (3, 12, 8)
    assert ShiftDataModule(data, size_px=8, windows_per_epoch=4).gsd_m == 1.0
    own = FolderDataset(tmp_path / 'i', tmp_path / 'm', labels=ROAD, native_gsd_m=0.2)
    assert ShiftDataModule(own, size_px=8, windows_per_epoch=4).gsd_m == pytest.approx(0.2)
