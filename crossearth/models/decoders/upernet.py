"""UPerNet's decoder: pooled context on the coarsest map, a feature pyramid, and their fusion."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.decoders.per_pixel import PerPixelDecoder
from crossearth.models.features import Features

__all__ = ['UPerNetDecoder']


class UPerNetDecoder(PerPixelDecoder):
    """Feature pyramid → logits at the stride of the finest map.

    The coarsest map is averaged over grids of `pools` cells per side. Each grid is brought to
    `width`, enlarged and fused with the map. From there down it is a feature pyramid, whose levels
    are enlarged to the finest, concatenated and fused.

    Args:
        channels: Widths of the maps, fine to coarse.
        num_classes: Classes of the logits.
        width: Width of the decoder.
        pools: Cells per side of each grid of averages.
        dropout: Share of channels dropped before the classifier in training.

    Raises:
        ConfigError: If a count is not positive or `dropout` lies outside of [0, 1).

    Source:
        Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018,
        arXiv 1807.10221, §3.1 (the part for semantic segmentation); grids 1, 2, 3, 6 of PSPNet,
        arXiv 1612.01105. Norms are group norms, so that a batch of one window, even in its 1×1
        grid, can be trained on; the paper has batch norms over many GPUs.

    Example:
        >>> decoder = UPerNetDecoder((4, 8, 16, 32), num_classes=3, width=16)
        >>> maps = tuple(torch.rand(1, 4 * 2**i, 32 >> i, 32 >> i) for i in range(4))
        >>> decoder(Features(maps)).shape
        torch.Size([1, 3, 32, 32])
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        num_classes: int,
        *,
        width: int = 512,
        pools: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if min(*channels, num_classes, width, *pools) < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f'channels {channels}, num_classes {num_classes}, width {width} and pools '
                f'{tuple(pools)} must be positive, and dropout {dropout} lie in [0, 1)'
            )
        self.num_classes = num_classes
        self.pools = tuple(pools)
        self.contexts = nn.ModuleList(_conv(channels[-1], width, 1) for _ in pools)
        self.bottleneck = _conv(channels[-1] + len(pools) * width, width, 3)
        self.laterals = nn.ModuleList(_conv(c, width, 1) for c in channels[:-1])
        self.smooths = nn.ModuleList(_conv(width, width, 3) for _ in channels[:-1])
        self.fuse = _conv(len(channels) * width, width, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Features) -> Float[Tensor, 'b k h4 w4']:
        """Logits at the stride of the finest map; queries are not used."""
        coarsest = features.maps[-1]
        contexts = [
            _resize(context(F.adaptive_avg_pool2d(coarsest, pool)), coarsest)
            for context, pool in zip(self.contexts, self.pools, strict=True)
        ]
        merged = self.bottleneck(torch.cat([coarsest, *contexts], dim=1))
        levels = [merged]
        finer = list(zip(features.maps[:-1], self.laterals, self.smooths, strict=True))
        for level, lateral, smooth in reversed(finer):
            merged = lateral(level) + _resize(merged, level)
            levels.append(smooth(merged))
        finest = levels[-1]
        fused = self.fuse(torch.cat([_resize(level, finest) for level in levels], dim=1))
        logits: Tensor = self.classify(self.dropout(fused))
        return logits


def _conv(inside: int, width: int, kernel: int) -> nn.Sequential:
    groups = max(math.gcd(width, 128) // 4, 1)  # 4 or more channels per group
    return nn.Sequential(
        nn.Conv2d(inside, width, kernel, padding=kernel // 2, bias=False),
        nn.GroupNorm(groups, width),
        nn.ReLU(inplace=True),
    )


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode='bilinear', align_corners=False)
