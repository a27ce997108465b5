"""Networks of the comparison of methods: one encoder under the rivals' heads, see methods.yaml."""

from collections.abc import Callable
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
    dilations = {'output_stride': 8} if head.startswith('deeplab') else {}
    network = create_timm(NAME, pretrained=weights, **dilations)
    freeze_norms(network)  # as in road_parts
    make: Callable[..., nn.Module]
    if head in ('deeplabv2', 'deeplabv3'):
        dilated = DilatedTimm(network)
        make = DeepLabV2Decoder if head == 'deeplabv2' else DeepLabV3Decoder
        model = Segmenter(
            dilated, make(dilated.channels, num_classes), mean=IMAGENET_MEAN, std=IMAGENET_STD
        )
        return model.to(memory_format=torch.channels_last)
    encoder = TimmPyramid(network)
    make = UPerNetDecoder if head == 'upernet' else DAFormerDecoder
    decoder = make(encoder.channels, num_classes, width=WIDTH)
    if head == 'hrda':
        model = HRDA(
            encoder,
            decoder,
            MLPDecoder(encoder.channels, num_classes, width=WIDTH),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            detail_px=window_px // 2,
        )
    else:
        model = Segmenter(encoder, decoder, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return model.to(memory_format=torch.channels_last)
