"""Brightness, contrast, saturation and hue, each drawn for each sample."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.errors import BandError, ConfigError
from crossearth.transforms.seeded import SeededAugmentation

__all__ = ['PhotometricDistortion']

_TINY = torch.finfo(torch.float32).tiny  # what nothing is divided by


class PhotometricDistortion(SeededAugmentation):
    """Images in other light: brightness, contrast, saturation and hue change by random amounts.

    Each of the four steps is applied with probability one half. The order is brightness, contrast,
    saturation, hue, or brightness, saturation, hue, contrast. After each step, values are clamped
    to [0, 1].

    Args:
        brightness: Largest value added or subtracted, in [0, 1].
        contrast: Range of the factor that all values are multiplied by.
        saturation: Range of the factor of the saturation.
        hue: Largest turn of the colour circle in either direction, in whole turns.
        bands: Positions of red, green and blue for saturation and hue; brightness and contrast
            change all bands. For IR-R-G imagery they are also (0, 1, 2), as it is displayed.
        p: Probability that a sample is distorted at all.
        nodata: See `SeededAugmentation`.
        generator: Source of the draws; None for torch's global one.

    Raises:
        ConfigError: If a range is out of order or negative.
        BandError: When called, if the image lacks one of the bands.

    Source:
        Steps and ranges of the SSD distortion (Liu et al., arXiv 1512.02325, §2.2) as segmentation
        toolboxes use it: 32/255, 0.5–1.5, 0.5–1.5 and 18 of 180 hues, either way.

    Example:
        >>> darker = PhotometricDistortion(
        ...     brightness=0.0, contrast=(0.5, 0.5), saturation=(1.0, 1.0), hue=0.0,
        ...     generator=torch.Generator().manual_seed(3),
        ... )
        >>> image = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1)
        >>> darker(image.expand(4, 3, 1, 1))[:, 2, 0, 0].unique()
        tensor([0.4000, 0.8000])
    """

    def __init__(
        self,
        *,
        brightness: float = 32 / 255,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 0.1,
        bands: Sequence[int] = (0, 1, 2),
        p: float = 1.0,
        nodata: float | None = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p=p, nodata=nodata, generator=generator)
        for name, (low, high) in (('contrast', contrast), ('saturation', saturation)):
            if not 0 <= low <= high:
                raise ConfigError(f'{name}={(low, high)}: expected 0 ≤ low ≤ high')
        if not 0 <= brightness <= 1 or not 0 <= hue <= 0.5:
            raise ConfigError(
                f'brightness={brightness}, hue={hue}: expected 0 to 1, and 0 to 0.5 turns'
            )
        if len(bands) != 3:
            raise ConfigError(f'bands={tuple(bands)}: expected the positions of red, green, blue')
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.bands = tuple(bands)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """The four amounts, neutral where a step is not drawn, and the order."""
        b = batch_shape[0]

        def drawn(low: float, high: float, neutral: float) -> Tensor:
            amount = low + (high - low) * self.uniform(b)
            return torch.where(self.uniform(b) < 0.5, amount, neutral)

        return {
            'brightness': drawn(-self.brightness, self.brightness, 0.0),
            'contrast': drawn(*self.contrast, 1.0),
            'saturation': drawn(*self.saturation, 1.0),
            'hue': drawn(-self.hue, self.hue, 0.0),
            'contrast_first': self.uniform(b) < 0.5,
        }

    def require_bands(self, num_bands: int) -> None:
        """Raise if an image lacks red, green or blue.

        Raises:
            BandError: If it does.
        """
        if max(self.bands) >= num_bands:
            raise BandError(
                f'bands={self.bands} are red, green and blue, but the image has {num_bands} '
                'band(s): choose three of its bands'
            )

    def change(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],  # noqa: ARG002 -- of the base class; pixels are independent
    ) -> Float[Tensor, 'b c h w']:
        """The four steps, in each sample's order."""
        steps = ('brightness', 'contrast', 'saturation', 'hue', 'contrast_first')
        amounts = torch.stack([drawn[name].double() for name in steps], 1).tolist()
        # One sample at a time stays in the processor's cache, and steps not drawn cost nothing.
        return torch.stack(
            [self._distort(sample, *row) for sample, row in zip(image, amounts, strict=True)]
        )

    def _distort(
        self,
        image: Float[Tensor, 'c h w'],
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        contrast_first: float,
    ) -> Float[Tensor, 'c h w']:
        # A new tensor, which the steps below may change in place.
        image = (image + brightness).clamp_(0, 1)
        if contrast_first and contrast != 1:
            image.mul_(contrast).clamp_(0, 1)
        if saturation != 1 or hue != 0:
            rgb = [image[band] for band in self.bands]
            turned = _turned(rgb, saturation, hue) if hue else _saturated(rgb, saturation)
            image = self._with_bands(image, torch.stack(turned).clamp_(0, 1))
        if not contrast_first and contrast != 1:
            image.mul_(contrast).clamp_(0, 1)
        return image

    def _with_bands(
        self, image: Float[Tensor, 'c h w'], rgb: Float[Tensor, '3 h w']
    ) -> Float[Tensor, 'c h w']:
        if len(image) == 3 and self.bands == (0, 1, 2):
            return rgb
        return image.index_copy(0, torch.tensor(self.bands, device=image.device), rgb)


def _saturated(rgb: list[Float[Tensor, 'h w']], saturation: float) -> list[Float[Tensor, 'h w']]:
    """`_turned` without a turn: each band moves along the line from grey to its own value."""
    high, _, spread = _range_of(rgb)
    # The saturation, spread / high, ends at 1. Black has neither: 0 / tiny leaves it as it is.
    factor = high.div(spread).clamp_(max=saturation)
    return [torch.lerp(high, band, factor) for band in rgb]


def _turned(
    rgb: list[Float[Tensor, 'h w']], saturation: float, hue: float
) -> list[Float[Tensor, 'h w']]:
    """Saturation times a factor, hue plus a part of a turn, value kept.

    The equations of HSV, arranged so that no pixel asks which of its bands is the largest:
    comparing and choosing take most of the time of the usual form.
    """
    red, green, blue = rgb
    high, low, spread = _range_of(rgb)
    # Distance from red along the hexagon of hues, whose corners lie 1 apart, green's half positive.
    distance = (green - red).add_(blue - low).div_(spread).add_(1)
    angle = distance.copysign(green - blue) + 6 * hue
    angle.sub_(angle.div(6).floor_(), alpha=6)
    chroma = (spread * saturation).minimum(high)
    shares = (
        angle.sub(3).abs_().sub_(1),
        angle.sub(2).abs_().neg_().add_(2),
        angle.sub(4).abs_().neg_().add_(2),
    )
    return [torch.addcmul(high - chroma, chroma, share.clamp_(0, 1)) for share in shares]


def _range_of(
    rgb: list[Float[Tensor, 'h w']],
) -> tuple[Float[Tensor, 'h w'], Float[Tensor, 'h w'], Float[Tensor, 'h w']]:
    """Largest value, smallest value, and their difference, which is never quite 0."""
    red, green, blue = rgb
    high = red.maximum(green).maximum(blue)
    low = red.minimum(green).minimum(blue)
    return high, low, (high - low).clamp_(min=_TINY)
