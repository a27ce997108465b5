"""The pixel decoder of Mask2Former: deformable attention over three levels, FPN for the fourth.

Source: "Masked-attention Mask Transformer for Universal Image Segmentation" (arXiv 2112.01527),
section 3.2.1. Parameter names are those of the published checkpoints.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.decoders.deformable import MultiScaleDeformableAttention
from crossearth.models.features import Features

__all__ = ['DeformablePixelDecoder', 'PixelFeatures', 'sine_positions']


class PixelFeatures(NamedTuple):
    """What the pixel decoder hands to the mask decoder.

    Args:
        mask_features: Per-pixel embeddings at the stride of the finest map.
        levels: Three maps, coarse to fine, at strides 32, 16 and 8.
    """

    mask_features: Float[Tensor, 'b c h w']
    levels: tuple[Tensor, Tensor, Tensor]


def sine_positions(
    dim: int, rows: int, cols: int, *, device: torch.device | None = None
) -> Float[Tensor, 'dim rows cols']:
    """Position of each pixel of a map as sines and cosines, y in the first half, x in the second.

    Positions run to 2π at the last row and column. They are always float32, because in half
    precision neighbouring pixels of a large map would share a position.

    Args:
        dim: Number of values per pixel, a multiple of 4.
        rows: Height of the map.
        cols: Width of the map.
        device: Where the positions are needed.

    Source:
        DETR (arXiv 2005.12872), appendix A.4, as Mask2Former uses it (normalised, temperature
        10000, eps 1e-6).

    Example:
        >>> positions = sine_positions(8, 2, 3)
        >>> positions.shape, round(positions[0, 0, 0].item(), 3)  # sin(2π · 1/2)
        (torch.Size([8, 2, 3]), 0.0)
    """
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float32, device=device).div(2).floor() * (2 / half)
    periods = 10000**exponents

    def along(side: int) -> Tensor:
        steps = torch.arange(1, side + 1, dtype=torch.float32, device=device)
        phases = (steps / (side + 1e-6) * (2 * math.pi))[:, None] / periods
        return torch.stack([phases[:, 0::2].sin(), phases[:, 1::2].cos()], dim=-1).flatten(1)

    y = along(rows).T[:, :, None].expand(half, rows, cols)
    x = along(cols).T[:, None, :].expand(half, rows, cols)
    return torch.cat([y, x])


class DeformablePixelDecoder(nn.Module):
    """Backbone maps → three refined levels, and per-pixel embeddings for the masks.

    Args:
        channels: Widths of the backbone's maps, fine to coarse.
        dim: Width inside, a multiple of `heads` and of 32 (groups of the norms).
        depth: Number of attention layers.
        heads: Heads of each layer.
        points: Points that each head reads in each level.
        ffn_dim: Width inside the feed-forward parts.

    Raises:
        ConfigError: If `dim` is not a multiple of 32 and of `heads`.

    Source:
        Mask2Former, section 3.2.1; Deformable DETR, eq. 3.

    Example:
        >>> decoder = DeformablePixelDecoder((8, 8, 8, 8), dim=32, depth=1, ffn_dim=16)
        >>> maps = tuple(torch.rand(1, 8, 32 >> i, 32 >> i) for i in range(4))
        >>> [tuple(level.shape[2:]) for level in decoder(Features(maps)).levels]
        [(4, 4), (8, 8), (16, 16)]
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        *,
        dim: int = 256,
        depth: int = 6,
        heads: int = 8,
        points: int = 4,
        ffn_dim: int = 1024,
    ) -> None:
        super().__init__()
        if dim % 32 or dim % heads:
            raise ConfigError(
                f'dim is {dim}: expected a multiple of 32, the groups of the norms, and of {heads} '
                'heads'
            )
        self.dim = dim
        # index 0 is the coarsest, as in published checkpoints
        self.input_convs = nn.ModuleList(
            _ConvNorm(width, dim, 1, bias=True) for width in channels[:0:-1]
        )
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(
            _EncoderLayer(dim, heads=heads, points=points, ffn_dim=ffn_dim) for _ in range(depth)
        )
        self.level_encoding = nn.Embedding(3, dim)
        self.lateral_convs = nn.ModuleList([_ConvNorm(channels[0], dim, 1)])
        self.output_convs = nn.ModuleList([_ConvNorm(dim, dim, 3)])
        self.mask_feature = nn.Conv2d(dim, dim, 1)

    def forward(self, features: Features) -> PixelFeatures:
        """Refined levels and per-pixel embeddings; queries are not used."""
        finest, *coarser = features.maps
        projected = [
            conv(level) for conv, level in zip(self.input_convs, reversed(coarser), strict=True)
        ]
        sizes = [(level.shape[-2], level.shape[-1]) for level in projected]
        memory = torch.cat([level.flatten(2).transpose(1, 2) for level in projected], dim=1)
        positions = torch.cat(
            [
                sine_positions(self.dim, rows, cols, device=memory.device).flatten(1).T + encoding
                for (rows, cols), encoding in zip(sizes, self.level_encoding.weight, strict=True)
            ]
        ).to(memory.dtype)
        places = torch.cat([_centres(rows, cols, memory.device) for rows, cols in sizes])
        for layer in self.encoder.layers:  # type: ignore[union-attr]  # the ModuleList set above
            memory = layer(memory, positions, places, sizes)
        starts = [0, *accumulate(rows * cols for rows, cols in sizes)]
        low, middle, high = (
            memory[:, start:stop].transpose(1, 2).reshape(-1, self.dim, *size)
            for (start, stop), size in zip(pairwise(starts), sizes, strict=True)
        )
        enlarged = F.interpolate(high, finest.shape[-2:], mode='bilinear', align_corners=False)
        merged = self.output_convs[0](self.lateral_convs[0](finest) + enlarged).relu()
        return PixelFeatures(self.mask_feature(merged), (low, middle, high))


def _centres(rows: int, cols: int, device: torch.device) -> Float[Tensor, 'n xy']:
    """Pixel centres as fractions x, y of the map, row-major; always float32, like the positions."""
    y = (torch.arange(rows, dtype=torch.float32, device=device) + 0.5) / rows
    x = (torch.arange(cols, dtype=torch.float32, device=device) + 0.5) / cols
    grid = torch.stack([x.expand(rows, cols), y[:, None].expand(rows, cols)], dim=-1)
    return grid.flatten(0, 1)


class _ConvNorm(nn.Module):
    """Convolution and group norm, under their names in published checkpoints."""

    def __init__(self, inside: int, outside: int, kernel: int, *, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=bias)
        self.gn = nn.GroupNorm(32, outside)
        nn.init.xavier_uniform_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, features: Tensor) -> Tensor:
        normed: Tensor = self.gn(self.conv(features))
        return normed


class _EncoderLayer(nn.Module):
    """Deformable attention, then a feed-forward part, with norms after each (post-norm)."""

    def __init__(self, dim: int, *, heads: int, points: int, ffn_dim: int) -> None:
        super().__init__()
        self.self_attn = MultiScaleDeformableAttention(dim, heads=heads, levels=3, points=points)
        self.ffn = FeedForward(dim, ffn_dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))

    def forward(
        self,
        memory: Tensor,
        positions: Tensor,
        places: Tensor,
        sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        memory = self.norms[0](memory + self.self_attn(memory + positions, memory, places, sizes))
        refined: Tensor = self.norms[1](self.ffn(memory))
        return refined


class FeedForward(nn.Module):
    """Two linear layers around a ReLU, with a residual connection; names as published."""

    def __init__(self, dim: int, inside: int) -> None:
        super().__init__()
        widen, narrow = nn.Linear(dim, inside), nn.Linear(inside, dim)
        self.layers = nn.Sequential(nn.Sequential(widen, nn.ReLU()), narrow)
        for linear in (widen, narrow):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, features: Float[Tensor, 'b n c']) -> Float[Tensor, 'b n c']:
        """Features plus the output of the two layers."""
        refined: Tensor = features + self.layers(features)
        return refined
