"""Networks of the comparison of methods: one encoder under the rivals' heads, see methods.yaml."""

from typing import Literal

import torch
from torch import nn

from crossearth.models.backbones import DilatedTimm, TimmPyramid
from crossearth.models.decoders import (
    DAFormerDecoder,
    DeepLabV2Decoder,
    DeepLabV3Decoder,
    MLPDecoder,
    UPerNetDecoder,
)
from crossearth.models.freezing import freeze_norms
from crossearth.models.hrda import HRDA
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter
from crossearth.models.weights.pretrained import create_timm

NAME = 'tf_efficientnet_lite0'
WIDTH = 64  # of the decoder, as in road_parts
DEEPLAB = {'deeplabv2': DeepLabV2Decoder, 'deeplabv3': DeepLabV3Decoder}


def rival(
    head: Literal['daformer', 'hrda', 'upernet', 'deeplabv2', 'deeplabv3'],
    weights: str,
    *,
    num_classes: int,
    window_px: int = 256,
) -> nn.Module:
    """EfficientNet-lite0 with ImageNet's weights under the head of a rival.

    Args:
        head: Which head.
        weights: The file of the encoder's weights.
        num_classes: Number of classes.
        window_px: Side of the training windows. HRDA's details are half as long.
    """
    encoder: DilatedTimm | TimmPyramid
    if head in DEEPLAB:
        encoder = DilatedTimm(create_timm(NAME, pretrained=weights, output_stride=8))
        decoder = DEEPLAB[head](encoder.channels, num_classes)
    else:
        encoder = TimmPyramid(create_timm(NAME, pretrained=weights))
        make = UPerNetDecoder if head == 'upernet' else DAFormerDecoder
        decoder = make(encoder.channels, num_classes, width=WIDTH)
    freeze_norms(encoder)  # as in road_parts
    statistics = {'mean': IMAGENET_MEAN, 'std': IMAGENET_STD}
    if head == 'hrda':
        attention = MLPDecoder(encoder.channels, num_classes, width=WIDTH)
        model = HRDA(encoder, decoder, attention, **statistics, detail_px=window_px // 2)
    else:
        model = Segmenter(encoder, decoder, **statistics)
    return model.to(memory_format=torch.channels_last)
