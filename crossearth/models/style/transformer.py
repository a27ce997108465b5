"""The network that repaints an image in a given style.

Architecture: Ghiasi et al., "Exploring the structure of a real-time, arbitrary neural artistic
stylization network", arXiv 1705.06830, as Jackson et al., "Style augmentation", arXiv 1809.05375,
trained it in PyTorch (MIT). Written from the papers and the key table of that checkpoint.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ShapeError
from crossearth.models.style.frozen import FrozenModule, each_on_cpu

__all__ = ['GhiasiTransformer', 'require_style_image']

_SMALLEST_SIDE_PX = 32


class GhiasiTransformer(FrozenModule):
    """Repaints images in the styles of embeddings; frozen.

    Three convolutions contract the image to a quarter of its size, five residual blocks and two
    upsampling convolutions repaint it. Every normalisation from the first residual block on takes
    its scale and shift from the style embedding.

    Args:
        widths: Channels after each contraction. (32, 64, 128) is the published network, (8, 16, 32)
            the light one.
        style_dim: Length of an embedding.
        contract_norm: Instance normalisation in the contraction. The light model has none, because
            it was folded into the convolutions.

    Source:
        arXiv 1705.06830, table 1. Sides that are not multiples of 4 are rounded up inside the
        network, as there, and the surplus rows and columns are cut off again.

    Example:
        >>> transformer = GhiasiTransformer(widths=(4, 4, 8))
        >>> transformer(torch.rand(2, 3, 45, 50), torch.zeros(2, 100)).shape
        torch.Size([2, 3, 45, 50])
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (32, 64, 128),
        *,
        style_dim: int = 100,
        contract_norm: bool = True,
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.contract = nn.ModuleList(
            [
                _Contract(3, fine, kernel=9, stride=1, norm=contract_norm),
                _Contract(fine, middle, kernel=3, stride=2, norm=contract_norm),
                _Contract(middle, coarse, kernel=3, stride=2, norm=contract_norm),
            ]
        )
        self.repaint = nn.ModuleList(
            [
                *(_Residual(coarse, style_dim) for _ in range(5)),
                _Expand(coarse, middle, style_dim, kernel=3, upsample=2),
                _Expand(middle, fine, style_dim, kernel=3, upsample=2),
                _Expand(fine, 3, style_dim, kernel=9, upsample=1),
            ]
        )
        self.style_dim = style_dim
        self.freeze()

    @torch.no_grad()
    def forward(
        self, image: Float[Tensor, 'b c h w'], style: Float[Tensor, 'n d']
    ) -> Float[Tensor, 'b c h w']:
        """Images in other styles.

        Args:
            image: Red, green, blue in [0, 1], with sides of at least 32 px.
            style: One embedding per image.

        Returns:
            Images of the same size in [0, 1].

        Raises:
            ShapeError: If the images are too small, have other bands, or the embeddings do not fit.
        """
        require_style_image(image)
        if tuple(style.shape) != (len(image), self.style_dim):
            raise ShapeError(
                f'style is {tuple(style.shape)} for {len(image)} images: expected '
                f'{(len(image), self.style_dim)}, one embedding per image'
            )
        exact = next(self.parameters()).dtype
        return each_on_cpu(self._paint, image, style, exact=exact)

    def _paint(self, image: Tensor, style: Tensor) -> Tensor:
        features = image.contiguous(memory_format=torch.channels_last)
        for contraction in self.contract:
            features = contraction(features)
        *blocks, last = self.repaint
        for index, block in enumerate(blocks):
            features = block(features, style)
            # The first five are residual blocks, which end in a sum without ReLU.
            if index >= 5:
                features = features.relu()
        painted: Tensor = last(features, style).sigmoid()
        return painted[..., : image.shape[-2], : image.shape[-1]].contiguous()


class _Contract(nn.Module):
    def __init__(
        self, channels_in: int, channels_out: int, *, kernel: int, stride: int, norm: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride)
        self.norm = norm

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv(_reflect(features, self.conv.kernel_size[0]))
        return (_instance_norm(features) if self.norm else features).relu()


class _Residual(nn.Module):
    def __init__(self, channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3)
        self.fc_beta1 = nn.Linear(style_dim, channels)
        self.fc_gamma1 = nn.Linear(style_dim, channels)
        self.fc_beta2 = nn.Linear(style_dim, channels)
        self.fc_gamma2 = nn.Linear(style_dim, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3)

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        inner = self.conv1(_reflect(features, 3))
        inner = _instance_norm(inner, self.fc_gamma1(style), self.fc_beta1(style)).relu()
        inner = self.conv2(_reflect(inner, 3))
        return features + _instance_norm(inner, self.fc_gamma2(style), self.fc_beta2(style))


class _Expand(nn.Module):
    def __init__(
        self, channels_in: int, channels_out: int, style_dim: int, *, kernel: int, upsample: int
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel)
        self.fc_beta = nn.Linear(style_dim, channels_out)
        self.fc_gamma = nn.Linear(style_dim, channels_out)
        self.upsample = upsample

    def forward(self, features: Tensor, style: Tensor) -> Tensor:
        if self.upsample > 1:
            features = F.interpolate(features, scale_factor=float(self.upsample))
        features = self.conv(_reflect(features, self.conv.kernel_size[0]))
        return _instance_norm(features, self.fc_gamma(style), self.fc_beta(style))


def _reflect(features: Tensor, kernel: int) -> Tensor:
    return F.pad(features, (kernel // 2,) * 4, mode='reflect')


def _instance_norm(
    features: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None
) -> Tensor:
    """γ · (x − mean) / deviation + β for each image and channel; γ = 1 and β = 0 without a style.

    `F.instance_norm` reads its input as one image of b·c channels. That undoes a channels-last
    layout, and with it the speed of every convolution that follows. `torch.var_mean` keeps the
    layout but takes ten times as long as these two passes, which are as exact.
    """
    centred = features - features.mean((-2, -1), keepdim=True)
    variance = (centred * centred).mean((-2, -1), keepdim=True)
    scale = torch.rsqrt(variance + 1e-5)
    if gamma is None or beta is None:
        return centred * scale
    return torch.addcmul(beta[:, :, None, None], centred, scale * gamma[:, :, None, None])


def require_style_image(image: Tensor) -> None:
    """Raise if the style networks cannot take these images.

    Raises:
        ShapeError: If they are not (b,3,h,w), or a side is below 32 pixels.
    """
    if image.ndim != 4 or image.shape[1] != 3 or min(image.shape[-2:]) < _SMALLEST_SIDE_PX:
        raise ShapeError(
            f'images are {tuple(image.shape)}: the style networks take (b, 3, h, w) with sides of '
            f'{_SMALLEST_SIDE_PX} px or more; choose three display bands, and larger crops'
        )
