"""The decoder of DAFormer: all stages side by side, fused with context at several dilations."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.decoders.per_pixel import PerPixelDecoder, stack_levels
from crossearth.models.features import Features

__all__ = ['DAFormerDecoder']


class DAFormerDecoder(PerPixelDecoder):
    """Feature pyramid → logits at the stride of the finest map.

    Each map goes through a linear layer to `width`, is enlarged to the finest map and
    concatenated. The fusion applies parallel convolutions to them, a 1×1 and depthwise separable
    3×3 ones of growing dilation, and merges the results with a 3×3 convolution. There is no global
    pooling.

    Args:
        channels: Widths of the maps, fine to coarse.
        num_classes: Classes of the logits.
        width: Width of the decoder.
        dilations: Dilations of the separable convolutions.
        dropout: Share of channels dropped before the classifier in training.

    Raises:
        ConfigError: If a count is not positive or `dropout` lies outside of [0, 1).

    Source:
        Hoyer et al., DAFormer, CVPR 2022, arXiv 2111.14887, §3.2 (context-aware feature fusion):
        width 256, dilations 1, 6, 12, 18, dropout 0.1; the branch of dilation 1 is a 1×1
        convolution, as in its released configuration.

    Example:
        >>> decoder = DAFormerDecoder((4, 8, 16, 32), num_classes=3, width=16)
        >>> maps = tuple(torch.rand(2, 4 * 2**i, 32 >> i, 32 >> i) for i in range(4))
        >>> decoder(Features(maps)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        num_classes: int,
        *,
        width: int = 256,
        dilations: Sequence[int] = (6, 12, 18),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if min(*channels, num_classes, width, *dilations) < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f'channels {channels}, num_classes {num_classes}, width {width} and dilations '
                f'{tuple(dilations)} must be positive, and dropout {dropout} lie in [0, 1)'
            )
        self.num_classes = num_classes
        self.embeds = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        inside = width * len(channels)
        self.branches = nn.ModuleList(
            [_normed(nn.Conv2d(inside, width, 1, bias=False), width)]
            + [_separable(inside, width, dilation) for dilation in dilations]
        )
        self.fuse = _normed(
            nn.Conv2d(width * len(self.branches), width, 3, padding=1, bias=False), width
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Features) -> Float[Tensor, 'b k h4 w4']:
        """Logits at the stride of the finest map; queries are not used."""
        stacked = stack_levels(self.embeds, features)
        seen = torch.cat([branch(stacked) for branch in self.branches], dim=1)
        logits: Tensor = self.classify(self.dropout(self.fuse(seen)))
        return logits


def _normed(conv: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _separable(inside: int, width: int, dilation: int) -> nn.Sequential:
    """A 3×3 convolution per channel, then one across channels, each with norm and ReLU."""
    across = nn.Conv2d(inside, width, 1, bias=False)
    each = nn.Conv2d(
        inside, inside, 3, padding=dilation, dilation=dilation, groups=inside, bias=False
    )
    return nn.Sequential(_normed(each, inside), _normed(across, width))
