"""DINOv2 weights, converted to patches of 16 px and another image size, in timm's naming."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.patch_embed import resample_patch_embed
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.weights.fitting import fit_weights
from crossearth.models.weights.pretrained import adapt_bands, check_pretrained, create_timm
from crossearth.models.weights.reading import read_weights
from crossearth.spelling import check_choice

__all__ = ['convert_dinov2', 'dinov2_vit']

Rule = Literal['released', 'preserving']


def convert_dinov2(
    state: Mapping[str, Tensor],
    *,
    img_size: int | tuple[int, int] = 512,
    patch_px: int = 16,
    rule: Rule = 'released',
) -> dict[str, Tensor]:
    """DINOv2 weights (patch 14, 37×37 positions) resized for another patch and image size.

    Args:
        state: Official weights of a DINOv2 transformer, with or without registers, or timm's
            version of them. Not changed.
        img_size: Height and width in px that positions are built for; one number for both.
        patch_px: Side of a patch.
        rule: How kernel and positions are resized. `'released'` gives the published numbers of
            Rein and CrossEarth: plain bicubic interpolation of both. It multiplies patch
            embeddings by (16/14)² = 1.306, because the larger kernel sums over more pixels.
            `'preserving'` is timm's rule: the kernel keeps the embedding of an image that is
            enlarged with the patch (FlexiViT's pseudo-inverse), and positions are antialiased.

    Returns:
        Weights that load into timm's model of the same name built with `patch_size=patch_px` and
        this `img_size`, strictly; the mask token is dropped.

    Raises:
        CheckpointError: If the weights are not a vision transformer's, or their position grid is
            not square.
        ConfigError: If the image is not a multiple of the patch.

    Source:
        Rein's published conversion script, from its behaviour; FlexiViT (arXiv 2212.08013), eq. 1.

    Example:
        >>> import torch
        >>> state = {'patch_embed.proj.weight': torch.ones(8, 3, 14, 14),
        ...          'pos_embed': torch.zeros(1, 1 + 37 * 37, 8)}
        >>> converted = convert_dinov2(state, img_size=512)
        >>> [tuple(t.shape) for t in converted.values()]
        [(8, 3, 16, 16), (1, 1025, 8)]
    """
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    _check_size(height, width, patch_px)
    check_choice('rule', rule, get_args(Rule))
    for name in ('patch_embed.proj.weight', 'pos_embed'):
        if name not in state:
            raise CheckpointError(
                f'weights have no {name!r}: expected those of a DINOv2 vision transformer'
            )
    converted = {_timm_name(name): t for name, t in state.items() if name != 'mask_token'}
    converted['patch_embed.proj.weight'] = _resize_kernel(
        state['patch_embed.proj.weight'], patch_px, rule=rule
    )
    positions = state['pos_embed']
    prefix = positions.shape[1] - math.isqrt(positions.shape[1] - 1) ** 2
    if positions.shape[1] == math.isqrt(positions.shape[1]) ** 2:
        prefix = 0  # timm's models with registers keep positions only for patches
    if prefix not in (0, 1):
        raise CheckpointError(
            f'pos_embed has {positions.shape[1]} positions: expected a square grid, and one more '
            'for the class token'
        )
    grid = (height // patch_px, width // patch_px)
    positions = _resize_positions(positions, grid, prefix=prefix, rule=rule)
    if 'register_tokens' in state:
        # timm adds the class token's position to the token itself, because registers have none
        converted['cls_token'] = state['cls_token'] + positions[:, :1]
        positions = positions[:, 1:]
    converted['pos_embed'] = positions
    return converted


def _check_size(height: int, width: int, patch_px: int) -> None:
    if patch_px < 1 or height % patch_px or width % patch_px or min(height, width) < patch_px:
        raise ConfigError(
            f'img_size is {height}x{width} px, expected multiples of the patch, {patch_px} px'
        )


def _timm_name(name: str) -> str:
    renamed = {
        'register_tokens': 'reg_token',
        '.mlp.w12.': '.mlp.fc1.',
        '.mlp.w3.': '.mlp.fc2.',
    }
    for theirs, ours in renamed.items():
        name = name.replace(theirs, ours)
    return name


def _resize_kernel(
    kernel: Float[Tensor, 'd c p p'], patch_px: int, *, rule: str
) -> Float[Tensor, 'd c q q']:
    if kernel.shape[-1] == patch_px:
        return kernel
    if rule == 'preserving':
        resized: Tensor = resample_patch_embed(kernel, [patch_px, patch_px])
        return resized
    # Sums over more pixels grow: embeddings become (16 / 14)² = 1.306 times as large. Released
    # weights were trained with these.
    return F.interpolate(kernel, (patch_px, patch_px), mode='bicubic', align_corners=False)


def _resize_positions(
    positions: Float[Tensor, '1 n d'], grid: tuple[int, int], *, prefix: int, rule: str
) -> Float[Tensor, '1 m d']:
    side = math.isqrt(positions.shape[1] - prefix)
    if (side, side) == grid:
        return positions
    if rule == 'preserving':
        resized: Tensor = resample_abs_pos_embed(
            positions, list(grid), [side, side], num_prefix_tokens=prefix
        )
        return resized
    patches = positions[:, prefix:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    # Without antialiasing, unlike timm, as in the conversion of the released weights.
    patches = F.interpolate(patches, grid, mode='bicubic', align_corners=False)
    return torch.cat([positions[:, :prefix], patches.flatten(2).transpose(1, 2)], dim=1)


def dinov2_vit(
    name: str = 'vit_large_patch14_dinov2',
    *,
    img_size: int | tuple[int, int] = 512,
    patch_px: int = 16,
    in_channels: int = 3,
    pretrained: bool | str | Path = False,
    rule: Rule = 'released',
) -> nn.Module:
    """A timm DINOv2 transformer for patches of 16 px, with converted weights.

    Args:
        name: timm's name of the model, with or without registers.
        img_size: Height and width in px that positions are built for.
        patch_px: Side of a patch.
        in_channels: Bands of the images.
        pretrained: True for timm's weights, a path to official, timm or already converted weights,
            False for random ones.
        rule: See `convert_dinov2`.

    Returns:
        The transformer without a head, for any image size.

    Raises:
        ConfigError: If timm has no such model, or the sizes do not fit.
        CheckpointError: If the weights cannot be loaded, or belong to another model.

    Example:
        >>> vit = dinov2_vit('vit_small_patch14_dinov2', img_size=(64, 96))
        >>> vit.patch_embed.patch_size, tuple(vit.pos_embed.shape)
        ((16, 16), (1, 25, 384))
    """
    check_pretrained(pretrained)
    size = (img_size, img_size) if isinstance(img_size, int) else img_size
    _check_size(*size, patch_px)
    check_choice('rule', rule, get_args(Rule))
    vit = create_timm(
        name,
        in_channels=in_channels,
        img_size=size,
        patch_size=patch_px,
        dynamic_img_size=True,
        num_classes=0,
    )
    if pretrained is False:
        return vit
    if pretrained is True:
        source = create_timm(name, pretrained=True, num_classes=0).state_dict()
    else:
        source = read_weights(pretrained)
    state = convert_dinov2(source, img_size=size, patch_px=patch_px, rule=rule)
    kernel = state['patch_embed.proj.weight']
    state['patch_embed.proj.weight'] = adapt_bands(kernel, in_channels)
    fit_weights(vit, state, source=f'{name!r} from {pretrained}')
    return vit
