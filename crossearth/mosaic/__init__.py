"""Merges many maps into one.

`mosaic_maps` reads the headers of the maps (`sources`), chooses a common grid (`grid`), reads the
maps on that grid (`reading`) and decides each pixel by a rule (`rules`). A mosaic can also be a
virtual raster that only refers to its maps (`virtual`).
"""

from crossearth.mosaic.mosaicking import Mosaic, mosaic_maps
from crossearth.mosaic.rules import Rule
from crossearth.mosaic.sources import is_mosaic

__all__ = ['Mosaic', 'Rule', 'is_mosaic', 'mosaic_maps']
