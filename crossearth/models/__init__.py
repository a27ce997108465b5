"""Backbones, adapters and decoders; `crossearth.models` needs torch and timm only."""

from crossearth.models.builders import (
    crossearth_rvsa_large,
    crossearth_vit_base,
    crossearth_vit_large,
    crossearth_vit_small,
    fpn_timm,
    frozen_vit_large,
    rein_vit_fpn,
    rein_vit_large,
)
from crossearth.models.crossearth import CrossEarth
from crossearth.models.deformable import MultiScaleDeformableAttention, deformable_attention
from crossearth.models.dinov2 import convert_dinov2, dinov2_vit
from crossearth.models.features import Backbone, Decoder, Features
from crossearth.models.fpn import FPNDecoder
from crossearth.models.freezing import (
    frozen_marks,
    frozen_names,
    other_marks,
    rest_frozen,
)
from crossearth.models.geospatial import GeospatialSemanticExtractor, Injector
from crossearth.models.losses import dice_loss, pixel_losses
from crossearth.models.mask2former import Mask2FormerDecoder, MaskPredictions
from crossearth.models.mask_classification import MaskLosses, mask_losses
from crossearth.models.pixel_decoder import (
    DeformablePixelDecoder,
    PixelFeatures,
    sine_positions,
)
from crossearth.models.pyramid import TimmPyramid
from crossearth.models.rein import Adapter, LoRARein, Rein
from crossearth.models.rein_vit import ReinViT
from crossearth.models.restorer import LinearRestorer, MultiStageASPP, SharedASPP
from crossearth.models.rvsa import RVSA, load_mtp, resize_mtp, rvsa_vit_base, rvsa_vit_large
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Recipe, Segmenter
from crossearth.models.style import (
    GhiasiTransformer,
    MobileStylePredictor,
    StylePredictor,
    load_style_predictor,
    load_style_transformer,
)
from crossearth.models.weights.checkpoint import (
    ModelInfo,
    load_model,
    read_model_info,
    save_model,
)
from crossearth.models.weights.pretrained import create_timm, load_weights
from crossearth.models.weights.reading import read_weights
from crossearth.models.weights.released import CrossEarth_Weights, ReleasedFile

__all__ = [
    'IMAGENET_MEAN',
    'IMAGENET_STD',
    'RVSA',
    'Adapter',
    'Backbone',
    'CrossEarth',
    'CrossEarth_Weights',
    'Decoder',
    'DeformablePixelDecoder',
    'FPNDecoder',
    'Features',
    'GeospatialSemanticExtractor',
    'GhiasiTransformer',
    'Injector',
    'LinearRestorer',
    'LoRARein',
    'Mask2FormerDecoder',
    'MaskLosses',
    'MaskPredictions',
    'MobileStylePredictor',
    'ModelInfo',
    'MultiScaleDeformableAttention',
    'MultiStageASPP',
    'PixelFeatures',
    'Recipe',
    'Rein',
    'ReinViT',
    'ReleasedFile',
    'Segmenter',
    'SharedASPP',
    'StylePredictor',
    'TimmPyramid',
    'convert_dinov2',
    'create_timm',
    'crossearth_rvsa_large',
    'crossearth_vit_base',
    'crossearth_vit_large',
    'crossearth_vit_small',
    'deformable_attention',
    'dice_loss',
    'dinov2_vit',
    'fpn_timm',
    'frozen_marks',
    'frozen_names',
    'frozen_vit_large',
    'load_model',
    'load_mtp',
    'load_style_predictor',
    'load_style_transformer',
    'load_weights',
    'mask_losses',
    'other_marks',
    'pixel_losses',
    'read_model_info',
    'read_weights',
    'rein_vit_fpn',
    'rein_vit_large',
    'resize_mtp',
    'rest_frozen',
    'rvsa_vit_base',
    'rvsa_vit_large',
    'save_model',
    'sine_positions',
]
