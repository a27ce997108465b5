"""The one way from a file to pixels on a grid, for training, for scoring and for mapping.

A file's `Header` is read once. `describe_raster` turns it into a `Raster`, which states what is
read of the file: bands, values, what hides pixels, and its georeference. `resampled` sees a raster
in square pixels on the ground, along its own axes where these allow it, and `scaled` always along
its own axes. `RasterReader` reads windows of any of them, in exactly one way, and the labels that
belong to them.
"""

from crossearth.rasters.alpha import Alpha, hides_pixels
from crossearth.rasters.cell_areas import CellAreas
from crossearth.rasters.georeference import (
    Georeference,
    GroundToPixels,
    PixelsToGround,
    ground_gsd,
    transformer_between,
)
from crossearth.rasters.globe import nearest_turn, turn_of
from crossearth.rasters.ground_grid import local_metric_crs, resampled
from crossearth.rasters.headers import Header, HeaderCache, cache_folder, read_header
from crossearth.rasters.masks import Mask, describe_mask
from crossearth.rasters.opening import gdal_environment, open_raster
from crossearth.rasters.raster import Raster, describe_raster
from crossearth.rasters.reading import RasterReader, colours_of
from crossearth.rasters.scaled_grid import scaled
from crossearth.rasters.vector_labels import VectorLabels

__all__ = [
    'Alpha',
    'CellAreas',
    'Georeference',
    'GroundToPixels',
    'Header',
    'HeaderCache',
    'Mask',
    'PixelsToGround',
    'Raster',
    'RasterReader',
    'VectorLabels',
    'cache_folder',
    'colours_of',
    'describe_mask',
    'describe_raster',
    'gdal_environment',
    'ground_gsd',
    'hides_pixels',
    'local_metric_crs',
    'nearest_turn',
    'open_raster',
    'read_header',
    'resampled',
    'scaled',
    'transformer_between',
    'turn_of',
]
