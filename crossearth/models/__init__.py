"""Backbones, adapters and decoders; `crossearth.models` needs torch and timm only."""

from crossearth.models.features import Backbone, Features
from crossearth.models.style import (
    GhiasiTransformer,
    MobileStylePredictor,
    StylePredictor,
    load_style_predictor,
    load_style_transformer,
)

__all__ = [
    'Backbone',
    'Features',
    'GhiasiTransformer',
    'MobileStylePredictor',
    'StylePredictor',
    'load_style_predictor',
    'load_style_transformer',
]
