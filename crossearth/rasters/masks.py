"""Mask files, and their place on their images."""

import dataclasses
import functools
import os
from dataclasses import dataclass

import numpy as np
from pyproj import CRS

from crossearth.errors import ConfigError, LabelError
from crossearth.rasters.georeference import (
    Georeference,
    GroundToPixels,
    PixelsToGround,
    apply_affine,
)
from crossearth.rasters.headers import HeaderCache, read_header
from crossearth.rasters.positions import PixelMap
from crossearth.rasters.raster import Raster

__all__ = ['Mask', 'describe_mask']

_SAME_PX = 0.05  # masks this close to their image's pixels are read pixel by pixel
_ROUGHLY_SAME_PX = 1.0  # world files of one grid may differ by half a pixel: corners or centres
_EDGE_POINTS = 5
_SHARE_POINTS = 64  # per side


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask file.

    Args:
        path: Path of the file.
        height: Rows.
        width: Columns.
        georeference: Georeference of the mask.
        on_image: Whether its pixels are those of its image's file. If not, they lie where its
            georeference places them, and each pixel of the image takes the nearest.
    """

    path: str
    height: int
    width: int
    georeference: Georeference
    on_image: bool

    def map_from(self, raster: Raster) -> PixelMap:
        """Convert pixels of an image to pixels of the mask, over the ground.

        Args:
            raster: The image, on its file's own grid or resampled to one on the ground.
        """
        to_ground: PixelMap
        # both meet in the CRS of one of them, so that only one of the two conversions projects
        if raster.native is not None and raster.crs is not None:
            meeting = raster.crs
            to_ground = functools.partial(apply_affine, raster.transform)
        else:
            meeting = self.georeference.require_tie(self.path)
            to_ground = PixelsToGround(raster.georeference, meeting, name=raster.path)
        to_mask = GroundToPixels(
            self.georeference, meeting, height=self.height, width=self.width, name=self.path
        )
        return lambda cols, rows: to_mask(*to_ground(cols, rows))

    def covered_share(self, raster: Raster) -> float:
        """Share of the image that the mask lies on, to a few hundredths; 1 if on its pixels.

        Args:
            raster: The image, on its file's own grid.
        """
        if self.on_image:
            return 1.0
        middles = (np.arange(_SHARE_POINTS) + 0.5) / _SHARE_POINTS
        rows, cols = np.meshgrid(middles * raster.height, middles * raster.width, indexing='ij')
        at_cols, at_rows = self.map_from(raster)(cols.ravel(), rows.ravel())
        # points that cannot be projected are NaN, and so on no mask
        inside = (at_cols > 0) & (at_cols < self.width) & (at_rows > 0) & (at_rows < self.height)
        return float(inside.mean())


def describe_mask(
    path: str | os.PathLike[str], raster: Raster, *, cache: HeaderCache | None = None
) -> Mask:
    """The mask of an image, from its header.

    A mask that has a georeference lies where that places it, whatever its resolution, offset and
    CRS. Masks without one lie pixel on pixel, and so do those of images without one. A transform
    without a CRS, such as that of a world file, is taken to be in the CRS of the image; if it is
    within a pixel of the image's, the mask lies pixel on pixel.

    Args:
        path: Path of the mask.
        raster: The image, on its file's own grid.
        cache: Cache of headers.

    Raises:
        SceneNotFoundError: If the mask is missing.
        SceneError: If it is not a raster.
        LabelError: If it lies elsewhere, or has no georeference and another size.
    """
    name = os.fspath(path)
    header = read_header(name) if cache is None else cache.get(name)
    place, size = header.georeference, (header.height, header.width)
    same_size = size == (raster.height, raster.width)
    near_px = _SAME_PX
    if place.tie is None and place.has_transform and raster.georeference.tie == 'transform':
        place = dataclasses.replace(place, crs_wkt=raster.georeference.crs_wkt)
        near_px = _ROUGHLY_SAME_PX
    if place.tie is None or raster.georeference.tie is None:
        if not same_size:
            raise LabelError(
                f'{name}: the mask is {header.height}x{header.width} pixels, but its image '
                f'{raster.path} is {raster.height}x{raster.width}, and '
                f'{"the mask" if place.tie is None else "the image"} has no georeference to place '
                'it by: pair each image with the mask that was drawn on it'
            )
        _check_offset(name, place, raster)
        return Mask(name, *size, place, on_image=True)
    if same_size and place == raster.georeference:
        return Mask(name, *size, place, on_image=True)
    mask = Mask(name, *size, place, on_image=False)
    try:
        cols, rows = _grid_of(raster)
        at_cols, at_rows = mask.map_from(raster)(cols, rows)
    except ConfigError as error:
        raise LabelError(
            f'{name}: cannot be placed on its image {raster.path} ({error}): export both in one CRS'
        ) from error
    known = np.isfinite(at_cols) & np.isfinite(at_rows)
    off_px = np.hypot(at_cols - cols, at_rows - rows)[known]
    if same_size and known.any() and off_px.max() < near_px:
        return Mask(name, *size, place, on_image=True)
    if not known.any() or (
        at_cols[known].min() >= header.width
        or at_cols[known].max() <= 0
        or at_rows[known].min() >= header.height
        or at_rows[known].max() <= 0
    ):
        raise LabelError(
            f'{name}: lies at {_where(place, *size, name)}, but its image {raster.path} at '
            f'{_where(raster.georeference, raster.height, raster.width, raster.path)}: pair each '
            'image with a mask of the same place'
        )
    return mask


def _check_offset(name: str, place: Georeference, raster: Raster) -> None:
    """Raise if a mask's transform differs from its image's, where a CRS is missing."""
    image = raster.georeference
    if not (place.has_transform and image.has_transform):
        return
    cols, rows = _grid_of(raster)
    at_cols, at_rows = apply_affine(~place.transform @ image.transform, cols, rows)
    off_px = float(np.hypot(at_cols - cols, at_rows - rows).max())
    if off_px >= _ROUGHLY_SAME_PX:
        raise LabelError(
            f'{name}: by its transform, the mask lies up to {off_px:.1f} pixels from its image '
            f'{raster.path}, and the image has no CRS to place it by: pass the CRS of the images '
            "(crs='EPSG:...'), or remove the transform of the mask if it is wrong"
        )


def _grid_of(raster: Raster) -> tuple[np.ndarray, np.ndarray]:
    """Points spread over an image, in its pixels."""
    rows, cols = np.meshgrid(
        np.linspace(0, raster.height, _EDGE_POINTS),
        np.linspace(0, raster.width, _EDGE_POINTS),
        indexing='ij',
    )
    return cols.ravel(), rows.ravel()


def _where(place: Georeference, height: int, width: int, name: str) -> str:
    crs = place.require_tie(name)
    corners = np.array([0.0, width, 0.0, width]), np.array([0.0, 0.0, height, height])
    x, y = PixelsToGround(place, crs, name=name)(*corners)
    lon, lat = PixelsToGround(place, CRS.from_epsg(4326), name=name)(*corners)
    return (
        f'x {x.min():.9g} to {x.max():.9g}, y {y.min():.9g} to {y.max():.9g} in {crs.name} '
        f'(longitude {lon.mean():.4f}, latitude {lat.mean():.4f})'
    )
