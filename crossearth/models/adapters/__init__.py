"""Adapters: trainable parts that refine the features of a frozen transformer."""

from crossearth.models.adapters.contract import Adapter
from crossearth.models.adapters.geospatial import GeospatialSemanticExtractor, Injector
from crossearth.models.adapters.rein import LoRARein, Rein

__all__ = ['Adapter', 'GeospatialSemanticExtractor', 'Injector', 'LoRARein', 'Rein']
