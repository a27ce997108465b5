"""Adapters: few trainable parameters that adapt a frozen backbone.

Some refine the features of a transformer after each block, or of a hierarchy after each stage:
`Rein`, `LoRARein`, `EarthAdapter`, `Gate`. Others change the weights of layers: `LoRA`, `SoMA`.
"""

from crossearth.models.adapters.contract import Adapter
from crossearth.models.adapters.earth import EarthAdapter, low_frequencies, split_frequencies
from crossearth.models.adapters.gate import (
    Gate,
    Gated,
    add_toolbox,
    choose,
    gated_modules,
    importance,
)
from crossearth.models.adapters.geospatial import GeospatialSemanticExtractor, Injector
from crossearth.models.adapters.layers import (
    DenseLayer,
    Stage,
    dense_layers,
    layer_depths,
    pyramid_stages,
)
from crossearth.models.adapters.low_rank import LoRA, SoMA, add_lora, add_soma, merge
from crossearth.models.adapters.rein import LoRARein, Rein
from crossearth.models.adapters.stages import RefinedStage, refine_stages

__all__ = [
    'Adapter',
    'DenseLayer',
    'EarthAdapter',
    'Gate',
    'Gated',
    'GeospatialSemanticExtractor',
    'Injector',
    'LoRA',
    'LoRARein',
    'RefinedStage',
    'Rein',
    'SoMA',
    'Stage',
    'add_lora',
    'add_soma',
    'add_toolbox',
    'choose',
    'dense_layers',
    'gated_modules',
    'importance',
    'layer_depths',
    'low_frequencies',
    'merge',
    'pyramid_stages',
    'refine_stages',
    'split_frequencies',
]
