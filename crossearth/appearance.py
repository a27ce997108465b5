"""How images look to a model: the values of their bands, and how sharp they are.

An `AppearanceMeter` reads windows one by one and keeps only a few hundred numbers. The appearance
of the training images is saved in the model's file, so that it can later be compared with the
appearance of a new scene.
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
"""Percentiles that an `Appearance` keeps for each band."""

_BINS = 1024
_FLAT_VARIANCE = 1e-12
_SHARP_CYCLES_PER_PX = 0.25  # a quarter of the sampling rate: half of the highest frequency


@dataclass(frozen=True, slots=True)
class Appearance:
    """How a set of images looks, measured on values in [0, 1] as a model sees them.

    Args:
        mean: Mean of each band.
        std: Standard deviation of each band.
        percentiles: The `PERCENTILES` of each band.
        sharpness: Mean `sharpness` of the windows; None if no window had any contrast.
        windows: Number of windows measured.

    Raises:
        ConfigError: If a number is negative or not finite, or the lengths do not match.
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
            raise ConfigError(
                'appearance holds numbers that are negative or not finite: measure it again'
            )
        lengths = {len(self.mean), len(self.std), len(self.percentiles)}
        widths = {len(band) for band in self.percentiles}
        if len(lengths) != 1 or not self.mean or widths != {len(PERCENTILES)}:
            raise ConfigError(
                f'appearance has {len(self.mean)} means, {len(self.std)} standard deviations and '
                f'{len(self.percentiles)} rows of percentiles: expected one per band, with '
                f'{len(PERCENTILES)} percentiles in each row'
            )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> 'Appearance':
        """The appearance that `dataclasses.asdict` and JSON turned into `value`."""
        return cls(
            mean=tuple(map(float, value['mean'])),
            std=tuple(map(float, value['std'])),
            percentiles=tuple(tuple(map(float, band)) for band in value['percentiles']),
            sharpness=None if value['sharpness'] is None else float(value['sharpness']),
            windows=int(value['windows']),
        )


class AppearanceMeter:
    """Measures images window by window, in constant memory.

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
            valid: True where a pixel has data; None if all pixels have data.
        """
        bands = image.shape[0]
        if self._windows == 0:
            self._sums = torch.zeros(3, bands, dtype=torch.float64)
            self._histogram = torch.zeros(bands, _BINS, dtype=torch.float64)
        pixels = image.flatten(1) if valid is None else image[:, valid]
        # float64, because the mean of squares less the squared mean cancels in float32
        pixels = pixels.cpu().double()
        self._sums += torch.stack(
            [torch.full((bands,), pixels.shape[1]), pixels.sum(1), pixels.square().sum(1)]
        )
        self._histogram += torch.stack([torch.histc(band, _BINS, 0, 1) for band in pixels])
        sharp = sharpness(image, valid)
        self._sharpness += [] if sharp is None else [sharp]
        self._windows += 1

    def appearance(self) -> Appearance:
        """The appearance of all windows so far.

        Raises:
            ConfigError: If no pixel was counted.
        """
        count, total, squares = self._sums
        if self._windows == 0 or not bool(count.all()):
            raise ConfigError(
                'no pixel with data was seen, so the images cannot be described: check the no-data '
                'value and the windows'
            )
        mean = total / count
        # rounding may leave the variance just below 0
        std = (squares / count - mean**2).clamp(min=0).sqrt()
        shares = self._histogram.cumsum(1) / self._histogram.sum(1, keepdim=True)
        levels = torch.tensor(PERCENTILES, dtype=torch.float64).div(100).expand(len(mean), -1)
        # `expand` gives a view, which searchsorted copies with a warning
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

    The bands are averaged, the mean is subtracted, a Hann window is applied, and the result is
    Fourier transformed. Energy is the squared magnitude. Sharp aerial images score above 0.1,
    enlarged or heavily compressed ones 0.01 to 0.03, and white noise about 0.8.

    Args:
        image: Values of any scale.
        valid: True where a pixel has data; the others are set to the mean.

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
    # less the weighted mean, so that nothing is left at frequency 0
    centred = (grey - (grey * hann).sum() / hann.sum()) * hann
    energy = torch.fft.fft2(centred).abs().square()
    rows = torch.fft.fftfreq(height, dtype=torch.float64, device=grey.device)
    cols = torch.fft.fftfreq(width, dtype=torch.float64, device=grey.device)
    high = torch.hypot(rows[:, None], cols) > _SHARP_CYCLES_PER_PX
    total = float(energy.sum())
    # in a flat image only rounding errors remain, which would pass for noise
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
            f'the source has {len(source.mean)} bands, but the scenes have {len(scenes.mean)}: '
            'give the scenes with the bands that the model takes'
        )
    return [
        # a constant band has no spread to divide by
        round(math.hypot(m - mean, s - std) / max(std, 1e-6), 12)
        for mean, std, m, s in zip(source.mean, source.std, scenes.mean, scenes.std, strict=True)
    ]


def _hann(length: int, like: Tensor) -> Tensor:
    # without the zeros at both ends, which would ignore the pixels on the border
    return torch.hann_window(length + 2, periodic=False, dtype=like.dtype, device=like.device)[1:-1]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
