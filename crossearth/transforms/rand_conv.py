"""Random convolutions: other textures and colours, but the same shapes."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.transforms.injection import valid_mean
from crossearth.transforms.seeded import SeededAugmentation

__all__ = ['RandConv', 'random_convolution']


class RandConv(SeededAugmentation):
    """Images mixed with a random convolution of themselves.

    Each sample draws a kernel size k, kernel weights Θ ~ N(0, 1 / (k²·bands)) and a strength s, and
    becomes `(1 − s)·x + s·(Θ * x)`. Every output band mixes all input bands, so colours and fine
    texture change while shapes larger than the kernel stay. A strength of 0 changes nothing.

    The convolution sees `(x − mean) / std`, with zeros around the image. Its result is converted
    back to [0, 1] with the same numbers and clamped. Pixels without data count as the mean of their
    band.

    Args:
        sizes: Sides of the kernels in px, odd; each is equally likely.
        strength_range: s is uniform in this range, within [0, 1]. (0, 1) is the paper's mixing
            variant RC_mix, whose α is 1 − s; (1, 1) is its RC_img, without mixing.
        mean: Centre of the values, in [0, 1], for all bands.
        std: Unit of the values.
        p: Probability of each sample.
        nodata: See `SeededAugmentation`.
        generator: Source of the draws; None for torch's global one.
        draw_per: See `SeededAugmentation`; kernels are drawn for each sample either way.

    Raises:
        ConfigError: If a size is not odd, or a range or probability is out of range.

    Source:
        Xu et al., Robust and Generalizable Visual Representation Learning via Random Convolutions,
        ICLR 2021, arXiv 2007.13003, §3.2 (multi-scale kernels and mixing). Their consistency loss
        between several augmented copies is not included. They convolve normalised images; `mean`
        and `std` of 0.5 stand in for statistics of the data set here.

    Example:
        >>> texture = RandConv(p=1.0, generator=torch.Generator().manual_seed(0))
        >>> image = torch.rand(2, 4, 32, 32)
        >>> texture(image).shape, bool((texture(image) != image).any())
        (torch.Size([2, 4, 32, 32]), True)
    """

    def __init__(
        self,
        *,
        sizes: Sequence[int] = (1, 3, 5, 7),
        strength_range: tuple[float, float] = (0.0, 1.0),
        mean: float = 0.5,
        std: float = 0.5,
        p: float = 0.5,
        nodata: float | None = 0.0,
        generator: torch.Generator | None = None,
        draw_per: Literal['sample', 'batch'] = 'sample',
    ) -> None:
        super().__init__(p=p, nodata=nodata, generator=generator, draw_per=draw_per)
        if not sizes or min(sizes) < 1 or any(size % 2 == 0 for size in sizes):
            raise ConfigError(f'sizes={tuple(sizes)}: expected odd sides of kernels, from 1 px up')
        low, high = strength_range
        if not 0 <= low <= high <= 1:
            raise ConfigError(f'strength_range={strength_range}: expected 0 ≤ low ≤ high ≤ 1')
        if std <= 0:
            raise ConfigError(f'std={std}: expected a positive number')
        self.sizes = tuple(sizes)
        self.strength_range = strength_range
        self.mean = mean
        self.std = std

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """For each sample a size, a strength, and standard normal weights of the largest size."""
        b, c = batch_shape[:2]
        low, high = self.strength_range
        choice = (self.uniform(b) * len(self.sizes)).long().clamp(max=len(self.sizes) - 1)
        return {
            'size': torch.tensor(self.sizes, device=choice.device)[choice],
            'strength': low + (high - low) * self.uniform(b),
            # always the largest size, so that the number of draws does not depend on their values
            'weights': self.normal(b, c, c, max(self.sizes), max(self.sizes)),
        }

    def change(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],
    ) -> Float[Tensor, 'b c h w']:
        """The mixture, in [0, 1]."""
        filled = torch.where(valid, image, valid_mean(image, valid))
        centred = (filled - self.mean) / self.std
        convolved = torch.empty_like(centred)
        for size in set(self.sizes):
            rows = (drawn['size'] == size).nonzero().flatten()
            if len(rows):
                # A corner of independent draws is a smaller kernel of independent draws.
                weights = drawn['weights'][rows, :, :, :size, :size].to(centred.dtype)
                convolved = convolved.index_copy(
                    0, rows, random_convolution(centred[rows], weights)
                )
        strength = drawn['strength'].view(-1, 1, 1, 1).to(centred.dtype)
        return torch.lerp(filled, convolved * self.std + self.mean, strength).clamp(0, 1)


def random_convolution(
    image: Float[Tensor, 'b c h w'], weights: Float[Tensor, 'b c c k k']
) -> Float[Tensor, 'b c h w']:
    """Each image convolved with its own kernel, zeros around it.

    Args:
        image: Centred images.
        weights: Standard normal draws (sample, output band, input band, row, column), k odd. They
            are divided by √(k²·c), so that white noise keeps its variance.

    Example:
        >>> image = torch.rand(1, 1, 2, 2)
        >>> torch.equal(random_convolution(image, torch.full((1, 1, 1, 1, 1), 2.0)), 2 * image)
        True
    """
    b, c, _, k = weights.shape[:4]
    kernels = weights / (k * k * c) ** 0.5
    # a grouped convolution applies every image's own kernel at once
    flat = F.conv2d(
        rearrange(image, 'b c h w -> 1 (b c) h w'),
        rearrange(kernels, 'b o i y x -> (b o) i y x'),
        padding=k // 2,
        groups=b,
    )
    return rearrange(flat, '1 (b c) h w -> b c h w', b=b)
