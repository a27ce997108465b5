"""Builders of the models that CrossEarth is compared with, on encoders from other libraries."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.backbones.encoders import DilatedTimm, SmpPyramid
from crossearth.models.backbones.mtp import mtp_encoder
from crossearth.models.decoders.daformer import DAFormerDecoder
from crossearth.models.decoders.deeplab import DeepLabV2Decoder, DeepLabV3Decoder
from crossearth.models.decoders.mlp import MLPDecoder
from crossearth.models.decoders.upernet import UPerNetDecoder
from crossearth.models.hrda import HRDA
from crossearth.models.recording import builder
from crossearth.models.segmenter import Segmenter
from crossearth.models.timm_networks import band_statistics
from crossearth.models.weights.pretrained import check_pretrained, create_timm, load_weights

__all__ = [
    'daformer_mit_b5',
    'deeplabv2_resnet101',
    'deeplabv3_resnet101',
    'hrda_mit_b5',
    'mtp_rvsa_large',
]


@builder
def daformer_mit_b5(
    num_classes: int,
    *,
    encoder: str = 'mit_b5',
    pretrained: bool | str = False,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    width: int = 256,
) -> Segmenter:
    """DAFormer's network: a MiT-B5 under `DAFormerDecoder`, all of it trainable.

    The two parts of its training, rare-class sampling and feature distance, are in
    `RareClassSampler` and `FeatureDistance`. `crossearth benchmark recipe --method daformer` writes
    a recipe with both.

    Args:
        num_classes: Classes of the logits.
        encoder: Encoder of segmentation_models_pytorch with maps at strides 4 to 32, such as the
            smaller `mit_b0`.
        pretrained: True for the ImageNet weights of segmentation_models_pytorch, a path to a file
            from SegFormer or from that library, False for random ones. The licence of MiT and its
            weights, from NVIDIA, excludes commercial use.
        in_channels: Bands of the images.
        mean: Mean per band, in [0, 1]. The default is ImageNet's, or their average if there are
            not three bands.
        std: Standard deviation per band, likewise.
        width: Width of the decoder.

    Returns:
        Model of images in [0, 1], of any size.

    Raises:
        ConfigError: If the encoder is unknown or has no such maps.
        CheckpointError: If its weights cannot be loaded, or do not fit.

    Source:
        Hoyer et al., DAFormer, CVPR 2022, arXiv 2111.14887; for domain generalisation
        arXiv 2304.13615.

    Example:
        >>> daformer_mit_b5(6, encoder='mit_b0', width=16).backbone.channels
        (32, 64, 160, 256)
    """
    mean, std = band_statistics(in_channels, mean, std)
    backbone = SmpPyramid(_smp_encoder(encoder, pretrained, in_channels))
    decoder = DAFormerDecoder(backbone.channels, num_classes, width=width)
    return Segmenter(backbone, decoder, mean=mean, std=std)


@builder
def hrda_mit_b5(
    num_classes: int,
    *,
    img_size: int = 512,
    encoder: str = 'mit_b5',
    pretrained: bool | str = False,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    width: int = 256,
    detail_weight: float = 0.1,
) -> HRDA:
    """HRDA on DAFormer's network, all of it trainable.

    Args:
        num_classes: Classes of the logits.
        img_size: Side of the training windows in px, a multiple of 64; details are half as long.
        encoder: See `daformer_mit_b5`.
        pretrained: See `daformer_mit_b5`.
        in_channels: Bands of the images.
        mean: Mean per band, in [0, 1]. The default is ImageNet's, or their average if there are
            not three bands.
        std: Standard deviation per band, likewise.
        width: Width of the decoder and of the attention.
        detail_weight: λ_d, see `HRDA`.

    Returns:
        Model of images in [0, 1], of any size.

    Raises:
        ConfigError: If the encoder is unknown or has no such maps, or `img_size` is not a
            multiple of 64.
        CheckpointError: If its weights cannot be loaded, or do not fit.

    Source:
        Hoyer et al., HRDA, ECCV 2022, arXiv 2204.13949; for domain generalisation
        arXiv 2304.13615.

    Example:
        >>> hrda_mit_b5(6, encoder='mit_b0', img_size=128, width=16).detail_px
        64
    """
    if img_size < 64 or img_size % 64:
        raise ConfigError(f'img_size is {img_size}: expected a multiple of 64 px')
    mean, std = band_statistics(in_channels, mean, std)
    backbone = SmpPyramid(_smp_encoder(encoder, pretrained, in_channels))
    return HRDA(
        backbone,
        DAFormerDecoder(backbone.channels, num_classes, width=width),
        MLPDecoder(backbone.channels, num_classes, width=width),
        mean=mean,
        std=std,
        detail_px=img_size // 2,
        detail_weight=detail_weight,
    )


@builder
def deeplabv2_resnet101(
    num_classes: int,
    *,
    name: str = 'resnet101',
    pretrained: bool | str = False,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Segmenter:
    """DeepLab v2: a ResNet-101 dilated to stride 8 under summed classifiers of four dilations.

    Args:
        num_classes: Classes of the logits.
        name: timm CNN that can be dilated (`output_stride=8`).
        pretrained: True for timm's weights, a path to a local file, False for random ones.
        in_channels: Bands of the images.
        mean: Mean per band, in [0, 1]. The default is ImageNet's, or their average if there are
            not three bands.
        std: Standard deviation per band, likewise.

    Returns:
        Model of images in [0, 1], of any size. All of it trains.

    Raises:
        ConfigError: If the backbone is unknown or cannot be dilated.
        CheckpointError: If its weights cannot be loaded, or do not fit.

    Source:
        Chen et al., arXiv 1606.00915, without its multiple input scales and its CRF, as in the
        tables of CrossEarth's rivals.

    Example:
        >>> deeplabv2_resnet101(6, name='resnet18').decoder.num_classes
        6
    """
    mean, std = band_statistics(in_channels, mean, std)
    backbone = _dilated(name, pretrained, in_channels)
    decoder = DeepLabV2Decoder(backbone.channels, num_classes)
    return Segmenter(backbone, decoder, mean=mean, std=std)


@builder
def deeplabv3_resnet101(
    num_classes: int,
    *,
    name: str = 'resnet101',
    pretrained: bool | str = False,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Segmenter:
    """DeepLab v3: a ResNet-101 dilated to stride 8 under torchvision's head.

    The arguments are those of `deeplabv2_resnet101`. Its batch norms over pooled features cannot
    train on batches of one window.

    Source:
        Chen et al., arXiv 1706.05587.

    Example:
        >>> deeplabv3_resnet101(6, name='resnet18').decoder.num_classes
        6
    """
    mean, std = band_statistics(in_channels, mean, std)
    backbone = _dilated(name, pretrained, in_channels)
    decoder = DeepLabV3Decoder(backbone.channels, num_classes)
    return Segmenter(backbone, decoder, mean=mean, std=std)


@builder(forget=('checkpointing',))
def mtp_rvsa_large(
    num_classes: int,
    *,
    pretrained: bool | str = False,
    img_size: int | Sequence[int] = 512,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    width: int = 512,
    drop_path: float = 0.3,
    checkpointing: bool = False,
) -> Segmenter:
    """MTP's segmentation model: an RVSA ViT-L under UPerNet, all of it trainable.

    Args:
        num_classes: Classes of the logits.
        pretrained: Path to an MTP file, or False for random weights; no hub offers them.
        img_size: Height and width in px (one number for squares) that position tables are built
            for, multiples of 16. They are resized for images of other sizes.
        in_channels: Bands of the images.
        mean: Mean per band, in [0, 1]. The default is ImageNet's.
        std: Standard deviation per band, likewise.
        width: Width of the decoder.
        drop_path: Largest share of samples that skip a block during training.
        checkpointing: Compute blocks again in the backward pass, to save memory.

    Returns:
        Model of images in [0, 1], of any size.

    Raises:
        CheckpointError: If weights cannot be loaded, or do not fit.
        ConfigError: If an argument does not fit another.

    Source:
        Wang et al., MTP, arXiv 2403.13430, §4.4 (UPerNet for segmentation); width and drop path of
        its published configuration.

    Example:
        >>> import torch
        >>> with torch.device('meta'):
        ...     model = mtp_rvsa_large(2)
        >>> all(p.requires_grad for p in model.parameters())
        True
    """
    mean, std = band_statistics(in_channels, mean, std)
    backbone = mtp_encoder(
        pretrained,
        img_size=img_size,
        in_channels=in_channels,
        drop_path=drop_path,
        checkpointing=checkpointing,
    )
    decoder = UPerNetDecoder(backbone.channels, num_classes, width=width)
    return Segmenter(backbone, decoder, mean=mean, std=std)


class _LinspaceOnCpu(TorchFunctionMode):
    """Lets MiT be built on the meta device, although it reads drop-path rates from a tensor."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],  # torch's signature
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        return func(*args, **(given | {'device': 'cpu'} if func is torch.linspace else given))


def _smp_encoder(name: str, pretrained: bool | str | Path, in_channels: int) -> nn.Module:
    check_pretrained(pretrained)
    # imported here, because it takes seconds and only these builders need it
    from segmentation_models_pytorch.encoders import get_encoder, get_encoder_names

    known = [known for known in get_encoder_names() if known.startswith('mit_')]
    if name not in known:
        raise ConfigError(
            f'encoder is {name!r}: expected one of {", ".join(known)}; timm has most others, for '
            'use with fpn_timm'
        )
    weights = 'imagenet' if pretrained is True else None
    try:
        with _LinspaceOnCpu():
            encoder: nn.Module = get_encoder(name, in_channels=in_channels, weights=weights)
    except OSError as error:  # huggingface_hub's connection and cache errors are OSErrors
        raise CheckpointError(
            f'the weights of {name!r} are not in the local cache and cannot be downloaded: fetch '
            f'model.safetensors from https://huggingface.co/smp-hub/{name}.imagenet on a machine '
            "with network access, and pass its path as pretrained='…/model.safetensors'"
        ) from error
    if isinstance(pretrained, str | Path):
        module: Any = encoder  # load_weights reads attributes that timm's models have
        module.pretrained_cfg = {'classifier': 'head', 'first_conv': 'patch_embed1.proj'}
        load_weights(module, pretrained)
    return encoder


def _dilated(name: str, pretrained: bool | str, in_channels: int) -> DilatedTimm:
    try:
        model = create_timm(name, pretrained=pretrained, in_channels=in_channels, output_stride=8)
    except (TypeError, AssertionError, NotImplementedError) as error:  # families differ in it
        raise ConfigError(
            f'{name!r} cannot be dilated to stride 8: choose a ResNet or an EfficientNet of timm'
        ) from error
    return DilatedTimm(model)
