"""One builder for every way to adapt a pretrained backbone, so that comparisons are fair.

The backbone can be any timm network: a plain vision transformer, a hierarchical one or a CNN. The
decoder is always the FPN, which reads no queries. Only the adaptation of the backbone differs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import timm
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.adapters.contract import Adapter
from crossearth.models.adapters.earth import EarthAdapter
from crossearth.models.adapters.gate import Gate, Gated, add_toolbox
from crossearth.models.adapters.layers import dense_layers, pyramid_stages
from crossearth.models.adapters.low_rank import LoRA, SoMA, add_lora, add_soma, merge
from crossearth.models.adapters.rein import LoRARein, Rein
from crossearth.models.adapters.stages import RefinedStage, refine_stages
from crossearth.models.backbones.frozen_pyramid import FrozenPyramid
from crossearth.models.backbones.pyramid import TimmPyramid
from crossearth.models.backbones.rein_vit import ReinViT
from crossearth.models.backbones.tokens import SAMEncoder, transformer_blocks
from crossearth.models.decoders.fpn import FPNDecoder
from crossearth.models.meta import without_weights
from crossearth.models.padding import ceil_div
from crossearth.models.recording import Blueprint, blueprint_of, builder
from crossearth.models.segmenter import Segmenter
from crossearth.models.timm_networks import (
    band_statistics,
    height_width,
    hierarchical_network,
    plain_transformer,
)

__all__ = ['AdapterName', 'adapted_backbone', 'adapted_fpn', 'merged']

AdapterName = Literal['frozen', 'full', 'lora', 'soma', 'rein', 'lora_rein', 'earth', 'gate']

_NAMES: tuple[str, ...] = get_args(AdapterName)
_PLAIN_PX = 512
_TOKENS = 100  # Rein tokens per block or stage

# (depth, width) → an adapter that refines features
type _Make = Callable[[int, int], Adapter]

# (depth, width, rank) → adapter, for those of the library. All start as the identity.
_REFINING: dict[str, Callable[[int, int, int | None], Adapter]] = {
    'rein': lambda depth, dim, _: Rein(
        depth, dim, tokens=_TOKENS, zero_init=True, link_queries=False
    ),
    'lora_rein': lambda depth, dim, rank: LoRARein(
        depth, dim, tokens=_TOKENS, rank=rank or 16, zero_init=True, link_queries=False
    ),
    'earth': lambda depth, dim, rank: EarthAdapter(depth, dim, width=rank or 64),
    'gate': lambda depth, dim, rank: Gate(depth, dim, width=rank or 32),
}


@builder
def adapted_fpn(
    name: str,
    adapter: AdapterName,
    *,
    num_classes: int,
    img_size: int | Sequence[int] | None = None,
    in_channels: int = 3,
    pretrained: bool | str = False,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    rank: int | None = None,
    first: int = 0,
    width: int = 128,
) -> Segmenter:
    """A timm backbone, adapted in one of eight ways, under an FPN.

    Before training, the backbone gives exactly what it gives when frozen, whatever the adapter.

    Args:
        name: timm CNN or transformer, plain or hierarchical.
        adapter: `'frozen'` trains nothing of the backbone and `'full'` all of it (see
            `layer_decay` of `TrainingTask`). `'lora'` and `'soma'` are low-rank changes of its
            dense layers. `'rein'` and `'lora_rein'` are tokens that refine features after each
            block, or after each stage of a hierarchy. `'earth'` puts Earth-Adapter at the same
            places. `'gate'` is the toolbox of CrossEarth-Gate, to be trained with the method
            `FisherGating`.
        num_classes: Classes of the logits.
        img_size: Height and width of the images in px (one number for squares). The default is 512
            for plain transformers; for hierarchies see `fpn_timm`.
        in_channels: Bands of the images.
        pretrained: True for timm's weights, a path to a local file, False for random ones.
        mean: Mean per band, in [0, 1]. The default is ImageNet's, or their average if there are
            not three bands.
        std: Standard deviation per band, likewise.
        rank: Rank of LoRA, SoMA (default 16) and the tokens of LoRA-Rein (16), width of the
            bottlenecks of Earth-Adapter (64), and rank and widths of Gate (64, and 32 for
            frequencies). None takes these defaults. The other adapters have no rank.
        first: LoRA and SoMA change layers from this block on, or from this one of the four stages
            of a hierarchy; earlier ones stay frozen.
        width: Width of the decoder.

    Returns:
        Model of images in [0, 1]. The adapter and the decoder train.

    Raises:
        ConfigError: If the backbone is unknown, an argument does not belong to the adapter, or the
            adapter cannot be applied to the backbone.
        CheckpointError: If its weights cannot be loaded, or do not fit.

    Source:
        See each adapter in `crossearth.models.adapters`.

    Example:
        >>> model = adapted_fpn('resnet10t', 'lora', num_classes=6, rank=4, width=16)
        >>> sum(p.numel() for p in model.backbone.parameters() if p.requires_grad)
        68448
    """
    mean, std = band_statistics(in_channels, mean, std)
    _check(adapter, rank, first)
    size = None
    if _is_plain(name):
        side_px = _PLAIN_PX if img_size is None else img_size
        network = plain_transformer(
            name, img_size=side_px, in_channels=in_channels, pretrained=pretrained
        )
    else:
        if img_size is not None:  # images are padded to multiples of the coarsest stride
            height, width_px = height_width(img_size)
            size = ceil_div(height, 32) * 32, ceil_div(width_px, 32) * 32
        network = hierarchical_network(
            name, img_size=size, in_channels=in_channels, pretrained=pretrained
        )
    backbone = adapted_backbone(network, adapter, rank=rank, first=first, img_size=size)
    decoder = FPNDecoder(backbone.channels, num_classes, width=width)
    # The coarsest map has its exact stride only if the number of patches per side is even.
    multiple_px = 2 * backbone.patch_px[0] if isinstance(backbone, ReinViT) else 32
    return Segmenter(backbone, decoder, mean=mean, std=std, multiple_px=multiple_px)


def adapted_backbone(
    network: nn.Module,
    adapter: AdapterName | Callable[[int, int], Adapter],
    *,
    rank: int | None = None,
    first: int = 0,
    img_size: tuple[int, int] | None = None,
) -> ReinViT | TimmPyramid:
    """Turn a timm network into a backbone in which only the adapter trains; see `adapted_fpn`.

    Args:
        network: Taken over by the backbone: it is frozen and changed in place.
        adapter: A name, see `adapted_fpn`. Or a class or function of yours that takes depth and
            width and returns an adapter that refines features. It is called once with the number
            of blocks of a plain transformer, or four times with a depth of 1, for the stages of a
            hierarchy.
        rank: See `adapted_fpn`.
        first: See `adapted_fpn`.
        img_size: Height and width in px that a hierarchy was built for; used in error messages.

    Raises:
        ConfigError: As `adapted_fpn` does.

    Example:
        >>> backbone = adapted_backbone(timm.create_model('resnet10t'), 'earth', rank=4)
        >>> [name for name, p in backbone.named_parameters() if p.requires_grad][0]
        'model.layer1.adapter.alpha'
    """
    if isinstance(adapter, str):
        _check(adapter, rank, first)
    else:
        _check_own(adapter, rank, first)
    if _has_adapter(network):
        raise ConfigError(
            f'this {type(network).__name__} has an adapter already: build the network again, or '
            'fold LoRA and SoMA into its weights first (merged)'
        )
    if _has_blocks(network):
        return _adapted_transformer(network, adapter, rank, first)
    return _adapted_hierarchy(network, adapter, rank, first, img_size)


def merged(model: nn.Module) -> nn.Module:
    """Fold the LoRA or SoMA of a model into its weights, so that it runs as fast as without.

    Args:
        model: Changed in place. A model that `adapted_fpn` built is saved as a frozen model
            afterwards, with all its weights in the file. Models of other builders cannot be saved.

    Returns:
        The model.

    Raises:
        ConfigError: If nothing in it merges.

    Example:
        >>> model = adapted_fpn('resnet10t', 'lora', num_classes=6, rank=4, width=16)
        >>> merged(model).blueprint.arguments['adapter']
        'frozen'
    """
    merge(model)
    blueprint = blueprint_of(model)
    if blueprint is not None:
        own = blueprint.builder == 'adapted_fpn'
        # Not pretrained: save_model would otherwise leave out the merged weights as known ones.
        changed = {'adapter': 'frozen', 'rank': None, 'first': 0, 'pretrained': False}
        setattr(  # noqa: B010  # torch's types admit tensors and modules only
            model,
            'blueprint',
            Blueprint(blueprint.builder, blueprint.arguments | changed) if own else None,
        )
    return model


def _adapted_transformer(
    vit: nn.Module, adapter: str | _Make, rank: int | None, first: int
) -> ReinViT:
    if isinstance(vit, VisionTransformerSAM):
        vit = SAMEncoder(vit)
    blocks = transformer_blocks(vit)
    make = _refining(adapter, rank)
    refining = None
    if make is not None:
        refining = make(len(blocks), int(vit.embed_dim))  # type: ignore[arg-type]  # timm's attribute
    backbone = ReinViT(vit, refining, frozen=adapter != 'full')
    # After ReinViT, which freezes every parameter that the transformer has by then.
    _change_layers(vit, tuple(f'blocks.{i}' for i in range(len(blocks))), adapter, rank, first)
    return backbone


def _adapted_hierarchy(
    network: nn.Module,
    adapter: str | _Make,
    rank: int | None,
    first: int,
    size: tuple[int, int] | None,
) -> TimmPyramid:
    if adapter == 'full':
        return TimmPyramid(network, img_size=size)
    backbone = FrozenPyramid(network, img_size=size)
    if adapter == 'frozen':
        return backbone
    make = _refining(adapter, rank)
    if make is None:
        _change_layers(network, _stage_names(network), adapter, rank, first)
        return backbone
    stages = pyramid_stages(network)
    _change_layers(network, (), adapter, rank, first)
    refine_stages(network, stages, make)
    return backbone


def _refining(adapter: str | _Make, rank: int | None) -> _Make | None:
    """What builds the adapter of features, or None if the adapter changes weights or nothing."""
    if not isinstance(adapter, str):
        return adapter
    make = _REFINING.get(adapter)
    return None if make is None else lambda depth, dim: make(depth, dim, rank)


def _stage_names(network: nn.Module) -> tuple[str, ...]:
    """Names of the four stages, or none where timm does not name them: LoRA does without."""
    try:
        return tuple(stage.name for stage in pyramid_stages(network))
    except ConfigError:
        return ()


def _change_layers(
    network: nn.Module,
    places: tuple[str, ...],
    adapter: str | _Make,
    rank: int | None,
    first: int,
) -> None:
    """Add the adapters that change weights; the rest must be frozen already."""
    if adapter in ('lora', 'soma'):
        layers = [found.layer for found in dense_layers(network, places, first=first)]
        (add_lora if adapter == 'lora' else add_soma)(layers, rank=rank or 16)
    elif adapter == 'gate':
        add_toolbox(network, rank=rank or 64, width=rank or 64)


def _check(adapter: str, rank: int | None, first: int) -> None:
    if adapter not in _NAMES:
        raise ConfigError(
            f'adapter is {adapter!r}: expected one of {", ".join(_NAMES)}; for an adapter of '
            'yours, build the model from adapted_backbone and a decoder'
        )
    if isinstance(rank, bool) or not isinstance(rank, int | None):
        raise ConfigError(f'rank is {rank!r}: expected a whole number, or None')
    if rank is not None and (rank < 1 or adapter in ('frozen', 'full', 'rein')):
        raise ConfigError(
            f'rank={rank} with adapter={adapter!r}: expected a rank of at least 1, with an adapter '
            'that has one: lora, soma, lora_rein, earth or gate'
        )
    if first and adapter not in ('lora', 'soma'):
        raise ConfigError(
            f'first={first} with adapter={adapter!r}: expected lora or soma, which change layers'
        )


def _check_own(adapter: object, rank: int | None, first: int) -> None:
    if isinstance(adapter, nn.Module) or not callable(adapter):
        raise ConfigError(
            f'adapter is a {type(adapter).__name__}: expected a name, or a class or function that '
            'takes depth and width and returns an adapter; ReinViT(vit, adapter) takes one that '
            'is built'
        )
    if rank is not None or first:
        raise ConfigError(
            f'rank={rank} and first={first} with an adapter of yours: expected neither, set them '
            'where you build it, such as `lambda depth, dim: Mine(depth, dim, rank=4)`'
        )


def _has_adapter(network: nn.Module) -> bool:
    return any(isinstance(part, RefinedStage | LoRA | SoMA | Gated) for part in network.modules())


@functools.cache
def _is_plain(name: str) -> bool:
    """Whether timm's model of this name is a plain transformer, with all blocks on one grid."""
    if not timm.is_model(name):
        return False  # building it raises the error that names the remedy
    # The structure is enough here, and on this device the weights take neither time nor memory.
    with without_weights():
        return _has_blocks(timm.create_model(name))


def _has_blocks(network: nn.Module) -> bool:
    if isinstance(network, VisionTransformerSAM):
        return True
    try:
        transformer_blocks(network)
    except ConfigError:
        return False
    return True
