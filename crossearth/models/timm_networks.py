"""timm networks and band statistics from the plain arguments of builders."""

from collections.abc import Sequence

from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from crossearth.models.weights.pretrained import create_timm

__all__ = ['band_statistics', 'height_width', 'hierarchical_network', 'plain_transformer']


def hierarchical_network(
    name: str, *, img_size: tuple[int, int] | None, in_channels: int, pretrained: bool | str
) -> nn.Module:
    """A timm CNN or hierarchical transformer, built for images of a given size, if any."""
    if img_size is None:
        return create_timm(name, pretrained=pretrained, in_channels=in_channels)
    try:
        return create_timm(name, pretrained=pretrained, in_channels=in_channels, img_size=img_size)
    except TypeError as error:
        raise ConfigError(
            f'{name!r} takes no img_size, because it takes images of any size: leave img_size out'
        ) from error
    except AssertionError as error:  # NesT, for example, takes only squares
        raise ConfigError(
            f'{name!r} cannot be built for {img_size[0]}x{img_size[1]} px ({error}): choose '
            'another img_size'
        ) from error


def plain_transformer(
    name: str, *, img_size: int | Sequence[int], in_channels: int, pretrained: bool | str
) -> nn.Module:
    """A timm transformer without a head, for any image size where its family allows it."""
    given = {'img_size': height_width(img_size), 'num_classes': 0}
    try:
        return create_timm(
            name, pretrained=pretrained, in_channels=in_channels, dynamic_img_size=True, **given
        )
    except TypeError:  # Beit and CaiT have no such argument and take one size
        pass
    try:
        return create_timm(name, pretrained=pretrained, in_channels=in_channels, **given)
    except TypeError as error:
        raise ConfigError(
            f'{name!r} takes no img_size, so it is not a plain vision transformer: choose one, '
            'such as vit_small_patch16_dinov3, or use fpn_timm or adapted_fpn for CNNs and '
            'hierarchies'
        ) from error


def height_width(img_size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width in px."""
    size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f'img_size is {img_size}: expected one side or (height, width) in px')
    return size


def band_statistics(
    in_channels: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[list[float], list[float]]:
    """Mean and std per band: the given values, or ImageNet's."""
    if in_channels < 1:
        raise ConfigError(f'in_channels is {in_channels}: expected at least one band')
    three = in_channels == 3
    if mean is None:
        mean = IMAGENET_MEAN if three else [sum(IMAGENET_MEAN) / 3] * in_channels
    if std is None:
        std = IMAGENET_STD if three else [sum(IMAGENET_STD) / 3] * in_channels
    if len(mean) != in_channels or len(std) != in_channels:
        raise ConfigError(
            f'mean has {len(mean)} and std {len(std)} values for {in_channels} bands: pass one '
            'per band'
        )
    return list(mean), list(std)
