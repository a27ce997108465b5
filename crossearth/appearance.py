"""How images look to a model: the values of their bands, and how sharp they are.

An `AppearanceMeter` reads windows one by one and keeps a few hundred numbers of them. What it says
of the images that a model was trained on goes into the model's file, to be compared with what it
says of a scene.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.errors import ConfigError

__all__ = ['PERCENTILES', 'Appearance', 'AppearanceMeter', 'band_distances', 'sharpness']

PERCENTILES = (2, 25, 50, 75, 98)
"""What an `Appearance` knows of how the values of a band are distributed."""

_BINS = 1024
_FLAT_VARIANCE = 1e-12
_SHARP_CYCLES_PER_PX = 0.25  # a quarter of the sampling rate: half of the highest frequency


@dataclass(frozen=True, slots=True)
class Appearance:
    """How some images look: values in [0, 1], as a model sees them.

    Args:
        mean: Mean of each band.
        std: Standard deviation of each band.
        percentiles: `PERCENTILES` of each band.
        sharpness: Mean of the windows' `sharpness`; None where no window had any contrast.
        windows: Windows that were measured.

    Raises:
        ConfigError: If numbers are not finite, negative, or not of the same bands.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    percentiles: tuple[tuple[float, ...], ...]
    sharpness: float | None
    windows: int

    def __post_init__(self) -> None:
        numbers = [*self.mean, *self.std, *(p for band in self.percentiles for p in band)]
        numbers += [] if self.sharpness is None else [self.sharpness]
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ConfigError('appearance holds numbers that are not finite, or below 0')
        lengths = {len(self.mean), len(self.std), len(self.percentiles)}
        widths = {len(band) for band in self.percentiles}
        if len(lengths) != 1 or not self.mean or widths != {len(PERCENTILES)}:
            raise ConfigError(
                f'appearance has {len(self.mean)} means, {len(self.std)} deviations and '
                f'{len(self.percentiles)} rows of percentiles: expected one for each band, with '
                f'{len(PERCENTILES)} percentiles'
            )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> 'Appearance':
        """The appearance that `dataclasses.asdict` and JSON made `value` of."""
        return cls(
            mean=tuple(map(float, value['mean'])),
            std=tuple(map(float, value['std'])),
            percentiles=tuple(tuple(map(float, band)) for band in value['percentiles']),
            sharpness=None if value['sharpness'] is None else float(value['sharpness']),
            windows=int(value['windows']),
        )


class AppearanceMeter:
    """Measures images window by window, in memory that does not grow.

    Example:
        >>> meter = AppearanceMeter()
        >>> meter.add(torch.tensor([[[0.2, 0.4], [0.2, 0.4]]]))
        >>> looks = meter.appearance()
        >>> round(looks.mean[0], 4), round(looks.std[0], 4)
        (0.3, 0.1)
    """

    def __init__(self) -> None:
        self._sums = torch.zeros(3, 0, dtype=torch.float64)  # pixels, Σx and Σx² of each band
        self._histogram = torch.zeros(0, _BINS, dtype=torch.float64)
        self._sharpness: list[float] = []
        self._windows = 0

    def add(self, image: Float[Tensor, 'c h w'], valid: Bool[Tensor, 'h w'] | None = None) -> None:
        """Count one window.

        Args:
            image: Values in [0, 1].
            valid: True where a pixel has data; None where all have.
        """
        bands = image.shape[0]
        if self._windows == 0:
            self._sums = torch.zeros(3, bands, dtype=torch.float64)
            self._histogram = torch.zeros(bands, _BINS, dtype=torch.float64)
        pixels = image.flatten(1) if valid is None else image[:, valid]
        pixels = pixels.cpu().double()
        self._sums += torch.stack(
            [torch.full((bands,), pixels.shape[1]), pixels.sum(1), pixels.square().sum(1)]
        )
        self._histogram += torch.stack([torch.histc(band, _BINS, 0, 1) for band in pixels])
        sharp = sharpness(image, valid)
        self._sharpness += [] if sharp is None else [sharp]
        self._windows += 1

    def appearance(self) -> Appearance:
        """What was measured so far.

        Raises:
            ConfigError: If no pixel was counted.
        """
        count, total, squares = self._sums
        if self._windows == 0 or not bool(count.all()):
            raise ConfigError('no pixel with data was seen: nothing can be said of the images')
        mean = total / count
        std = (squares / count - mean**2).clamp(min=0).sqrt()
        shares = self._histogram.cumsum(1) / self._histogram.sum(1, keepdim=True)
        levels = torch.tensor(PERCENTILES, dtype=torch.float64).div(100).expand(len(mean), -1)
        bins = torch.searchsorted(shares, levels.contiguous()).clamp(max=_BINS - 1)
        return Appearance(
            mean=tuple(mean.tolist()),
            std=tuple(std.tolist()),
            percentiles=tuple(tuple(row) for row in ((bins + 0.5) / _BINS).tolist()),
            sharpness=_mean(self._sharpness),
            windows=self._windows,
        )


def sharpness(
    image: Float[Tensor, 'c h w'], valid: Bool[Tensor, 'h w'] | None = None
) -> float | None:
    """Share of an image's spectral energy above a quarter of the sampling rate.

    The mean of the bands, less its own mean and under a Hann window, is Fourier transformed; energy
    is the squared magnitude. Sharp aerial images have more than 0.1, images that were enlarged or
    compressed hard 0.01 to 0.03, white noise about 0.8.

    Args:
        image: Values of any scale.
        valid: True where a pixel has data; others count as the mean.

    Returns:
        From 0 to 1; None for an image without contrast or data.

    Example:
        >>> import torch
        >>> ramp = torch.linspace(0, 1, 32).expand(1, 32, 32)
        >>> noise = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> sharpness(ramp) < 0.01, sharpness(noise) > 0.7
        (True, True)
    """
    grey = image.double().mean(0)
    if valid is not None:
        if not bool(valid.any()):
            return None
        grey = torch.where(valid, grey - grey[valid].mean(), 0.0)
    height, width = grey.shape
    hann = torch.outer(_hann(height, grey), _hann(width, grey))
    centred = (grey - (grey * hann).sum() / hann.sum()) * hann
    energy = torch.fft.fft2(centred).abs().square()
    rows = torch.fft.fftfreq(height, dtype=torch.float64, device=grey.device)
    cols = torch.fft.fftfreq(width, dtype=torch.float64, device=grey.device)
    high = torch.hypot(rows[:, None], cols) > _SHARP_CYCLES_PER_PX
    total = float(energy.sum())
    # what is left of a flat image are rounding errors, which look like noise
    if total <= _FLAT_VARIANCE * float(hann.square().sum()) * hann.numel():
        return None
    return float(energy[high].sum()) / total


def band_distances(source: Appearance, scenes: Appearance) -> list[float]:
    """How far each band is from the source, in standard deviations of the source.

    The distance is Fréchet's between two Gaussians, √((μ − μₛ)² + (σ − σₛ)²) / σₛ.

    Raises:
        ConfigError: If the two differ in their number of bands.

    Example:
        >>> levels = ((0.0,) * 5,)
        >>> dark = Appearance((0.2,), (0.1,), levels, None, 1)
        >>> band_distances(dark, Appearance((0.5,), (0.1,), levels, None, 1))
        [3.0]
    """
    if len(source.mean) != len(scenes.mean):
        raise ConfigError(
            f'the source has {len(source.mean)} bands, the scenes {len(scenes.mean)}: show the '
            'scenes with the bands that the model takes'
        )
    return [
        round(math.hypot(m - mean, s - std) / max(std, 1e-6), 12)
        for mean, std, m, s in zip(source.mean, source.std, scenes.mean, scenes.std, strict=True)
    ]


def _hann(length: int, like: Tensor) -> Tensor:
    return torch.hann_window(length + 2, periodic=False, dtype=like.dtype, device=like.device)[1:-1]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
