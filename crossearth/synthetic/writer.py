"""Writes scenes of the synthetic Earth: complete files, with the same bytes every time."""

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

    Both are complete before either gets its final name, the mask first, so no image lacks its mask.

    Args:
        image_path: Path of the image; folders are created.
        mask_path: Path of the mask.
        image: 8-bit values, (c, h, w).
        mask: ISPRS class ids, (h, w).
        bands: Name of each band of the image: red, green, blue or nir.
        crs: CRS of both.
        transform: Upper-left pixel corner and pixel size of both.
    """
    grid = {'crs': crs, 'transform': transform}
    # The inner block ends first, so the mask gets its name before the image.
    with _beside(image_path) as new_image, _beside(mask_path) as new_mask:
        # By default GDAL takes any three bands of bytes for red, green and blue.
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
        path: Path of the file; folders are created.
        image: 8-bit values, (3, h, w).
    """
    with _beside(path) as new, warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)  # intended here
        count, height, width = image.shape
        with rasterio.open(
            new, 'w', driver='PNG', dtype='uint8', count=count, height=height, width=width
        ) as file:
            file.write(image)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary path next to the final one; the file moves there on success, or is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f'.{path.name}.{os.getpid()}.part')  # not *.tif, if the process dies
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
