"""Backbones, adapters and decoders; `crossearth.models` needs torch and timm only."""

from crossearth.models.builders import fpn_timm, rein_vit_fpn
from crossearth.models.checkpoint import (
    ModelInfo,
    frozen_names,
    load_model,
    read_model_info,
    save_model,
)
from crossearth.models.deformable import MultiScaleDeformableAttention, deformable_attention
from crossearth.models.dinov2 import convert_dinov2
from crossearth.models.features import Backbone, Decoder, Features
from crossearth.models.fpn import FPNDecoder
from crossearth.models.geospatial import GeospatialSemanticExtractor, Injector
from crossearth.models.mask2former import Mask2FormerDecoder, MaskPredictions
from crossearth.models.mask_classification import MaskLosses, mask_losses
from crossearth.models.pixel_decoder import (
    DeformablePixelDecoder,
    PixelFeatures,
    sine_positions,
)
from crossearth.models.pretrained import create_timm, load_weights, read_weights
from crossearth.models.pyramid import TimmPyramid
from crossearth.models.rein import Adapter, LoRARein, Rein
from crossearth.models.rein_vit import ReinViT
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Recipe, Segmenter
from crossearth.models.style import (
    GhiasiTransformer,
    MobileStylePredictor,
    StylePredictor,
    load_style_predictor,
    load_style_transformer,
)

__all__ = [
    'IMAGENET_MEAN',
    'IMAGENET_STD',
    'Adapter',
    'Backbone',
    'Decoder',
    'DeformablePixelDecoder',
    'FPNDecoder',
    'Features',
    'GeospatialSemanticExtractor',
    'GhiasiTransformer',
    'Injector',
    'LoRARein',
    'Mask2FormerDecoder',
    'MaskLosses',
    'MaskPredictions',
    'MobileStylePredictor',
    'ModelInfo',
    'MultiScaleDeformableAttention',
    'PixelFeatures',
    'Recipe',
    'Rein',
    'ReinViT',
    'Segmenter',
    'StylePredictor',
    'TimmPyramid',
    'convert_dinov2',
    'create_timm',
    'deformable_attention',
    'fpn_timm',
    'frozen_names',
    'load_model',
    'load_style_predictor',
    'load_style_transformer',
    'load_weights',
    'mask_losses',
    'read_model_info',
    'read_weights',
    'rein_vit_fpn',
    'save_model',
    'sine_positions',
]
