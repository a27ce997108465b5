"""Unlabelled images as a stack, for their styles."""

import os

import numpy as np
import torch
from jaxtyping import UInt8
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from torch import Tensor

from crossearth.datasets.folder import list_rasters
from crossearth.errors import BandError, SceneError
from crossearth.rasters import open_raster

__all__ = ['read_style_images']


def read_style_images(
    folder: str | os.PathLike[str], *, size_px: int = 128, limit: int | None = None
) -> UInt8[Tensor, 'n 3 s s']:
    """Images below a folder, each as one square: shrunk as a whole, its lowest frequencies kept.

    Args:
        folder: Folder of images of 8 bits.
        size_px: Side of the squares.
        limit: Most images that are read, spread evenly over the folder; None for all.

    Raises:
        SceneNotFoundError: If the folder is missing or empty.
        BandError: If an image has fewer than three bands, or is not of 8 bits.
        SceneError: If an image is damaged.
    """
    files = list_rasters(folder)
    if limit is not None and limit < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
    squares = []
    for path in files:
        with open_raster(path) as source:
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
