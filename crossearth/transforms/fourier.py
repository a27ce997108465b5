"""Styles without weights: the low-frequency amplitudes of other images."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Complex, Float, Num
from torch import Tensor

from crossearth.describing import arguments_of
from crossearth.errors import BandError, ConfigError, ShapeError
from crossearth.radiometry import to_unit
from crossearth.transforms.injection import StyleInjection
from crossearth.transforms.patches import PatchGrid

__all__ = ['FourierStyle', 'low_frequencies', 'mix_amplitudes']

_LARGEST_SIDE_PX = 2048  # of the images to be styled; limits what is stored of each style image
_CHUNK = 64  # style images transformed at once


class FourierStyle(StyleInjection):
    """Styled images whose low-frequency amplitudes come partly from other images.

    The amplitudes of an image's lowest frequencies hold its illumination, colour cast and contrast
    over large distances. Its phases hold what is where. Each sample draws a style image and a
    strength λ. Below the cut-off it gets the amplitude `(1 − λ)·|F(x)| + λ·|F(s)|` and keeps its
    own phases. This needs no network and no weights. Gradients flow through it to the image.

    Only the frequencies below the cut-off are ever computed. Style images of another size need not
    be resized, because a spectrum counts cycles per image, and dividing by the number of pixels
    makes the amplitudes those of the resized image.

    Args:
        style_images: (n,c,h,w) images that styles are taken from: integers, or floats in [0, 1].
            Only their amplitudes below the cut-off are stored.
        beta: Cut-off as a fraction of the shorter side. Frequencies up to ⌊β·min(H, W)⌋ cycles per
            image along each axis change, and always the mean (0 cycles). 0.01 changes colour and
            light. 0.05 and above change texture and may ring around strong edges.
        alpha_range: λ is uniform in this range, within [0, 1].
        p: Probability of each sample.
        patch_size: Side of the patches that are styled or not; None styles the whole image.
        ratio: Expected fraction of styled patches; see `StyleInjection`.
        polarity: See `StyleInjection`.
        grid: See `patch_grid`.
        bands: Positions of the bands that are styled, in the order of the style images' bands;
            None takes the first ones. Further bands follow by `follow_statistics`.
        nodata: See `SeededAugmentation`.
        generator: Source of the draws; None for torch's global one.
        draw_per: Whether each sample draws with probability `p`, or the batch once for all its
            samples, as the paper's iteration does.

    Raises:
        ConfigError: If a fraction, range or probability is out of range, or there are no images.
        ShapeError: If the style images are not (n,c,h,w).
        BandError: When called, if an image has too few bands.

    Source:
        Amplitude exchange with cut-off β: Yang and Soatto, FDA, arXiv 2004.05498, which is
        `alpha_range=(1, 1)` over the whole image. Mixing by a random λ: Xu et al., FACT, arXiv
        2105.14003, who mix all frequencies. The paper this library implements uses style networks
        instead: `EarthStyleInjection`.

    Example:
        >>> sunset = torch.tensor([0.9, 0.5, 0.2]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
        >>> style = FourierStyle(sunset, alpha_range=(1.0, 1.0), p=1.0)
        >>> style(torch.full((1, 3, 16, 16), 0.5)).mean((2, 3))
        tensor([[0.9000, 0.5000, 0.2000]])
    """

    amplitudes: Tensor

    def __init__(
        self,
        style_images: Num[Tensor, 'n c h w'],
        *,
        beta: float = 0.01,
        alpha_range: tuple[float, float] = (0.0, 1.0),
        p: float = 0.5,
        patch_size: int | None = None,
        ratio: float = 0.5,
        polarity: Literal['release', 'paper'] = 'release',
        grid: PatchGrid = 'paper',
        bands: Sequence[int] | None = None,
        nodata: float | None = 0.0,
        generator: torch.Generator | None = None,
        draw_per: Literal['sample', 'batch'] = 'sample',
    ) -> None:
        if style_images.ndim != 4:
            raise ShapeError(
                f'style images are {tuple(style_images.shape)}, expected (n, c, h, w): crop images '
                'of different sizes to one size and stack them'
            )
        if not len(style_images):
            raise ConfigError('there are no style images: pass at least one')
        if not 0 <= beta <= 0.5:
            raise ConfigError(f'beta={beta}: expected a fraction of the shorter side, 0 to 0.5')
        low, high = alpha_range
        if not 0 <= low <= high <= 1:
            raise ConfigError(f'alpha_range={alpha_range}: expected 0 ≤ low ≤ high ≤ 1')
        num_bands = style_images.shape[1]
        bands = tuple(range(num_bands)) if bands is None else tuple(bands)
        if len(bands) != num_bands:
            raise BandError(
                f'bands={bands} names {len(bands)} bands, but the style images have {num_bands}: '
                'pass one position for each band of the style images'
            )
        super().__init__(
            patch_size=patch_size,
            ratio=ratio,
            polarity=polarity,
            grid=grid,
            bands=bands,
            p=p,
            nodata=nodata,
            generator=generator,
            draw_per=draw_per,
        )
        self.beta = beta
        self.alpha_range = alpha_range
        cutoff = _cutoff(beta * _LARGEST_SIDE_PX, (style_images.shape[-2], style_images.shape[-1]))
        amplitudes = torch.cat(
            [
                low_frequencies(to_unit(part), cutoff).abs()
                for part in torch.split(style_images, _CHUNK)
            ]
        )
        self.register_buffer('amplitudes', amplitudes, persistent=False)

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self, style_images=len(self.amplitudes))

    def draw_styles(self, num_samples: int) -> dict[str, Tensor]:
        """A style image and a strength for each sample."""
        low, high = self.alpha_range
        choice = (self.uniform(num_samples) * len(self.amplitudes)).long()
        return {
            # float32 draws just below 1 may round up to the number of images
            'style': choice.clamp(max=len(self.amplitudes) - 1),
            'alpha': low + (high - low) * self.uniform(num_samples),
        }

    def restyle(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],  # noqa: ARG002 -- of the base class; already filled in
    ) -> Float[Tensor, 'b c h w']:
        """Images with mixed amplitudes, not clamped."""
        height, width = image.shape[-2:]
        stored = self.amplitudes.shape[-1] - 1
        # images beyond _LARGEST_SIDE_PX would need more frequencies than are stored
        cutoff = min(_cutoff(self.beta * min(height, width), (height, width)), stored)
        middle = slice(stored - cutoff, stored + cutoff + 1)
        # a module that is cast as a whole also casts the amplitudes
        amplitudes = self.amplitudes[drawn['style'], :, middle, : cutoff + 1].to(image.dtype)
        return mix_amplitudes(image, amplitudes, drawn['alpha'].to(image.dtype))


def low_frequencies(image: Float[Tensor, 'n c h w'], cutoff: int) -> Complex[Tensor, 'n c k l']:
    """The lowest frequencies of an image's Fourier transform, divided by its number of pixels.

    Args:
        image: Any real images, float32 or float64; the transform has the same precision.
        cutoff: Largest number of cycles per image K, below half of either side.

    Returns:
        Rows −K…K and columns 0…K; the other half plane is their conjugate. `[..., K, 0]` is the
        mean.

    Example:
        >>> image = torch.arange(24.0).view(1, 1, 4, 6)
        >>> full = torch.fft.fft2(image, norm='forward')
        >>> low = low_frequencies(image, 1)
        >>> torch.allclose(low[0, 0, 2], full[0, 0, 1, :2], atol=1e-5)
        True
    """
    height, width = image.shape[-2:]
    along_x = _waves(width, range(cutoff + 1), image)
    along_y = _waves(height, range(-cutoff, cutoff + 1), image)
    # Two real products: a complex image would take twice the arithmetic.
    rows = torch.complex(image @ along_x.real.T, image @ along_x.imag.T)
    return along_y @ rows / (height * width)


def mix_amplitudes(
    image: Float[Tensor, 'b c h w'],
    amplitudes: Float[Tensor, 'b c k l'],
    alpha: Float[Tensor, ' b'],
) -> Float[Tensor, 'b c h w']:
    """Images with the amplitude (1 − α)·|F(x)| + α·A at low frequencies and their own phases.

    Args:
        image: Real images, float32 or float64.
        amplitudes: A, moduli as `low_frequencies` orders and scales them.
        alpha: α of each sample.

    Returns:
        Images that may exceed the range of the input, differentiable with respect to it. Where
        |F(x)| is 0, its phase and the gradient of the phase count as 0.
    """
    height, width = image.shape[-2:]
    cutoff = amplitudes.shape[-1] - 1
    low = low_frequencies(image, cutoff)
    # A real image's columns ±l are conjugates: l = 0 counts once, the others twice.
    count = torch.full((cutoff + 1,), 2.0, dtype=image.dtype, device=image.device)
    count[0] = 1
    strength = alpha.view(-1, 1, 1, 1) * count
    # neither torch.polar nor torch.angle has the right derivative everywhere
    size = low.abs()
    direction = torch.where(size > 0, low / torch.where(size > 0, size, 1), 1)
    change = strength * (amplitudes - size) * direction
    along_x = _waves(width, range(cutoff + 1), image)
    along_y = _waves(height, range(-cutoff, cutoff + 1), image)
    rows = along_y.conj().T @ change
    return image + rows.real @ along_x.real + rows.imag @ along_x.imag


def _waves(length: int, cycles: range, image: Tensor) -> Complex[Tensor, 'k length']:
    """Rows exp(−2πi·k·n/length) for an image; k·n is taken modulo length, exactly."""
    turns = torch.outer(torch.tensor(cycles), torch.arange(length)) % length
    angle = turns.double() * (-2 * math.pi / length)
    return torch.polar(torch.ones_like(angle), angle).to(image.device, image.dtype.to_complex())


def _cutoff(cycles: float, image_hw: tuple[int, int]) -> int:
    """Whole cycles per image, kept below half of the shorter side."""
    # 1e-9, because products such as 0.29 · 100 fall just below a whole number
    return min(math.floor(cycles + 1e-9), (min(image_hw) - 1) // 2)
