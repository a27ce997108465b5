"""What adapters need to know of a timm network: its stages, and its dense layers by name."""

from typing import Any, NamedTuple

from torch import nn

from crossearth.errors import ConfigError

__all__ = ['DenseLayer', 'Stage', 'dense_layers', 'layer_depths', 'pyramid_stages']

_STRIDES = (4, 8, 16, 32)


class Stage(NamedTuple):
    """A part of a network after which its features can be refined.

    Args:
        name: Name of the module in the network.
        channels: Width of its features.
        channels_last: Whether they are (b, h, w, c) instead of (b, c, h, w).
    """

    name: str
    channels: int
    channels_last: bool


class DenseLayer(NamedTuple):
    """A layer whose weights are one matrix.

    Args:
        name: Name in the network.
        layer: A linear layer, or a convolution without groups.
        place: Index of the block or stage that it is in, counted from 0.
    """

    name: str
    layer: nn.Linear | nn.Conv2d
    place: int


def pyramid_stages(network: nn.Module) -> tuple[Stage, ...]:
    """The stages of a CNN or hierarchical transformer that end at strides 4, 8, 16 and 32.

    Args:
        network: Built by timm.

    Raises:
        ConfigError: If timm does not say where these stages end.

    Example:
        >>> import timm
        >>> [stage.name for stage in pyramid_stages(timm.create_model('resnet10t'))]
        ['layer1', 'layer2', 'layer3', 'layer4']
    """
    timm: Any = network
    last = {int(i['reduction']): i for i in getattr(network, 'feature_info', ())}
    modules = dict(network.named_modules())
    names = [str(last[stride]['module']) for stride in _STRIDES if stride in last]
    if len(names) != len(_STRIDES) or any(name not in modules for name in names):
        raise ConfigError(
            f'{type(network).__name__} does not say which of its modules end at strides 4, 8, 16 '
            'and 32 (timm gives them as feature_info): choose a CNN or hierarchical transformer '
            'that does, such as resnet18, tf_efficientnet_lite0, tiny_vit_5m_224 or '
            'swin_tiny_patch4_window7_224'
        )
    channels_last = getattr(timm, 'output_fmt', 'NCHW') == 'NHWC'
    return tuple(
        Stage(name, int(last[stride]['num_chs']), channels_last)
        for name, stride in zip(names, _STRIDES, strict=True)
    )


def dense_layers(
    network: nn.Module, places: tuple[str, ...] = (), *, first: int = 0
) -> list[DenseLayer]:
    """Linear layers and convolutions without groups that features pass through.

    Three kinds are left out: depthwise and grouped convolutions, which are not one matrix; the
    first convolution, which sees the image; and everything after the last place, which no decoder
    reads.

    Args:
        network: Built by timm.
        places: Names of its blocks or stages, in order; empty for one place, the whole network.
        first: The first place whose layers are wanted. Layers between two places belong to the
            later one.

    Raises:
        ConfigError: If there is no such place, or no module has this name.

    Example:
        >>> import timm
        >>> network = timm.create_model('resnet10t')
        >>> layers = dense_layers(network, ('layer1', 'layer2', 'layer3', 'layer4'), first=3)
        >>> [layer.name for layer in layers]
        ['layer4.0.conv1', 'layer4.0.conv2', 'layer4.0.downsample.1']
    """
    count = max(len(places), 1)
    if not 0 <= first < count:
        raise ConfigError(
            f'first is {first}: expected 0 to {count - 1}, because {type(network).__name__} has '
            f'{count} block(s) or stage(s) that timm names'
        )
    named = list(network.named_modules())
    unknown = [place for place in places if place not in dict(named)]
    if unknown:
        raise ConfigError(
            f'{type(network).__name__} has no module {unknown[0]!r}: expected names of its blocks '
            'or stages, such as those of pyramid_stages'
        )
    ends = [
        # With a dot at the end, because blocks.1 does not contain blocks.10.
        max(i for i, (name, _) in enumerate(named) if f'{name}.'.startswith(f'{place}.'))
        for place in places
    ] or [len(named)]
    stems = _first_convolutions(network)
    found = []
    for index, (name, module) in enumerate(named):
        place = sum(index > end for end in ends)
        dense = isinstance(module, nn.Linear) or (
            isinstance(module, nn.Conv2d) and module.groups == 1
        )
        if dense and name not in stems and first <= place < count:
            assert isinstance(module, nn.Linear | nn.Conv2d)
            found.append(DenseLayer(name, module, place))
    return found


def layer_depths(network: nn.Module) -> dict[str, int]:
    """The depth of each parameter of a network, as timm counts it: 0 for the stem.

    Args:
        network: Built by timm.

    Raises:
        ConfigError: If its family does not state it.

    Example:
        >>> import timm
        >>> depths = layer_depths(timm.create_model('vit_tiny_patch16_224', depth=2))
        >>> depths['pos_embed'], depths['blocks.1.mlp.fc1.weight']
        (0, 2)
    """
    from timm.models import group_parameters

    timm: Any = network
    if not hasattr(network, 'group_matcher'):
        raise ConfigError(
            f'{type(network).__name__} does not state how deep its layers are (timm calls this '
            'group_matcher): train it with layer_decay=1'
        )
    return dict(group_parameters(network, timm.group_matcher(coarse=False), reverse=True))


def _first_convolutions(network: nn.Module) -> set[str]:
    """Names of the convolutions that see the image, as timm has them."""
    config: Any = getattr(network, 'pretrained_cfg', None) or {}
    names = config.get('first_conv') or ()
    return {names} if isinstance(names, str) else set(names)
