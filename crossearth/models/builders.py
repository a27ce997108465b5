"""Functions that put a complete model together from plain arguments.

Every public function here is a builder, see `crossearth.models.recording`. A weights file names the
builder and its arguments, so that `load_model` can build the model again.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from crossearth.errors import ConfigError
from crossearth.models.adapters.geospatial import GeospatialSemanticExtractor, Injector
from crossearth.models.adapters.rein import LoRARein
from crossearth.models.backbones.dinov2 import dinov2_vit
from crossearth.models.backbones.instance_norms import add_instance_norms
from crossearth.models.backbones.mtp import mtp_encoder
from crossearth.models.backbones.pyramid import TimmPyramid
from crossearth.models.backbones.rein_vit import ReinViT
from crossearth.models.crossearth import CrossEarth
from crossearth.models.decoders.fpn import FPNDecoder
from crossearth.models.decoders.mask2former import Mask2FormerDecoder
from crossearth.models.decoders.restorer import build_restorer
from crossearth.models.freezing import freeze_norms
from crossearth.models.padding import ceil_div
from crossearth.models.recording import builder
from crossearth.models.segmenter import Segmenter
from crossearth.models.timm_networks import (
    band_statistics,
    height_width,
    hierarchical_network,
    plain_transformer,
)
from crossearth.models.weights.released import CrossEarth_Weights, load_released
from crossearth.spelling import check_choice

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

NormMode = Literal['training', 'resting']

# Not recorded in the model's file: published weights are part of the state once they are loaded,
# and how attention is computed depends on the machine.
_NOT_THE_MODELS = ('weights', 'attention')


@builder
def fpn_timm(
    name: str = 'resnet18',
    *,
    num_classes: int,
    img_size: int | Sequence[int] | None = None,
    in_channels: int = 3,
    pretrained: bool | str = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    width: int = 128,
    instance_norms: Literal['a', 'b'] | None = None,
    norms: NormMode = 'training',
) -> Segmenter:
    """A timm CNN or hierarchical transformer under an FPN, all of it trainable.

    Args:
        name: timm model with maps at strides 4 to 32.
        num_classes: Classes of the logits.
        img_size: Height and width of the images in px (one number for squares), for backbones that
            are built for one size, such as Swin, Hiera, MaxViT, CoAtNet and GCViT. The default is
            timm's, mostly 224. Leave it out for CNNs, which take any size.
        in_channels: Bands of the images.
        pretrained: True for timm's weights, a path to a local file, False for random ones.
        mean: Mean per band, in [0, 1]. The default is ImageNet's, or their average if there are
            not three bands.
        std: Standard deviation per band, likewise.
        width: Width of the decoder.
        instance_norms: IBN-a or IBN-b in the shallow stages of a ResNet, see
            `add_instance_norms`. Pretrained weights stay usable.
        norms: What the backbone's batch norms do. `'training'` averages over the training images.
            `'resting'` keeps the pretrained statistics, which generalise better to places without
            training images, and makes no sense for random weights.

    Returns:
        Model of images in [0, 1], of any size that the backbone takes.

    Raises:
        ConfigError: If the backbone is unknown or has no such maps, or if `img_size` is given to
            one that takes any size.
        CheckpointError: If its weights cannot be loaded, or do not fit.

    Example:
        >>> fpn_timm('resnet18', num_classes=6, width=32).num_classes
        6
    """
    check_choice('norms', norms, get_args(NormMode))
    mean, std = band_statistics(in_channels, mean, std)
    size = None
    if img_size is not None:  # images are padded to multiples of the coarsest stride
        rows, columns = height_width(img_size)
        size = ceil_div(rows, 32) * 32, ceil_div(columns, 32) * 32
    model = hierarchical_network(
        name, img_size=size, in_channels=in_channels, pretrained=pretrained
    )
    if instance_norms is not None:
        model = add_instance_norms(model, instance_norms)
    if norms == 'resting':
        freeze_norms(model)
    backbone = TimmPyramid(model, img_size=size)
    decoder = FPNDecoder(backbone.channels, num_classes, width=width)
    return Segmenter(backbone, decoder, mean=mean, std=std)


@builder
def rein_vit_fpn(
    name: str,
    *,
    num_classes: int,
    img_size: int | Sequence[int] = 512,
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
        img_size: Height and width of the images in px (one number for squares) that position
            embeddings are built for. Most transformers resize them for images of other sizes;
            BEiT, CaiT and those with relative positions take only this size.
        in_channels: Bands of the images.
        pretrained: True for timm's weights, a path to a local file, False for random ones.
        mean: Mean per band, in [0, 1]. The default is ImageNet's, or their average if there are
            not three bands.
        std: Standard deviation per band, likewise.
        tokens: Rein tokens per layer.
        rank: Rank of the tokens.
        adapt: Whether Rein refines the features; False trains the decoder alone.
        width: Width of the decoder.

    Returns:
        Model of images in [0, 1], of any size. Rein and the decoder train.

    Raises:
        ConfigError: If the backbone is unknown or not a vision transformer.
        CheckpointError: If its weights cannot be loaded, or do not fit.

    Example:
        >>> model = rein_vit_fpn('vit_tiny_patch16_224', num_classes=6, img_size=64, width=32)
        >>> sum(p.numel() for p in model.backbone.vit.parameters() if p.requires_grad)
        0
    """
    mean, std = band_statistics(in_channels, mean, std)
    vit = plain_transformer(name, img_size=img_size, in_channels=in_channels, pretrained=pretrained)
    # Built without an adapter first, to read off the depth and width that one needs.
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
    return Segmenter(backbone, decoder, mean=mean, std=std, multiple_px=2 * backbone.patch_px[0])


@builder(forget=_NOT_THE_MODELS)
def crossearth_vit_small(
    num_classes: int,
    *,
    weights: CrossEarth_Weights | str | None = None,
    pretrained: bool | str = False,
    img_size: int = 512,
    padding: Literal['stride', 'released'] = 'stride',
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
    return _crossearth(
        'vit_small_patch14_dinov2',
        num_classes=num_classes,
        weights=weights,
        pretrained=pretrained,
        img_size=img_size,
        padding=padding,
        in_channels=in_channels,
        mean=mean,
        std=std,
        geospatial=geospatial,
        restorer=restorer,
        attention=attention,
        checkpointing=checkpointing,
    )


@builder(forget=_NOT_THE_MODELS)
def crossearth_vit_base(
    num_classes: int,
    *,
    weights: CrossEarth_Weights | str | None = None,
    pretrained: bool | str = False,
    img_size: int = 512,
    padding: Literal['stride', 'released'] = 'stride',
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
    return _crossearth(
        'vit_base_patch14_dinov2',
        num_classes=num_classes,
        weights=weights,
        pretrained=pretrained,
        img_size=img_size,
        padding=padding,
        in_channels=in_channels,
        mean=mean,
        std=std,
        geospatial=geospatial,
        restorer=restorer,
        attention=attention,
        checkpointing=checkpointing,
    )


@builder(forget=_NOT_THE_MODELS)
def crossearth_vit_large(
    num_classes: int,
    *,
    weights: CrossEarth_Weights | str | None = None,
    pretrained: bool | str = False,
    img_size: int = 512,
    padding: Literal['stride', 'released'] = 'stride',
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
            False for random ones.
        img_size: Side in px that position embeddings are built for: 512 or 1024 as published.
        padding: What images are padded to. `'stride'` pads to multiples of 32 px, so that the maps
            of all strides cover the same ground. `'released'` pads to multiples of the patch,
            16 px, as the published code does; the coarsest map then leaves out the last row or
            column of an odd number of patches. They differ only where a side is not a multiple
            of 32 px.
        in_channels: Bands of the images.
        mean: Mean per band, in [0, 1]. The default is ImageNet's.
        std: Standard deviation per band, likewise.
        geospatial: Whether the extractor and injector take part.
        restorer: What restores images in multi-task training: `'paper'` is `MultiStageASPP`,
            `'released'` is `SharedASPP`, `'linear'` is `LinearRestorer`, None is nothing.
        attention: See `ReinViT`.
        checkpointing: See `ReinViT`.

    Returns:
        Model of images in [0, 1], of any size. Everything but the transformer trains.

    Raises:
        CheckpointError: If weights cannot be loaded, or do not fit.
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
    return _crossearth(
        'vit_large_patch14_dinov2',
        num_classes=num_classes,
        weights=weights,
        pretrained=pretrained,
        img_size=img_size,
        padding=padding,
        in_channels=in_channels,
        mean=mean,
        std=std,
        geospatial=geospatial,
        restorer=restorer,
        attention=attention,
        checkpointing=checkpointing,
    )


@builder(forget=_NOT_THE_MODELS)
def rein_vit_large(
    num_classes: int,
    *,
    weights: CrossEarth_Weights | str | None = None,
    pretrained: bool | str = False,
    img_size: int = 512,
    padding: Literal['stride', 'released'] = 'stride',
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    attention: Literal['sdpa', 'xformers'] = 'sdpa',
    checkpointing: bool = False,
) -> CrossEarth:
    """The baseline of the paper, and what the released files hold: LoRA-Rein under Mask2Former.

    The arguments are those of `crossearth_vit_large`, without its geospatial parts and restorer.

    Example:
        >>> import torch
        >>> with torch.device('meta'):
        ...     model = rein_vit_large(5)
        >>> sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6
        23.566279
    """
    return _crossearth(
        'vit_large_patch14_dinov2',
        num_classes=num_classes,
        weights=weights,
        pretrained=pretrained,
        img_size=img_size,
        padding=padding,
        in_channels=in_channels,
        mean=mean,
        std=std,
        attention=attention,
        checkpointing=checkpointing,
    )


@builder(forget=('attention',))
def frozen_vit_large(
    num_classes: int,
    *,
    pretrained: bool | str = False,
    img_size: int = 512,
    padding: Literal['stride', 'released'] = 'stride',
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    attention: Literal['sdpa', 'xformers'] = 'sdpa',
) -> CrossEarth:
    """A frozen DINOv2 ViT-L under Mask2Former, whose queries are its own parameters: no adapter.

    The arguments are those of `crossearth_vit_large`.

    Example:
        >>> import torch
        >>> with torch.device('meta'):
        ...     model = frozen_vit_large(6)
        >>> model.backbone.vit.pos_embed.requires_grad
        False
    """
    return _crossearth(
        'vit_large_patch14_dinov2',
        num_classes=num_classes,
        pretrained=pretrained,
        img_size=img_size,
        padding=padding,
        in_channels=in_channels,
        mean=mean,
        std=std,
        adapted=False,
        attention=attention,
    )


@builder
def crossearth_rvsa_large(
    num_classes: int,
    *,
    pretrained: bool | str = False,
    img_size: int | Sequence[int] = 1024,
    in_channels: int = 3,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    restorer: Literal['paper', 'released', 'linear'] | None = 'paper',
    drop_path: float = 0.0,
    checkpointing: bool = False,
) -> CrossEarth:
    """CrossEarth's training with MTP's backbone, the paper's choice for roads.

    The whole backbone trains, as it does in MTP. Mask2Former has its own queries and nothing is
    injected: the paper says only that it keeps "the training paradigm".

    Args:
        num_classes: Classes of the logits.
        pretrained: Path to an MTP file, or False for random weights; no hub offers them.
        img_size: Height and width in px (one number for squares) that position tables are built
            for, multiples of 16. They are resized for images of other sizes.
        in_channels: Bands of the images. MTP files are for three; for other numbers the patch
            embedding is repeated.
        mean: Mean per band, in [0, 1]. The default is ImageNet's.
        std: Standard deviation per band, likewise.
        restorer: See `crossearth_vit_large`.
        drop_path: Largest share of samples that skip a block during training.
        checkpointing: Compute blocks again in the backward pass, to save memory.

    Returns:
        Model of images in [0, 1], of any size. All of it trains.

    Raises:
        CheckpointError: If weights cannot be loaded, or do not fit.
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
    mean, std = band_statistics(in_channels, mean, std)
    encoder = mtp_encoder(
        pretrained,
        img_size=img_size,
        in_channels=in_channels,
        drop_path=drop_path,
        checkpointing=checkpointing,
    )
    decoder = Mask2FormerDecoder(encoder.channels, num_classes, link_queries=False)
    return CrossEarth(
        encoder,
        decoder,
        build_restorer(restorer, encoder.channels, in_channels),
        mean=mean,
        std=std,
    )


# Fourteen arguments: the union of those of the builders above, passed on by name.
def _crossearth(
    name: str,
    *,
    num_classes: int,
    pretrained: bool | str,
    img_size: int,
    padding: str,
    in_channels: int,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    attention: Literal['sdpa', 'xformers'],
    weights: CrossEarth_Weights | str | None = None,
    adapted: bool = True,
    geospatial: bool = False,
    restorer: str | None = None,
    checkpointing: bool = False,
) -> CrossEarth:
    """The CrossEarth family: a frozen DINOv2 under Mask2Former."""
    mean, std = band_statistics(in_channels, mean, std)
    if padding not in ('stride', 'released'):
        raise ConfigError(f"padding is {padding!r}: expected 'stride' or 'released'")
    if weights is not None and pretrained is not False:
        raise ConfigError(
            'weights and pretrained are both given, but weights contain their own frozen '
            'transformer: leave out one of them'
        )
    vit = dinov2_vit(name, img_size=img_size, in_channels=in_channels, pretrained=pretrained)
    dim, depth = int(vit.embed_dim), len(vit.blocks)  # type: ignore[arg-type]  # timm's attributes
    encoder = ReinViT(
        vit,
        LoRARein(depth, dim) if adapted else None,
        extractor=GeospatialSemanticExtractor(in_channels) if geospatial else None,
        injector=Injector(dim) if geospatial else None,
        attention=attention,
        checkpointing=checkpointing,
        odd_grid='up' if padding == 'stride' else 'down',
    )
    model = CrossEarth(
        encoder,
        Mask2FormerDecoder(encoder.channels, num_classes, link_queries=adapted),
        build_restorer(restorer, encoder.channels, in_channels),
        mean=mean,
        std=std,
        multiple_px=32 if padding == 'stride' else encoder.patch_px[0],
    )
    if weights is not None:
        load_released(model, weights)
    return model
