"""Writes scenes of the synthetic Earth: whole files, and the same bytes every time."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from jaxtyping import UInt8
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from crossearth.labels import IGNORE_INDEX, ISPRS

__all__ = ['write_pair', 'write_picture']

_COLOURS: Final = {
    'red': ColorInterp.red,
    'green': ColorInterp.green,
    'blue': ColorInterp.blue,
    'nir': ColorInterp.nir,
}


def write_pair(
    image_path: Path,
    mask_path: Path,
    image: UInt8[np.ndarray, 'c h w'],
    mask: UInt8[np.ndarray, 'h w'],
    *,
    bands: tuple[str, ...],
    crs: str,
    transform: Affine,
) -> None:
    """Writes an image and its mask as tiled GeoTIFFs.

    Both are complete before either takes its final name, the mask first: no image lacks its mask.

    Args:
        image_path: Where the image goes; folders are made.
        mask_path: Where the mask goes.
        image: 8-bit values, (c, h, w).
        mask: ISPRS class ids, (h, w).
        bands: Name of each band of the image: red, green, blue or nir.
        crs: CRS of both.
        transform: Upper-left pixel corner and pixel size of both.
    """
    grid = {'crs': crs, 'transform': transform}
    with _beside(image_path) as new_image, _beside(mask_path) as new_mask:
        with _open(new_image, image, **grid, photometric='MINISBLACK', predictor=2) as file:
            file.write(image)
            file.descriptions = bands
            file.colorinterp = [_COLOURS[band] for band in bands]
        with _open(new_mask, mask[None], **grid, nodata=IGNORE_INDEX) as file:
            file.write(mask, 1)
            file.descriptions = ('class',)
            file.write_colormap(1, {i: (*ISPRS.palette[i], 255) for i in range(ISPRS.num_classes)})


def write_picture(path: Path, image: UInt8[np.ndarray, 'c h w']) -> None:
    """Writes an image of three bands as PNG, without georeferencing.

    Args:
        path: Where it goes; folders are made.
        image: 8-bit values, (3, h, w).
    """
    with _beside(path) as new, warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)  # it is meant to have none
        count, height, width = image.shape
        with rasterio.open(
            new, 'w', driver='PNG', dtype='uint8', count=count, height=height, width=width
        ) as file:
            file.write(image)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A path beside the final one; the file moves there when all went well, and goes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f'.{path.name}.{os.getpid()}.part')  # no *.tif, should the process die
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _open(path: Path, values: np.ndarray, **options: Any) -> Any:
    count, height, width = values.shape
    return rasterio.open(
        path,
        'w',
        driver='GTiff',
        dtype='uint8',
        count=count,
        height=height,
        width=width,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        interleave='pixel',
        compress='deflate',
        zlevel=6,
        num_threads=1,
        **options,
    )
