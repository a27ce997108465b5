"""A model is mapped on the pixels that a dataset trains it on, byte for byte."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from torch import Tensor

from crossearth.datasets import SceneDataset, read_scene
from crossearth.geometry import Window, window_grid
from crossearth.inference import Running, View, Windows, predict_scene
from crossearth.labels import ISPRS
from crossearth.rasters import RasterReader

HEIGHT, WIDTH, TILE = 61, 74, 32
UTM = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
PLACES: dict[str, dict[str, Any]] = {
    'nowhere': {},
    'utm': {'crs': 'EPSG:32633', 'transform': UTM},
    'another zone': {'crs': 'EPSG:32632', 'transform': Affine(0.5, 0, 8e5, 0, -0.5, 5.8e6)},
    'rotated': {'crs': 'EPSG:32633', 'transform': UTM @ Affine.rotation(27)},
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


@settings(max_examples=120, deadline=None)
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
            return torch.cat([images[:, :1], 1 - images[:, :1]], dim=1)

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
