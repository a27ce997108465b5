"""Many maps become one."""

from crossearth.mosaic.mosaicking import Mosaic, mosaic_maps
from crossearth.mosaic.rules import Rule
from crossearth.mosaic.sources import is_mosaic

__all__ = ['Mosaic', 'Rule', 'is_mosaic', 'mosaic_maps']
