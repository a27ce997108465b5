"""Decoders: features in, logits or a restored image out, and the losses that train them.

A decoder fulfils the contract `Decoder` in `crossearth.models.features`. Those that classify pixels
derive from `PerPixelDecoder` and share its losses; `Mask2FormerDecoder` predicts masks and matches
them to the labels. Restorers turn the same features back into an image, for multi-task training.
"""

from crossearth.models.decoders.daformer import DAFormerDecoder
from crossearth.models.decoders.deeplab import DeepLabV2Decoder, DeepLabV3Decoder
from crossearth.models.decoders.deformable import (
    MultiScaleDeformableAttention,
    deformable_attention,
)
from crossearth.models.decoders.fpn import FPNDecoder
from crossearth.models.decoders.losses import cross_entropy, dice_loss, pixel_losses
from crossearth.models.decoders.mask2former import Mask2FormerDecoder, MaskPredictions
from crossearth.models.decoders.mask_classification import MaskLosses, mask_losses
from crossearth.models.decoders.mlp import MLPDecoder
from crossearth.models.decoders.per_pixel import PerPixelDecoder
from crossearth.models.decoders.pixel_decoder import (
    DeformablePixelDecoder,
    PixelFeatures,
    sine_positions,
)
from crossearth.models.decoders.restorer import LinearRestorer, MultiStageASPP, SharedASPP
from crossearth.models.decoders.upernet import UPerNetDecoder
from crossearth.models.features import Decoder

__all__ = [
    'DAFormerDecoder',
    'Decoder',
    'DeepLabV2Decoder',
    'DeepLabV3Decoder',
    'DeformablePixelDecoder',
    'FPNDecoder',
    'LinearRestorer',
    'MLPDecoder',
    'Mask2FormerDecoder',
    'MaskLosses',
    'MaskPredictions',
    'MultiScaleDeformableAttention',
    'MultiStageASPP',
    'PerPixelDecoder',
    'PixelFeatures',
    'SharedASPP',
    'UPerNetDecoder',
    'cross_entropy',
    'deformable_attention',
    'dice_loss',
    'mask_losses',
    'pixel_losses',
    'sine_positions',
]
