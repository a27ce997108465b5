"""A light decoder: a feature pyramid network with one convolution per level."""

import math

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.decoders.losses import pixel_losses
from crossearth.models.decoders.per_pixel import PerPixelDecoder
from crossearth.models.features import Features

__all__ = ['FPNDecoder']


class FPNDecoder(PerPixelDecoder):
    """Feature pyramid → logits at the stride of the finest map.

    From the coarsest map down: 1×1 convolution to `width`, plus the level above enlarged
    (bilinear), then a 3×3 convolution. Norms are group norms. Batches of one or two chips give
    batch norm poor statistics, and the statistics it keeps belong to the source domain, which a
    model for unseen domains should not depend on.

    Args:
        channels: Widths of the maps, fine to coarse.
        num_classes: Classes of the logits.
        width: Width of the decoder.

    Raises:
        ConfigError: If a count is not positive.

    Source:
        "Feature Pyramid Networks for Object Detection" (arXiv 1612.03144), section 3, with the
        smoothing convolution inside the top-down path, so that the result is one map.

    Example:
        >>> import torch
        >>> decoder = FPNDecoder((4, 8, 16, 32), num_classes=3, width=16)
        >>> maps = tuple(torch.rand(1, 4 * 2**i, 32 >> i, 32 >> i) for i in range(4))
        >>> decoder(Features(maps)).shape
        torch.Size([1, 3, 32, 32])
    """

    def __init__(
        self, channels: tuple[int, int, int, int], num_classes: int, *, width: int = 128
    ) -> None:
        super().__init__()
        if num_classes < 1 or width < 1 or any(c < 1 for c in channels):
            raise ConfigError(
                f'channels {channels}, num_classes {num_classes} and width {width} must be positive'
            )
        self.num_classes = num_classes
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.smooths = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.GroupNorm(max(math.gcd(width, 32) // 4, 1), width),  # 4 or more channels each
                nn.ReLU(inplace=True),
            )
            for _ in channels
        )
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Features) -> Float[Tensor, 'b k h4 w4']:
        """Logits at the stride of the finest map; queries are not used."""
        levels = list(zip(features.maps, self.laterals, self.smooths, strict=True))
        finest, lateral, smooth = levels.pop()
        merged: Tensor = smooth(lateral(finest))
        while levels:
            finer, lateral, smooth = levels.pop()
            enlarged = F.interpolate(merged, finer.shape[-2:], mode='bilinear', align_corners=False)
            merged = smooth(lateral(finer) + enlarged)
        logits: Tensor = self.classify(merged)
        return logits

    def losses_of(
        self, logits: Float[Tensor, 'b k h w'], mask: Int64[Tensor, 'b h w']
    ) -> dict[str, Tensor]:
        """Cross entropy and Dice, see `pixel_losses`."""
        return pixel_losses(logits, mask)
