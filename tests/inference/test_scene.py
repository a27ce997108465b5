"""What a model sees of a scene: values, bands and nodata, as a dataset trains it on them."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from torch import Tensor

from crossearth.datasets import SceneDataset, read_scene
from crossearth.errors import BandError, ConfigError
from crossearth.geometry import Window, window_grid
from crossearth.inference import Running, View, Windows, predict_scene
from crossearth.labels import ISPRS
from crossearth.radiometry import to_unit
from crossearth.rasters import RasterReader
from tests.inference.test_predict import OneHot, Write, labels_of, random_image

HEIGHT, WIDTH, TILE = 61, 74, 32
UTM = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
PLACES: dict[str, dict[str, Any]] = {
    'nowhere': {},
    'utm': {'crs': 'EPSG:32633', 'transform': UTM},
    'another zone': {'crs': 'EPSG:32632', 'transform': Affine(0.5, 0, 8e5, 0, -0.5, 5.8e6)},
    'rotated': {'crs': 'EPSG:32633', 'transform': UTM @ Affine.rotation(27)},
    'sheared': {'crs': 'EPSG:32633', 'transform': UTM @ Affine.shear(5)},
    'south up': {'crs': 'EPSG:32733', 'transform': Affine(0.5, 0, 4e5, 0, 0.5, 5.8e6)},
    'degrees': {'crs': 'EPSG:4326', 'transform': Affine(7e-6, 0, 13.4, 0, -4e-6, 52.5)},
    'antimeridian': {'crs': 'EPSG:4326', 'transform': Affine(5e-6, 0, 179.9998, 0, -5e-6, -17)},
    'polar': {'crs': 'EPSG:3031', 'transform': Affine(0.5, 0, -20, 0, -0.5, 15)},
    'gcps': {
        'crs': 'EPSG:4326',
        'gcps': [
            GroundControlPoint(row, col, 13.4 + 7e-6 * col + 1e-6 * row, 52.5 - 4e-6 * row)
            for row in (0, 30, 61)
            for col in (0, 40, 74)
        ],
    },
}
DTYPES = ('uint8', 'uint16', 'int16', 'int32', 'float32', 'float64')


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, Any]:
    dtype = draw(st.sampled_from(DTYPES))
    place = draw(st.sampled_from(list(PLACES)))
    bands = draw(st.integers(1, 4))
    hidden = draw(st.sampled_from(['nothing', 'nodata', 'sentinel', 'mask', 'alpha']))
    if hidden == 'alpha' and dtype not in ('uint8', 'uint16'):
        hidden = 'mask'
    if hidden == 'sentinel' and dtype.startswith('u'):
        hidden = 'nodata'
    return {
        'dtype': dtype,
        'place': place,
        'bands': bands,
        'hidden': hidden,
        'gsd': None if place == 'nowhere' else draw(st.sampled_from([None, 0.31, 0.45, 0.8, 1.7])),
        'ranged': dtype not in ('uint8', 'uint16') or draw(st.booleans()),
        'seed': draw(st.integers(0, 99)),
        'row': draw(st.integers(-9, 50)),
        'col': draw(st.integers(-9, 60)),
    }


def write(path: Path, case: dict[str, Any]) -> None:
    rng = np.random.default_rng(case['seed'])
    dtype, bands = np.dtype(case['dtype']), case['bands']
    pixels = rng.integers(0, 250, (bands, HEIGHT, WIDTH)).astype(dtype)
    pixels[:, 20:35, 30:50] = 0
    options: dict[str, Any] = dict(PLACES[case['place']])
    hole = rng.random((HEIGHT, WIDTH)) < 0.05
    if case['hidden'] == 'nodata':
        options['nodata'] = 0
    elif case['hidden'] == 'sentinel':
        options['nodata'] = -9999
        pixels[rng.integers(bands), hole] = -9999  # in one band only
    elif case['hidden'] == 'alpha':
        shown = np.where(hole, 0, np.iinfo(dtype).max).astype(dtype)
        pixels = np.concatenate([pixels, shown[None]])
    if dtype.kind == 'f' and case['seed'] % 2:
        pixels[0, hole] = np.nan
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        with rasterio.open(
            path, 'w', driver='GTiff', dtype=dtype, count=len(pixels), height=HEIGHT, width=WIDTH,
            photometric='minisblack', **options,
        ) as target:  # fmt: skip
            if case['hidden'] == 'alpha':
                colours = [rasterio.enums.ColorInterp.undefined] * bands
                target.colorinterp = [*colours, rasterio.enums.ColorInterp.alpha]
            target.write(pixels)
            if case['hidden'] == 'mask':
                target.write_mask(~hole)


@settings(max_examples=60, deadline=None)
@given(case=scenes())
def test_models_are_mapped_on_the_pixels_they_are_trained_on(case: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / 'a.tif'
        write(path, case)
        value_range = (-20.0, 3000.0) if case['ranged'] else None
        scene = read_scene(path, value_range=value_range)
        data = SceneDataset([scene], ISPRS, dtype='unit', gsd_m=case['gsd'])
        handed: list[Tensor] = []

        def model(images: Tensor) -> Tensor:
            handed.extend(images.clone())
            return torch.cat([images[:, :1], -images[:, :1]], dim=1)

        predict_scene(
            model,
            path,
            Path(folder) / 'map.tif',
            windows=Windows(tile_px=TILE, overlap=0.25),
            running=Running(batch_size=1),
            view=View(gsd_m=case['gsd'], value_range=value_range),
        )
        raster, reader = data.scenes[0].raster, RasterReader()
        assert len(raster.bands) == case['bands']
        grid = window_grid(0, raster.height, raster.width, tile_px=TILE, stride_px=24)
        expected = []
        for window in grid:
            _, valid = reader.read(raster, window)
            if valid is None or valid.any():
                expected.append(data[window]['image'])
        # one black window goes in before the first, to see how many classes come out
        assert len(handed) - len(expected) in (0, 1)
        for got, wanted in zip(handed[len(handed) - len(expected) :], expected, strict=True):
            assert torch.equal(got, wanted)

        window = Window(0, case['row'], case['col'], 17, 23)
        if window.row < raster.height and window.col < raster.width:
            whole, part = data[0]['image'], data[window]['image']
            top, left = max(window.row, 0), max(window.col, 0)
            bottom, right = min(window.stop[0], raster.height), min(window.stop[1], raster.width)
            assert torch.equal(
                part[
                    :,
                    top - window.row : bottom - window.row,
                    left - window.col : right - window.col,
                ],
                whole[:, top:bottom, left:right],
            )
        reader.close()


def test_nodata_of_values_masks_alpha_and_nan_comes_out_as_nodata(
    write_scene: Write, one_hot: OneHot, tmp_path: Path
) -> None:
    hole = np.zeros((40, 50), bool)
    hole[5:30, 10:33] = True

    image = random_image(40, 50) // 2 + 1
    image[:, hole] = 0
    image[0, 0, 0] = 0  # one band at its nodata value is still data
    by_value = write_scene(image, 'value.tif', nodata=0)

    rgba = np.concatenate([image, np.where(hole, 0, 200).astype(np.uint8)[None]])
    by_alpha = write_scene(rgba, 'alpha.tif', photometric='rgb', alpha='yes')

    by_mask = write_scene(image, 'mask.tif')
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(by_mask, 'r+') as dataset,
    ):
        dataset.write_mask(~hole)

    floats = (image / 255).astype(np.float32)
    floats[1, hole] = np.nan
    by_nan = write_scene(floats, 'nan.tif')

    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return torch.stack([images[:, 0], images[:, 1]], 1)

    for scene in (by_value, by_alpha, by_mask, by_nan):
        made = predict_scene(model, scene, tmp_path / 'map.tif', windows=Windows(tile_px=64))
        np.testing.assert_array_equal(labels_of(made.path) == 255, hole, scene.name)
        assert (seen[-1][0][:, torch.from_numpy(hole)] == 0).all()
        assert seen[-1].shape[1] == 3


def test_values_are_scaled_by_data_type_or_by_the_range_given(
    write_scene: Write, tmp_path: Path
) -> None:
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return torch.cat([images, -images], 1)

    def first_values(values: list[float], dtype: str, **options: Any) -> list[float]:
        scene = write_scene(np.array(values, dtype).reshape(1, 1, -1))
        predict_scene(model, scene, tmp_path / 'map.tif', view=View(**options))
        assert seen[-1].dtype == torch.float32
        return seen[-1].flatten().tolist()

    assert first_values([0, 51, 255], 'uint8') == pytest.approx([0, 0.2, 1])
    assert first_values([0, 13107, 65535], 'uint16') == pytest.approx([0, 0.2, 1])
    scaled = first_values([-100, 0, 1000, 4000], 'int16', value_range=(0, 2000))
    assert scaled == pytest.approx([0, 0, 0.5, 1])
    scaled = first_values([200, 300, 400], 'uint16', value_range=(200, 400))
    assert scaled == pytest.approx([0, 0.5, 1])
    assert first_values([0, 0.25, 1], 'float64') == pytest.approx([0, 0.25, 1])
    # as in training
    values = np.array([-100, 0, 8192, 32767], np.int16)
    assert first_values(values.tolist(), 'int16') == to_unit(torch.from_numpy(values)).tolist()
    with pytest.raises(ConfigError, match=r'values from 0 to 3000, expected \[0, 1\]'):
        first_values([0, 3000], 'float32')
    with pytest.raises(ConfigError, match=r'value_range is \(5\.0, 5\.0\)'):
        first_values([0, 1], 'uint8', value_range=(5, 5))


def test_bands_are_chosen_in_the_order_asked(write_scene: Write, tmp_path: Path) -> None:
    image = np.stack([np.full((4, 4), value, np.uint8) for value in (51, 102, 153, 204)])
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return images

    predict_scene(model, write_scene(image), tmp_path / 'map.tif', view=View(bands=(4, 1, 2)))
    assert seen[-1][0, :, 0, 0].tolist() == pytest.approx([0.8, 0.2, 0.4])


def test_bands_are_found_by_their_descriptions_or_colours(
    write_scene: Write, tmp_path: Path
) -> None:
    seen: list[Tensor] = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return images

    def given(bands: tuple[str, ...], titles: tuple[str, ...], count: int) -> list[int]:
        image = np.stack([np.full((4, 4), 50 + band, np.uint8) for band in range(1, count + 1)])
        scene = write_scene(image, photometric='rgb')
        with rasterio.open(scene, 'r+') as dataset:
            for band, title in enumerate(titles, start=1):
                dataset.set_band_description(band, title)
        predict_scene(model, scene, tmp_path / 'map.tif', view=View(bands=bands))
        return (seen[-1][0, :, 0, 0] * 255 - 50).round().int().tolist()

    assert given(('NIR', 'red'), ('', '', '', 'nir'), 4) == [4, 1]
    assert given(('blue', 'green', 'red'), (), 3) == [3, 2, 1]
    assert given(('IR', 'R', 'G'), (), 3) == [1, 2, 3]  # none is known, and they are as many
    with pytest.raises(
        BandError, match='has the bands red, green, blue, but nir, red, green were asked for'
    ):
        given(('nir', 'red', 'green'), (), 3)
