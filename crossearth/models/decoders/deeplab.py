"""The heads of DeepLab: dilated convolutions on the coarsest map of a dilated backbone."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.decoders.per_pixel import PerPixelDecoder
from crossearth.models.features import Features

__all__ = ['DeepLabV2Decoder', 'DeepLabV3Decoder']


class _CoarsestMap(PerPixelDecoder):
    """Logits of the last map, trained by cross entropy at the image's size."""

    head: nn.Module

    def forward(self, features: Features) -> Float[Tensor, 'b k h w']:
        """Logits at the stride of the coarsest map; the other maps are not used."""
        logits: Tensor = self.head(features.maps[-1])
        return logits


class DeepLabV2Decoder(_CoarsestMap):
    """Atrous spatial pyramid pooling: classifiers of several dilations, summed.

    Args:
        channels: Widths of the maps; only the last one is used.
        num_classes: Classes of the logits.
        dilations: Dilation of each 3×3 classifier, for a map at stride 8.

    Raises:
        ConfigError: If a count is not positive.

    Source:
        Chen et al., DeepLab, TPAMI 2018, arXiv 1606.00915, §3.2: dilations 6, 12, 18, 24
        ("ASPP-L"), with one classifier per branch directly on the features, as is usual with a
        ResNet-101.

    Example:
        >>> decoder = DeepLabV2Decoder((4, 8, 16, 32), num_classes=3)
        >>> maps = tuple(torch.rand(1, c, 8, 8) for c in (4, 8, 16, 32))
        >>> decoder(Features(maps)).shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        num_classes: int,
        *,
        dilations: Sequence[int] = (6, 12, 18, 24),
    ) -> None:
        super().__init__()
        if min(*channels, num_classes, *dilations) < 1:
            raise ConfigError(
                f'channels {channels}, num_classes {num_classes} and dilations '
                f'{tuple(dilations)} must be positive'
            )
        self.num_classes = num_classes
        self.head = _Sum(
            nn.Conv2d(channels[-1], num_classes, 3, padding=d, dilation=d) for d in dilations
        )


class DeepLabV3Decoder(_CoarsestMap):
    """torchvision's head: parallel dilated convolutions with global pooling, then two layers.

    Args:
        channels: Widths of the maps; only the last one is used.
        num_classes: Classes of the logits.
        dilations: Dilations of the 3×3 convolutions, for a map at stride 8.

    Raises:
        ConfigError: If a count is not positive.

    Source:
        Chen et al., arXiv 1706.05587, §3.3 (dilations doubled for output stride 8: 12, 24, 36), as
        `torchvision.models.segmentation.deeplabv3` builds it. Its global pooling has a batch norm,
        so a batch of one window cannot train it.

    Example:
        >>> decoder = DeepLabV3Decoder((4, 8, 16, 32), num_classes=3)
        >>> maps = tuple(torch.rand(2, c, 8, 8) for c in (4, 8, 16, 32))
        >>> decoder(Features(maps)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        num_classes: int,
        *,
        dilations: Sequence[int] = (12, 24, 36),
    ) -> None:
        super().__init__()
        if min(*channels, num_classes, *dilations) < 1:
            raise ConfigError(
                f'channels {channels}, num_classes {num_classes} and dilations '
                f'{tuple(dilations)} must be positive'
            )
        # imported here, because torchvision takes a second and only this head needs it
        from torchvision.models.segmentation.deeplabv3 import DeepLabHead

        self.num_classes = num_classes
        self.head = DeepLabHead(channels[-1], num_classes, list(dilations))


class _Sum(nn.ModuleList):
    """The sum of the outputs of several modules for one input."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([part(x) for part in self]).sum(dim=0)
