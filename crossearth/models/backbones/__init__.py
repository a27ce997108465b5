"""Backbones: a normalised image in, four maps at strides 4 to 32 out.

`TimmPyramid` wraps CNNs and hierarchical transformers. `ReinViT` wraps plain transformers, runs
their blocks one by one so that an adapter can refine features in between, and resizes four of them
to a pyramid. Transformers from other libraries become a `TokenEncoder` first. All fulfil the
contract `Backbone` in `crossearth.models.features`.
"""

from crossearth.models.backbones.dinov2 import convert_dinov2, dinov2_vit
from crossearth.models.backbones.encoders import DilatedTimm, SmpPyramid
from crossearth.models.backbones.frozen_pyramid import FrozenPyramid
from crossearth.models.backbones.instance_norms import InstanceBatchNorm, add_instance_norms
from crossearth.models.backbones.pyramid import TimmPyramid
from crossearth.models.backbones.rein_vit import ReinViT
from crossearth.models.backbones.rvsa import (
    RVSA,
    load_mtp,
    resize_mtp,
    rvsa_vit_base,
    rvsa_vit_large,
)
from crossearth.models.backbones.tokens import TokenEncoder
from crossearth.models.backbones.torchgeo_encoders import (
    TORCHGEO_SWINS,
    TORCHGEO_VITS,
    torchgeo_swin,
    torchgeo_vit,
)
from crossearth.models.backbones.torchvision_swin import SwinPyramid
from crossearth.models.features import Backbone, Layered

__all__ = [
    'RVSA',
    'TORCHGEO_SWINS',
    'TORCHGEO_VITS',
    'Backbone',
    'DilatedTimm',
    'FrozenPyramid',
    'InstanceBatchNorm',
    'Layered',
    'ReinViT',
    'SmpPyramid',
    'SwinPyramid',
    'TimmPyramid',
    'TokenEncoder',
    'add_instance_norms',
    'convert_dinov2',
    'dinov2_vit',
    'load_mtp',
    'resize_mtp',
    'rvsa_vit_base',
    'rvsa_vit_large',
    'torchgeo_swin',
    'torchgeo_vit',
]
