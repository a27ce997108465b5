"""A scene on disk, described by its header."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import rasterio
from affine import Affine
from pyproj import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from crossearth.errors import BandError, LabelError, SceneError, SceneNotFoundError

__all__ = ['Scene', 'open_raster', 'read_scene']


@dataclass(frozen=True, slots=True)
class Scene:
    """One image, its mask if it has one, and where it lies.

    Args:
        image: Path of the image.
        mask: Path of its mask, of the same size; None where there are no labels.
        crs: Native CRS; None without georeferencing, coordinates are never invented.
        transform: `(col, row)` → `(x, y)` in the CRS, float64; the identity without georeferencing.
        height: Rows.
        width: Columns.
        bands: 1-based numbers of the bands to read, in the order that samples have them.
        dtype: Type of the pixels, by numpy's name.
        nodata: Value of pixels without data, in every band; None where the file names none.
        domain: Name of the domain that the scene belongs to.
        split: `'train'`, `'val'`, `'test'`, or empty.
    """

    image: str
    mask: str | None
    crs: CRS | None
    transform: Affine
    height: int
    width: int
    bands: tuple[int, ...]
    dtype: str
    nodata: float | None
    domain: str = ''
    split: str = ''

    @property
    def bounds_xy(self) -> tuple[float, float, float, float]:
        """Least x, least y, greatest x, greatest y of the outer pixel edges, in the CRS's units."""
        corners = [
            self.transform @ corner
            for corner in ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        ]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def open_raster(path: str | os.PathLike[str]) -> rasterio.DatasetReader:
    """A rasterio handle, with errors that name the file and the remedy.

    Raises:
        SceneNotFoundError: If there is no such file.
        SceneError: If the file is no raster, or is truncated in its header.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        try:
            return rasterio.open(path)
        except RasterioError as error:
            name = os.fspath(path)
            remote = name.startswith('/vsi') or '://' in name
            if not remote and not Path(name).exists():
                raise SceneNotFoundError(f'{name}: no such file; check the path') from error
            raise SceneError(
                f'{name}: not a readable raster ({error}); expected a format that GDAL reads, '
                'such as GeoTIFF, PNG, JPEG or WebP: fetch or export the file again'
            ) from error


def read_scene(
    image: str | os.PathLike[str],
    mask: str | os.PathLike[str] | None = None,
    *,
    bands: tuple[int, ...] | None = None,
    domain: str = '',
    split: str = '',
) -> Scene:
    """A scene from the headers of its files; no pixel is read.

    Args:
        image: Path of the image, in any format that GDAL reads.
        mask: Path of its mask.
        bands: 1-based bands to read, in order; None for all but alpha.
        domain: Name of the domain.
        split: Name of the split.

    Raises:
        SceneNotFoundError: If a file is missing.
        SceneError: If a file is no raster.
        BandError: If the image lacks one of the bands.
        LabelError: If the mask is of another size than the image.
    """
    with open_raster(image) as source:
        colours = source.colorinterp
        if bands is None:
            bands = tuple(i for i, role in enumerate(colours, 1) if role != ColorInterp.alpha)
        missing = [band for band in bands if not 1 <= band <= source.count]
        if missing or not bands:
            raise BandError(
                f'{os.fspath(image)}: has {source.count} band(s), but bands {bands} were asked '
                f'for: choose from 1 to {source.count}'
            )
        scene = Scene(
            image=os.fspath(image),
            mask=None if mask is None else os.fspath(mask),
            crs=None if source.crs is None else CRS.from_wkt(source.crs.to_wkt()),
            transform=source.transform,
            height=source.height,
            width=source.width,
            bands=bands,
            dtype=source.dtypes[bands[0] - 1],
            nodata=source.nodata,
            domain=domain,
            split=split,
        )
    if mask is not None:
        with open_raster(mask) as labels:
            if (labels.height, labels.width) != (scene.height, scene.width):
                raise LabelError(
                    f'{os.fspath(mask)}: the mask is {labels.height}x{labels.width} pixels, but '
                    f'its image {scene.image} is {scene.height}x{scene.width}: pair each image '
                    'with the mask that was drawn on it'
                )
    return scene
