"""Brightness, contrast, saturation and hue, each drawn for each sample."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from kornia.color import hsv_to_rgb, rgb_to_hsv
from torch import Tensor

from crossearth.errors import BandError, ConfigError
from crossearth.transforms.seeded import SeededAugmentation

__all__ = ['PhotometricDistortion']


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
        amount = {name: value.view(-1, 1, 1, 1) for name, value in drawn.items()}
        neutral = torch.ones_like(amount['contrast'])
        first = amount['contrast_first']
        image = (image + amount['brightness']).clamp(0, 1)
        image = (image * torch.where(first, amount['contrast'], neutral)).clamp(0, 1)
        bands = list(self.bands)
        coloured = _turn(image[:, bands], amount['saturation'], amount['hue'])
        if image.shape[1] == 3 and bands == [0, 1, 2]:
            image = coloured
        else:
            image = image.index_copy(1, torch.tensor(bands, device=image.device), coloured)
        return (image * torch.where(first, neutral, amount['contrast'])).clamp(0, 1)


def _turn(
    rgb: Float[Tensor, 'b 3 h w'],
    saturation: Float[Tensor, 'b 1 1 1'],
    hue: Float[Tensor, 'b 1 1 1'],
) -> Float[Tensor, 'b 3 h w']:
    """Multiply the saturation by a factor, and turn the hue."""
    angle, chroma, value = torch.split(rgb_to_hsv(rgb), 1, 1)
    angle = (angle + hue * (2 * math.pi)) % (2 * math.pi)
    turned: Tensor = hsv_to_rgb(torch.cat([angle, (chroma * saturation).clamp(0, 1), value], 1))
    # Converting there and back rounds; a sample whose steps are not drawn must not change at all.
    still = (saturation == 1) & (hue == 0)
    return torch.where(still, rgb, turned)
