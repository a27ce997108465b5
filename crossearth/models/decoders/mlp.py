"""The decoder of SegFormer: a linear layer per stage, and one over all of them."""

from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.decoders.per_pixel import PerPixelDecoder, stack_levels
from crossearth.models.features import Features

__all__ = ['MLPDecoder']


class MLPDecoder(PerPixelDecoder):
    """Feature pyramid → logits at the stride of the finest map.

    Args:
        channels: Widths of the maps, fine to coarse.
        num_classes: Classes of the logits.
        width: Width of the decoder.
        dropout: Share of channels dropped before the classifier in training.

    Raises:
        ConfigError: If a count is not positive or `dropout` lies outside of [0, 1).

    Source:
        Xie et al., SegFormer, NeurIPS 2021, arXiv 2105.15203, §3.2 (all-MLP decoder).

    Example:
        >>> import torch
        >>> decoder = MLPDecoder((4, 8, 16, 32), num_classes=3, width=16)
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
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if min(*channels, num_classes, width) < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f'channels {channels}, num_classes {num_classes} and width {width} must be '
                f'positive, and dropout {dropout} lie in [0, 1)'
            )
        self.num_classes = num_classes
        self.embeds = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.fuse = nn.Sequential(
            nn.Conv2d(len(channels) * width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Features) -> Float[Tensor, 'b k h4 w4']:
        """Logits at the stride of the finest map; queries are not used."""
        fused = self.fuse(stack_levels(self.embeds, features))
        logits: Tensor = self.classify(self.dropout(fused))
        return logits
