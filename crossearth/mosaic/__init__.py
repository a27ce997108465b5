"""Many maps become one."""

from crossearth.mosaic.mosaicking import Mosaic, mosaic_maps
from crossearth.mosaic.rules import Rule

__all__ = ['Mosaic', 'Rule', 'mosaic_maps']
