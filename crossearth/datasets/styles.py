"""Unlabelled images as a stack, to take styles from."""

import os

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from crossearth.datasets.files import list_rasters
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.errors import BandError, SceneError
from crossearth.geometry import Window
from crossearth.radiometry import to_unit
from crossearth.rasters import gdal_environment, open_raster

__all__ = ['read_scene_styles', 'read_style_images']

_WINDOW_PX = 512


def read_style_images(
    folder: str | os.PathLike[str], *, size_px: int = 128, limit: int | None = None
) -> UInt8[Tensor, 'n 3 s s']:
    """Images below a folder, each shrunk to one square that keeps its lowest frequencies.

    Args:
        folder: Folder of images of 8 bits.
        size_px: Side of the squares.
        limit: Maximum number of images to read, spread evenly over the folder; None for all.

    Raises:
        SceneNotFoundError: If the folder is missing or empty.
        BandError: If an image has fewer than three bands, or does not have 8 bits.
        SceneError: If an image is damaged.
    """
    files = list_rasters(folder)
    if limit is not None and limit < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
    squares = []
    for path in files:
        with gdal_environment(), open_raster(path) as source:
            if source.count < 3 or source.dtypes[0] != 'uint8':
                raise BandError(
                    f'{path}: {source.count} band(s) of {source.dtypes[0]}, expected three of '
                    'uint8: export style images as 8-bit RGB'
                )
            try:
                pixels = source.read(
                    [1, 2, 3], out_shape=(3, size_px, size_px), resampling=Resampling.average
                )
            except RasterioError as error:
                raise SceneError(
                    f'{path}: cannot be read ({error}); the file is damaged: fetch it again'
                ) from error
        squares.append(torch.from_numpy(pixels))
    return torch.stack(squares)


def read_scene_styles(
    scenes: SceneDataset, *, size_px: int = 128, limit: int = 256
) -> Float32[Tensor, 'n c s s']:
    """The middle of each scene, up to 512 px wide, averaged to one square; values in [0, 1].

    Scenes without data there are left out.

    Args:
        scenes: The scenes, of which all bands are read.
        size_px: Side of the squares.
        limit: Maximum number of scenes to read, spread evenly over the dataset.

    Raises:
        SceneError: If no scene holds data, or one cannot be read.
    """
    count = min(limit, len(scenes))
    squares = []
    for i in np.linspace(0, len(scenes) - 1, count).round().astype(int).tolist():
        scene = scenes.scenes[i]
        height, width = min(scene.height, _WINDOW_PX), min(scene.width, _WINDOW_PX)
        row, col = (scene.height - height) // 2, (scene.width - width) // 2
        pixels = scenes[Window(i, row, col, height, width)]['image']
        known = scene.raster.value_range if scenes.dtype != 'unit' else None
        image = to_unit(pixels, value_range=known)
        if image.any():
            squares.append(adaptive_avg_pool2d(image, size_px))
    if not squares:
        raise SceneError(f'{count} scenes hold only black in their middle: no style to read')
    return torch.stack(squares)
