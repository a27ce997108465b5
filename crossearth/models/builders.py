"""Functions that put a whole model together from plain arguments.

Every public function here is a builder: its arguments are JSON values, and a weights file names it
together with them, so that `load_model` can build the model again.
"""

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.crossearth import CrossEarth
from crossearth.models.dinov2 import dinov2_vit
from crossearth.models.fpn import FPNDecoder
from crossearth.models.geospatial import GeospatialSemanticExtractor, Injector
from crossearth.models.mask2former import Mask2FormerDecoder
from crossearth.models.pyramid import TimmPyramid
from crossearth.models.rein import LoRARein
from crossearth.models.rein_vit import ReinViT
from crossearth.models.restorer import LinearRestorer, MultiStageASPP, SharedASPP
from crossearth.models.rvsa import load_mtp, rvsa_vit_large
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, Recipe, Segmenter
from crossearth.models.weights.pretrained import check_pretrained, create_timm
from crossearth.models.weights.released import CrossEarth_Weights, load_released

__all__ = [
    'crossearth_rvsa_large',
    'crossearth_vit_base',
    'crossearth_vit_large',
    'crossearth_vit_small',
    'fpn_timm',
    'frozen_vit_large',
    'rein_vit_fpn',
    'rein_vit_large',
]


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


def crossearth_vit_small(
    num_classes: int,
    *,
    weights: CrossEarth_Weights | str | None = None,
    pretrained: bool | str = False,
    img_size: int = 512,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    geospatial: bool = True,
    restorer: Literal['paper', 'released', 'linear'] | None = 'paper',
    attention: Literal['sdpa', 'xformers'] = 'sdpa',
    checkpointing: bool = False,
) -> CrossEarth:
    """CrossEarth with a DINOv2 ViT-S/14, at patches of 16 px.

    The arguments are those of `crossearth_vit_large`.

    Example:
        >>> crossearth_vit_small(6, img_size=64).backbone.channels
        (384, 384, 384, 384)
    """
    arguments = dict(locals())
    return _crossearth('vit_small_patch14_dinov2', 'crossearth_vit_small', arguments)


def crossearth_vit_base(
    num_classes: int,
    *,
    weights: CrossEarth_Weights | str | None = None,
    pretrained: bool | str = False,
    img_size: int = 512,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    geospatial: bool = True,
    restorer: Literal['paper', 'released', 'linear'] | None = 'paper',
    attention: Literal['sdpa', 'xformers'] = 'sdpa',
    checkpointing: bool = False,
) -> CrossEarth:
    """CrossEarth with a DINOv2 ViT-B/14, at patches of 16 px.

    The arguments are those of `crossearth_vit_large`.

    Example:
        >>> import torch
        >>> with torch.device('meta'):  # its shapes, without its 118 million numbers
        ...     model = crossearth_vit_base(6)
        >>> sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
        31.345739
    """
    arguments = dict(locals())
    return _crossearth('vit_base_patch14_dinov2', 'crossearth_vit_base', arguments)


def crossearth_vit_large(
    num_classes: int,
    *,
    weights: CrossEarth_Weights | str | None = None,
    pretrained: bool | str = False,
    img_size: int = 512,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    geospatial: bool = True,
    restorer: Literal['paper', 'released', 'linear'] | None = 'paper',
    attention: Literal['sdpa', 'xformers'] = 'sdpa',
    checkpointing: bool = False,
) -> CrossEarth:
    """CrossEarth as published: DINOv2 ViT-L/14 at patches of 16 px, frozen, under Mask2Former.

    Args:
        num_classes: Classes of the logits.
        weights: Published weights, or a file converted from them.
        pretrained: Frozen weights: True for timm's DINOv2, a path to official or timm weights,
            False for random ones. Not looked at where `weights` bring their own.
        img_size: Side in px that position embeddings are laid out for: 512 or 1024 as published.
        in_channels: Bands of the images.
        mean: Mean a band, in [0, 1]; by default ImageNet's.
        std: Standard deviation a band, likewise.
        geospatial: Whether the extractor and injector take part.
        restorer: What restores images in multi-task training: `'paper'` is `MultiStageASPP`,
            `'released'` is `SharedASPP`, `'linear'` is `LinearRestorer`, None is nothing.
        attention: See `ReinViT`.
        checkpointing: See `ReinViT`.

    Returns:
        Model of images in [0, 1], of any size. Everything but the transformer trains.

    Raises:
        CheckpointError: If weights cannot be had or do not fit.
        ConfigError: If an argument does not fit another.

    Source:
        CrossEarth, section 3.1 and 4.2; sizes of the release.

    Example:
        >>> import torch
        >>> with torch.device('meta'):  # its shapes, without its numbers
        ...     model = crossearth_vit_large(6)
        >>> sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
        35.412555
    """
    arguments = dict(locals())
    return _crossearth('vit_large_patch14_dinov2', 'crossearth_vit_large', arguments)


def rein_vit_large(
    num_classes: int,
    *,
    weights: CrossEarth_Weights | str | None = None,
    pretrained: bool | str = False,
    img_size: int = 512,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    attention: Literal['sdpa', 'xformers'] = 'sdpa',
    checkpointing: bool = False,
) -> CrossEarth:
    """The baseline of the paper, and what the released files hold: LoRA-Rein under Mask2Former.

    The arguments are those of `crossearth_vit_large`, less its geospatial parts and restorer.

    Example:
        >>> import torch
        >>> with torch.device('meta'):
        ...     model = rein_vit_large(5)
        >>> sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
        23.566279
    """
    arguments = dict(locals())
    return _crossearth('vit_large_patch14_dinov2', 'rein_vit_large', arguments)


def frozen_vit_large(
    num_classes: int,
    *,
    pretrained: bool | str = False,
    img_size: int = 512,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    attention: Literal['sdpa', 'xformers'] = 'sdpa',
) -> CrossEarth:
    """A frozen DINOv2 ViT-L under Mask2Former with queries of its own: nothing adapts.

    The arguments are those of `crossearth_vit_large`.

    Example:
        >>> import torch
        >>> with torch.device('meta'):
        ...     model = frozen_vit_large(6)
        >>> model.backbone.vit.pos_embed.requires_grad
        False
    """
    arguments = dict(locals())
    return _crossearth('vit_large_patch14_dinov2', 'frozen_vit_large', arguments)


def crossearth_rvsa_large(
    num_classes: int,
    *,
    pretrained: bool | str = False,
    img_size: int = 1024,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    restorer: Literal['paper', 'released', 'linear'] | None = 'paper',
    drop_path: float = 0.0,
    checkpointing: bool = False,
) -> CrossEarth:
    """CrossEarth's training with MTP's backbone, the paper's choice for roads.

    The backbone trains as a whole, as MTP does; Mask2Former has queries of its own, and nothing is
    injected: the paper keeps "the training paradigm" and gives no more.

    Args:
        num_classes: Classes of the logits.
        pretrained: Path to an MTP file, or False for random weights; there is no hub to ask.
        img_size: Side in px that position tables are laid out for; at least 112.
        in_channels: Bands of the images. MTP files are for three: others get their patch embedding
            repeated.
        mean: Mean a band, in [0, 1]; by default ImageNet's.
        std: Standard deviation a band, likewise.
        restorer: See `crossearth_vit_large`.
        drop_path: Largest share of samples that skip a block in training.
        checkpointing: Compute blocks again in the backward pass, to save memory.

    Returns:
        Model of images in [0, 1] of at least 112 px a side. All of it trains.

    Raises:
        CheckpointError: If weights cannot be had or do not fit.
        ConfigError: If an argument does not fit another.

    Source:
        CrossEarth, Table 10 and section 4.4.

    Example:
        >>> import torch
        >>> with torch.device('meta'):
        ...     model = crossearth_rvsa_large(2)
        >>> all(p.requires_grad for p in model.parameters())
        True
    """
    mean, std = _statistics(in_channels, mean, std)
    check_pretrained(pretrained)
    if pretrained is True:
        raise ConfigError(
            'MTP publishes no file that can be fetched by name: download its RVSA ViT-L encoder '
            "and pass its path as pretrained='…'"
        )
    encoder = rvsa_vit_large(
        img_size=img_size,
        in_channels=in_channels,
        drop_path=drop_path,
        checkpointing=checkpointing,
    )
    if pretrained is not False:
        load_mtp(encoder, pretrained)
    decoder = Mask2FormerDecoder(encoder.channels, num_classes, link_queries=False)
    model = CrossEarth(
        encoder, decoder, _restorer(restorer, encoder.channels, in_channels), mean=mean, std=std
    )
    model.recipe = Recipe(
        'crossearth_rvsa_large',
        {
            'num_classes': num_classes,
            'pretrained': pretrained,
            'img_size': img_size,
            'in_channels': in_channels,
            'mean': mean,
            'std': std,
            'restorer': restorer,
            'drop_path': drop_path,
            'checkpointing': checkpointing,
        },
    )
    return model


def _crossearth(name: str, builder: str, arguments: dict[str, Any]) -> CrossEarth:
    """The family of CrossEarth from the arguments of one of its builders."""
    weights = arguments.pop('weights', None)
    in_channels = arguments['in_channels']
    mean, std = _statistics(in_channels, arguments['mean'], arguments['std'])
    adapted = builder != 'frozen_vit_large'
    vit = dinov2_vit(
        name,
        img_size=arguments['img_size'],
        in_channels=in_channels,
        pretrained=False if weights is not None else arguments['pretrained'],
    )
    dim, depth = int(vit.embed_dim), len(vit.blocks)  # type: ignore[arg-type]  # timm's attributes
    geospatial = arguments.get('geospatial', False)
    encoder = ReinViT(
        vit,
        LoRARein(depth, dim) if adapted else None,
        extractor=GeospatialSemanticExtractor(in_channels) if geospatial else None,
        injector=Injector(dim) if geospatial else None,
        attention=arguments['attention'],
        checkpointing=arguments.get('checkpointing', False),
    )
    decoder = Mask2FormerDecoder(encoder.channels, arguments['num_classes'], link_queries=adapted)
    restorer = _restorer(arguments.get('restorer'), encoder.channels, in_channels)
    model = CrossEarth(encoder, decoder, restorer, mean=mean, std=std)
    if weights is not None:
        load_released(model, weights)
        arguments['pretrained'] = False  # they are part of the model now, and of its files
    # how attention is computed is the affair of the machine that trained, not of the model
    model.recipe = Recipe(builder, {**arguments, 'mean': mean, 'std': std, 'attention': 'sdpa'})
    return model


def _restorer(
    kind: str | None, channels: tuple[int, int, int, int], in_channels: int
) -> nn.Module | None:
    if kind is None:
        return None
    if kind == 'paper':
        return MultiStageASPP(channels, in_channels)
    if kind == 'released':
        return SharedASPP(channels, in_channels)
    if kind == 'linear':
        return LinearRestorer(channels, in_channels)
    raise ConfigError(f"restorer is {kind!r}: expected 'paper', 'released', 'linear' or None")


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
