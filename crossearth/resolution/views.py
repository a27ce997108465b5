"""Shows an image with larger pixels, or as from another sensor."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

__all__ = ['FACTORS', 'as_sensor', 'centre', 'filled', 'resized', 'tells_something']

FACTORS = (1, 2, 4)
"""Factors by which pixels are enlarged for the views of a scene."""

_LEAST_PX = 48
_LEAST_CONTRAST = 0.01  # standard deviation in [0, 1]; calm water and flat nodata have less
_LEAST_DATA = 0.9
_MOST_BLUR_PX = 1.5
_MOST_NOISE = 0.02


def resized(image: Float[Tensor, 'c h w'], factor: float) -> Float[Tensor, 'c a b']:
    """Resize an image to pixels that are `factor` times as large.

    Larger pixels average what they cover. Smaller ones are interpolated, and add no detail.

    Example:
        >>> resized(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), 2)
        tensor([[[0.5000]]])
    """
    if factor == 1:
        return image
    size = [max(round(side / factor), 1) for side in image.shape[1:]]
    if factor > 1:
        return F.interpolate(image[None], size, mode='bilinear', antialias=True)[0]
    # Bicubic interpolation overshoots at edges.
    return F.interpolate(image[None], size, mode='bicubic')[0].clamp(0, 1)


def as_sensor(image: Float[Tensor, 'c h w'], draws: torch.Generator) -> Float[Tensor, 'c h w']:
    """Distort an image as another sensor might: with some blur and some noise.

    Six of ten images are blurred by a Gaussian of up to 1.5 px. Then noise of up to 0.02 is added.

    Args:
        image: Values in [0, 1].
        draws: Random generator for both.
    """
    chance, blur, noise = torch.rand(3, generator=draws).tolist()
    if chance < 0.6:
        image = _blurred(image, blur * _MOST_BLUR_PX)
    noisy: Tensor = image + noise * _MOST_NOISE * torch.randn(image.shape, generator=draws)
    return noisy.clamp(0, 1)


def _blurred(image: Float[Tensor, 'c h w'], sigma_px: float) -> Float[Tensor, 'c h w']:
    # Reflection cannot mirror more pixels than lie inside the border.
    reach = min(math.ceil(3 * sigma_px), min(image.shape[1:]) - 1)
    if reach < 1 or sigma_px < 0.2:
        return image
    kernel = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * sigma_px**2))
    kernel = kernel / kernel.sum()
    bands = F.pad(image[:, None], (reach, reach, reach, reach), mode='reflect')
    rows = F.conv2d(bands, kernel.view(1, 1, -1, 1))
    return F.conv2d(rows, kernel.view(1, 1, 1, -1))[:, 0]


def centre(image: Shaped[Tensor, 'c h w'], most_px: int) -> Shaped[Tensor, 'c a b']:
    """The middle of an image, at most `most_px` high and wide."""
    top, left = (max(side - most_px, 0) // 2 for side in image.shape[1:])
    return image[:, top : top + most_px, left : left + most_px]


def filled(
    image: Float[Tensor, 'c h w'], valid: Bool[Tensor, 'h w']
) -> Float[Tensor, 'c h w'] | None:
    """Fill pixels without data with the mean colour; None if too many have no data."""
    share = float(valid.float().mean())
    if share < _LEAST_DATA:
        return None
    if share == 1:
        return image
    mean = image[:, valid].mean(1)
    return torch.where(valid, image, mean[:, None, None])


def tells_something(image: Float[Tensor, 'c h w']) -> bool:
    """Whether an image is large enough and has enough contrast to be usable."""
    return min(image.shape[1:]) >= _LEAST_PX and float(image.mean(0).std()) >= _LEAST_CONTRAST
