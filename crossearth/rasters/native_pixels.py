"""Conversions between the pixels of a resampled raster and those of its file."""

from crossearth.rasters.georeference import GroundToPixels, PixelsToGround, apply_affine
from crossearth.rasters.positions import PixelMap
from crossearth.rasters.raster import Raster

__all__ = ['from_native', 'to_native']


def to_native(raster: Raster) -> PixelMap:
    """From columns and rows of a resampled raster to those of its file.

    Raises:
        ConfigError: If it lies on the ground, and its file is not georeferenced.
    """
    native = raster.native
    assert native is not None
    if raster.steps_px is not None:
        down, across = raster.steps_px
        # no half pixel to add: both grids count from the same corner, not from pixel centres
        return lambda cols, rows: (cols * across, rows * down)
    assert raster.crs is not None
    to_pixels = GroundToPixels(
        native.georeference,
        raster.crs,
        height=native.height,
        width=native.width,
        name=native.path,
    )
    transform = raster.transform
    return lambda cols, rows: to_pixels(*apply_affine(transform, cols, rows))


def from_native(raster: Raster) -> PixelMap:
    """From columns and rows of a file to those of a raster of it, resampled or not.

    Raises:
        ConfigError: If it lies on the ground, and its file is not georeferenced.
    """
    native = raster.native
    if native is None:
        return lambda cols, rows: (cols, rows)
    if raster.steps_px is not None:
        down, across = raster.steps_px
        return lambda cols, rows: (cols / across, rows / down)
    assert raster.crs is not None
    to_ground = PixelsToGround(native.georeference, raster.crs, name=native.path)
    to_model = ~raster.transform
    return lambda cols, rows: apply_affine(to_model, *to_ground(cols, rows))
