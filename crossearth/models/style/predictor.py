"""The networks that predict an image's style."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.inception import BasicConv2d, InceptionA, InceptionB, InceptionC

from crossearth.models.style.frozen import FrozenModule, each_on_cpu
from crossearth.models.style.transformer import require_style_image

__all__ = ['MobileStylePredictor', 'StylePredictor']

_SMALLEST_TRUNK_SIDE_PX = 43  # below it, a window of Mixed_6a is larger than its input


class StylePredictor(FrozenModule):
    """Style embeddings by InceptionV3 up to Mixed_6e, averaged over space; frozen.

    Args:
        style_dim: Length of an embedding.

    Source:
        arXiv 1809.05375; the trunk is torchvision's. Released weights were trained with a typo in
        the standard deviation of the blue band, 0.255 for 0.225. It is kept, because the weights
        expect its values. Images with a side below 43 px are first enlarged bilinearly to 43 px.

    Example:
        >>> StylePredictor()(torch.rand(2, 3, 64, 48)).shape
        torch.Size([2, 100])
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, *, style_dim: int = 100) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.Mixed_5b = InceptionA(192, pool_features=32)
        self.Mixed_5c = InceptionA(256, pool_features=64)
        self.Mixed_5d = InceptionA(288, pool_features=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, channels_7x7=128)
        self.Mixed_6c = InceptionC(768, channels_7x7=160)
        self.Mixed_6d = InceptionC(768, channels_7x7=160)
        self.Mixed_6e = InceptionC(768, channels_7x7=192)
        self.fc = nn.Linear(768, style_dim)
        self.style_dim = style_dim
        # ImageNet's normalisation and back to [-1, 1], in one step; 0.255 is the typo.
        mean = torch.tensor([0.485, 0.456, 0.406])
        ratio = torch.tensor([0.229 / 0.229, 0.224 / 0.224, 0.225 / 0.255])
        self.register_buffer('scale', (2 * ratio).view(3, 1, 1), persistent=False)
        self.register_buffer('shift', (2 * mean - 1 - 2 * ratio * mean).view(3, 1, 1), False)
        self.freeze()

    @torch.no_grad()
    def forward(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b d']:
        """One embedding per image.

        Args:
            image: Red, green, blue in [0, 1], with sides of at least 32 px.

        Raises:
            ShapeError: If the images are too small or have other bands.
        """
        require_style_image(image)
        return each_on_cpu(self._embed, image, exact=self.fc.weight.dtype)

    def _embed(self, image: Tensor) -> Tensor:
        shorter = min(image.shape[-2:])
        if shorter < _SMALLEST_TRUNK_SIDE_PX:
            height, width = (
                math.ceil(side * _SMALLEST_TRUNK_SIDE_PX / shorter) for side in image.shape[-2:]
            )
            image = F.interpolate(image, (height, width), mode='bilinear', align_corners=False)
        features = torch.addcmul(self.shift, image, self.scale)
        features = features.contiguous(memory_format=torch.channels_last)
        for layer in (self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3):
            features = layer(features)
        features = F.max_pool2d(features, 3, 2)
        for layer in (self.Conv2d_3b_1x1, self.Conv2d_4a_3x3):
            features = layer(features)
        features = F.max_pool2d(features, 3, 2)
        for layer in (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a):
            features = layer(features)
        for layer in (self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e):
            features = layer(features)
        embedding: Tensor = self.fc(features.mean((-2, -1)))
        return embedding


class MobileStylePredictor(FrozenModule):
    """Style embeddings by MobileNetV2 with its normalisations folded in; frozen.

    The predictor of the light model has a quarter of the parameters of `StylePredictor` and an
    eighth of its arithmetic. Its embeddings cannot be mixed with those of `StylePredictor`.

    Args:
        style_dim: Length of an embedding.

    Source:
        Sandler et al., MobileNetV2, arXiv 1801.04381, table 2. It pads as TensorFlow does ("same":
        the odd pixel goes to the right and the bottom), as the weights were trained that way.

    Example:
        >>> MobileStylePredictor()(torch.rand(2, 3, 64, 48)).shape
        torch.Size([2, 100])
    """

    def __init__(self, *, style_dim: int = 100) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2)
        blocks: list[_InvertedResidual] = []
        channels = 32
        for expansion, width, repeats, stride in (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ):
            for repeat in range(repeats):
                blocks.append(
                    _InvertedResidual(
                        channels, width, expansion=expansion, stride=1 if repeat else stride
                    )
                )
                channels = width
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Conv2d(channels, 1280, 1)
        self.fc = nn.Linear(1280, style_dim)
        self.style_dim = style_dim
        self.freeze()

    @torch.no_grad()
    def forward(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b d']:
        """One embedding per image.

        Args:
            image: Red, green, blue in [0, 1], with sides of at least 32 px; it was trained at
                256 px.

        Raises:
            ShapeError: If the images are too small or have other bands.
        """
        require_style_image(image)
        return each_on_cpu(self._embed, image, exact=self.fc.weight.dtype)

    def _embed(self, image: Tensor) -> Tensor:
        features = image.contiguous(memory_format=torch.channels_last)
        features = F.relu6(self.stem(_pad_same(features, 3, 2)))
        for block in self.blocks:
            features = block(features)
        embedding: Tensor = self.fc(F.relu6(self.head(features)).mean((-2, -1)))
        return embedding


class _InvertedResidual(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand = nn.Conv2d(channels_in, inner, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(inner, inner, 3, stride, groups=inner)
        self.project = nn.Conv2d(inner, channels_out, 1)
        self.skip = stride == 1 and channels_in == channels_out

    def forward(self, features: Tensor) -> Tensor:
        inner = features if self.expand is None else F.relu6(self.expand(features))
        inner = F.relu6(self.depthwise(_pad_same(inner, 3, self.depthwise.stride[0])))
        projected: Tensor = self.project(inner)
        return features + projected if self.skip else projected


def _pad_same(features: Tensor, kernel: int, stride: int) -> Tensor:
    """Zeros such that ⌈side / stride⌉ windows fit, the odd one at the end."""
    before_after = []
    for side in (features.shape[-1], features.shape[-2]):
        missing = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        before_after += [missing // 2, missing - missing // 2]
    return F.pad(features, before_after)
