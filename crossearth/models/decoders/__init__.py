"""Decoders: features in, logits or a restored image out, and the losses that train them."""

from crossearth.models.decoders.deformable import (
    MultiScaleDeformableAttention,
    deformable_attention,
)
from crossearth.models.decoders.fpn import FPNDecoder
from crossearth.models.decoders.losses import dice_loss, pixel_losses
from crossearth.models.decoders.mask2former import Mask2FormerDecoder, MaskPredictions
from crossearth.models.decoders.mask_classification import MaskLosses, mask_losses
from crossearth.models.decoders.pixel_decoder import (
    DeformablePixelDecoder,
    PixelFeatures,
    sine_positions,
)
from crossearth.models.decoders.restorer import LinearRestorer, MultiStageASPP, SharedASPP
from crossearth.models.features import Decoder

__all__ = [
    'Decoder',
    'DeformablePixelDecoder',
    'FPNDecoder',
    'LinearRestorer',
    'Mask2FormerDecoder',
    'MaskLosses',
    'MaskPredictions',
    'MultiScaleDeformableAttention',
    'MultiStageASPP',
    'PixelFeatures',
    'SharedASPP',
    'deformable_attention',
    'dice_loss',
    'mask_losses',
    'pixel_losses',
    'sine_positions',
]
