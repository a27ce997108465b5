"""Decoders that restore an image from the features of all stages."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.features import Features

__all__ = ['LinearRestorer', 'MultiStageASPP', 'SharedASPP', 'build_restorer']


class LinearRestorer(nn.Module):
    """One linear layer from the concatenated stages to an image: the baseline of the ablation.

    Args:
        channels: Widths of the maps, fine to coarse.
        out_channels: Bands of the image.

    Raises:
        ConfigError: If a number is not positive.

    Source:
        CrossEarth, section 5.7 and Table 9, "w/ Linear": "a simple linear layer as the MIM decoder
        for processing concatenated backbone features".

    Example:
        >>> restorer = LinearRestorer((8, 8, 8, 8))
        >>> maps = tuple(torch.rand(1, 8, 16 >> i, 16 >> i) for i in range(4))
        >>> restorer(Features(maps), (64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(self, channels: tuple[int, int, int, int], out_channels: int = 3) -> None:
        super().__init__()
        if min(*channels, out_channels) < 1:
            raise ConfigError(
                f'channels {channels} and out_channels {out_channels} must be positive'
            )
        self.linear = nn.Conv2d(sum(channels), out_channels, 1)

    def forward(
        self, features: Features, size: tuple[int, int]
    ) -> Float[Tensor, 'b c height width']:
        """An image of `size` (height, width) in px."""
        return linear_of_enlarged(list(features.maps), self.linear, size)


class MultiStageASPP(nn.Module):
    """One dilated 3×3 convolution per stage, concatenated, then one linear layer to an image.

    What follows the concatenation is linear, and so is the enlargement of each stage to a common
    size. So each stage goes through its share of the linear layer at its own size, and only images
    of a few bands are enlarged and summed. The result is the same, without a concatenation of 1024
    channels at the size of the image.

    Args:
        channels: Widths of the maps, fine to coarse.
        out_channels: Bands of the image.
        width: Width of each convolution.
        dilations: Dilation of each stage's convolution.

    Raises:
        ConfigError: If a number is not positive.

    Source:
        CrossEarth, eq. 8 and 9. No activation follows the convolutions, as in the equations.

    Example:
        >>> restorer = MultiStageASPP((8, 8, 8, 8), width=4)
        >>> maps = tuple(torch.rand(1, 8, 16 >> i, 16 >> i) for i in range(4))
        >>> restorer(Features(maps), (64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        out_channels: int = 3,
        *,
        width: int = 256,
        dilations: tuple[int, int, int, int] = (1, 6, 12, 18),
    ) -> None:
        super().__init__()
        if min(*channels, out_channels, width, *dilations) < 1:
            raise ConfigError(
                f'channels {channels}, out_channels {out_channels}, width {width} and dilations '
                f'{dilations} must be positive'
            )
        self.convs = nn.ModuleList(
            nn.Conv2d(c, width, 3, padding=d, dilation=d)
            for c, d in zip(channels, dilations, strict=True)
        )
        self.linear = nn.Conv2d(4 * width, out_channels, 1)

    def forward(
        self, features: Features, size: tuple[int, int]
    ) -> Float[Tensor, 'b c height width']:
        """An image of `size` (height, width) in px."""
        return linear_of_enlarged(
            [conv(level) for conv, level in zip(self.convs, features.maps, strict=True)],
            self.linear,
            size,
        )


class SharedASPP(nn.Module):
    """The restorer of the released code: one complete ASPP that all stages share.

    Each stage goes through a 1×1 convolution, four parallel dilated 3×3 convolutions, a 1×1
    convolution and ReLU. All stages are enlarged and concatenated, and two 1×1 convolutions with
    ReLU between them make the image. As in `MultiStageASPP`, nothing is concatenated at full size.

    Args:
        channels: Width of every map; all must be equal.
        out_channels: Bands of the image.
        width: Width inside.
        dilations: Dilations of the parallel convolutions.

    Raises:
        ConfigError: If the stages differ in width, or a number is not positive.

    Source:
        The released code of CrossEarth, from its behaviour; its size is fixed to 512 px there. Its
        parameters `LN` and `MLP` do not affect the result and are left out.

    Example:
        >>> restorer = SharedASPP((8, 8, 8, 8), width=4)
        >>> maps = tuple(torch.rand(1, 8, 16 >> i, 16 >> i) for i in range(4))
        >>> restorer(Features(maps), (64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(
        self,
        channels: tuple[int, int, int, int],
        out_channels: int = 3,
        *,
        width: int = 256,
        dilations: tuple[int, int, int, int] = (1, 6, 12, 18),
    ) -> None:
        super().__init__()
        if len(set(channels)) != 1 or min(*channels, out_channels, width, *dilations) < 1:
            raise ConfigError(
                f'channels {channels}, out_channels {out_channels}, width {width} and dilations '
                f'{dilations} must be positive, and all channels equal, because the stages share it'
            )
        self.aspp_head = nn.Module()
        self.aspp_head.conv_1x1 = nn.Conv2d(channels[0], width, 1)
        self.aspp_head.Convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in dilations
        )
        self.aspp_head.conv_1x1_2 = nn.Conv2d(len(dilations) * width, width, 1)
        self.feature_refine_256 = nn.Sequential(nn.Conv2d(4 * width, width, 1))
        self.final_conv = nn.Conv2d(width, out_channels, 1)

    def forward(
        self, features: Features, size: tuple[int, int]
    ) -> Float[Tensor, 'b c height width']:
        """An image of `size` (height, width) in px."""
        head: Any = self.aspp_head  # its parts are the layers set in __init__
        levels = []
        for level in features.maps:
            reduced = head.conv_1x1(level)
            pyramid = torch.cat([conv(reduced) for conv in head.Convs], dim=1)
            levels.append(head.conv_1x1_2(pyramid).relu())
        refine = self.feature_refine_256[0]
        assert isinstance(refine, nn.Conv2d)
        restored: Tensor = self.final_conv(linear_of_enlarged(levels, refine, size).relu())
        return restored


def linear_of_enlarged(
    levels: list[Tensor], linear: nn.Conv2d, size: tuple[int, int]
) -> Float[Tensor, 'b c height width']:
    """`linear(concatenate(enlarge(level) for level in levels))`, without the concatenation."""
    total: Tensor | None = None
    shares = torch.split(linear.weight, [level.shape[1] for level in levels], dim=1)
    for level, share in zip(levels, shares, strict=True):
        # The linear layer comes first, because a few bands are enlarged faster than all channels.
        part = F.interpolate(F.conv2d(level, share), size, mode='bilinear', align_corners=False)
        total = part if total is None else total + part
    assert total is not None
    return total if linear.bias is None else total + linear.bias[:, None, None]


def build_restorer(
    kind: str | None, channels: tuple[int, int, int, int], in_channels: int
) -> nn.Module | None:
    """Build the restorer that a builder was asked for by name.

    Args:
        kind: `'paper'` is `MultiStageASPP`, `'released'` is `SharedASPP`, `'linear'` is
            `LinearRestorer`, None is nothing.
        channels: Widths of the maps, fine to coarse.
        in_channels: Bands of the images.

    Raises:
        ConfigError: If it is another name.
    """
    if kind is None:
        return None
    if kind == 'paper':
        return MultiStageASPP(channels, in_channels)
    if kind == 'released':
        return SharedASPP(channels, in_channels)
    if kind == 'linear':
        return LinearRestorer(channels, in_channels)
    raise ConfigError(f"restorer is {kind!r}: expected 'paper', 'released', 'linear' or None")
