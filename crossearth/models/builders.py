"""Functions that put a whole model together from plain arguments.

Every public function here is a builder: its arguments are JSON values, and a weights file names it
together with them, so that `load_model` can build the model again.
"""

from collections.abc import Sequence

from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.fpn import FPNDecoder
from crossearth.models.pretrained import create_timm
from crossearth.models.pyramid import TimmPyramid
from crossearth.models.rein import LoRARein
from crossearth.models.rein_vit import ReinViT
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Recipe, Segmenter

__all__ = ['fpn_timm', 'rein_vit_fpn']


def fpn_timm(
    name: str = 'resnet18',
    *,
    num_classes: int,
    in_channels: int = 3,
    pretrained: bool | str = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    width: int = 128,
) -> Segmenter:
    """A timm CNN or hierarchical transformer under an FPN, all of it trainable.

    Args:
        name: timm model with maps at strides 4 to 32.
        num_classes: Classes of the logits.
        in_channels: Bands of the images.
        pretrained: True for timm's weights, a path to a local file, False for random ones.
        mean: Mean a band, in [0, 1]; by default ImageNet's, and their average for bands that
            are not three.
        std: Standard deviation a band, likewise.
        width: Width of the decoder.

    Returns:
        Model of images in [0, 1], of any size that the backbone takes.

    Raises:
        ConfigError: If the backbone is unknown or has no such maps.
        CheckpointError: If its weights cannot be had or do not fit.

    Example:
        >>> fpn_timm('resnet18', num_classes=6, width=32).num_classes
        6
    """
    mean, std = _statistics(in_channels, mean, std)
    model = create_timm(name, pretrained=pretrained, in_channels=in_channels)
    backbone = TimmPyramid(model)
    decoder = FPNDecoder(backbone.channels, num_classes, width=width)
    segmenter = Segmenter(backbone, decoder, mean=mean, std=std)
    segmenter.recipe = Recipe(
        'fpn_timm',
        {
            'name': name,
            'num_classes': num_classes,
            'in_channels': in_channels,
            'pretrained': pretrained,
            'mean': mean,
            'std': std,
            'width': width,
        },
    )
    return segmenter


def rein_vit_fpn(
    name: str,
    *,
    num_classes: int,
    img_size: int = 512,
    in_channels: int = 3,
    pretrained: bool | str = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    tokens: int = 100,
    rank: int = 16,
    adapt: bool = True,
    width: int = 128,
) -> Segmenter:
    """A frozen timm vision transformer with LoRA-Rein under an FPN.

    Args:
        name: timm vision transformer.
        num_classes: Classes of the logits.
        img_size: Side of the images in px that position embeddings are laid out for; others are
            taken too, at the price of resizing them.
        in_channels: Bands of the images.
        pretrained: True for timm's weights, a path to a local file, False for random ones.
        mean: Mean a band, in [0, 1]; by default ImageNet's, and their average for bands that
            are not three.
        std: Standard deviation a band, likewise.
        tokens: Rein tokens a layer.
        rank: Rank of the tokens.
        adapt: Whether Rein refines the features; False trains the decoder alone.
        width: Width of the decoder.

    Returns:
        Model of images in [0, 1], of any size. Rein and the decoder train.

    Raises:
        ConfigError: If the backbone is unknown or no vision transformer.
        CheckpointError: If its weights cannot be had or do not fit.

    Example:
        >>> model = rein_vit_fpn('vit_tiny_patch16_224', num_classes=6, img_size=64, width=32)
        >>> sum(p.numel() for p in model.backbone.vit.parameters() if p.requires_grad)
        0
    """
    mean, std = _statistics(in_channels, mean, std)
    vit = _vit(name, img_size=img_size, in_channels=in_channels, pretrained=pretrained)
    backbone = ReinViT(vit, None)
    if adapt:
        # The FPN reads no queries; parameters that link them would never get a gradient.
        backbone = ReinViT(
            vit,
            LoRARein(
                backbone.depth, backbone.channels[0], tokens=tokens, rank=rank, link_queries=False
            ),
        )
    decoder = FPNDecoder(backbone.channels, num_classes, width=width)
    segmenter = Segmenter(
        backbone, decoder, mean=mean, std=std, multiple_px=2 * backbone.patch_px[0]
    )
    segmenter.recipe = Recipe(
        'rein_vit_fpn',
        {
            'name': name,
            'num_classes': num_classes,
            'img_size': img_size,
            'in_channels': in_channels,
            'pretrained': pretrained,
            'mean': mean,
            'std': std,
            'tokens': tokens,
            'rank': rank,
            'adapt': adapt,
            'width': width,
        },
    )
    return segmenter


def _vit(name: str, *, img_size: int, in_channels: int, pretrained: bool | str) -> nn.Module:
    """A timm transformer without a head, of any image size where its family can."""
    given = {'img_size': img_size, 'num_classes': 0}
    try:
        return create_timm(
            name, pretrained=pretrained, in_channels=in_channels, dynamic_img_size=True, **given
        )
    except TypeError:  # Beit and CaiT have no such argument, and take one size
        return create_timm(name, pretrained=pretrained, in_channels=in_channels, **given)


def _statistics(
    in_channels: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[list[float], list[float]]:
    """Mean and std a band: as given, or ImageNet's."""
    if in_channels < 1:
        raise ConfigError(f'in_channels is {in_channels}: a model takes at least one band')
    three = in_channels == 3
    if mean is None:
        mean = IMAGENET_MEAN if three else [sum(IMAGENET_MEAN) / 3] * in_channels
    if std is None:
        std = IMAGENET_STD if three else [sum(IMAGENET_STD) / 3] * in_channels
    if len(mean) != in_channels or len(std) != in_channels:
        raise ConfigError(
            f'mean has {len(mean)} and std {len(std)} values for {in_channels} bands: give one a '
            'band'
        )
    return list(mean), list(std)
