"""What all style injections share: patches, display bands, no-data and value range."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.errors import BandError, ConfigError
from crossearth.transforms.patches import PatchGrid, check_patches, kept_patches, patch_grid
from crossearth.transforms.seeded import SeededAugmentation

__all__ = ['StyleInjection', 'follow_statistics', 'valid_mean']


class StyleInjection(SeededAugmentation):
    """Styled images X_S: another style in some patches, the image itself in the others.

    Args:
        patch_size: Side of a patch B in pixels; None styles the whole image.
        ratio: τ, see `polarity`; not used without patches.
        polarity: `'release'` styles the expected fraction τ of the patches. A higher τ then means
            more style, which agrees with the trend in Appendix A. `'paper'` styles the fraction
            1 − τ, as eq. 5 is printed.
        grid: `'paper'` or `'release'`, see `patch_grid`.
        bands: Positions of the bands that are styled, those displayed as red, green and blue. All
            further bands undergo the same change of statistics, see
            `follow_statistics`.
        p: Probability of each sample.
        nodata: See `SeededAugmentation`.
        generator: See `SeededAugmentation`.
        draw_per: See `SeededAugmentation`.

    Raises:
        ConfigError: If patches, bands or probability are out of range.
        BandError: When called, if the image lacks one of the bands.

    Source:
        Eqs. 3, 4 and 5.
    """

    def __init__(
        self,
        *,
        patch_size: int | None,
        ratio: float,
        polarity: Literal['release', 'paper'],
        grid: PatchGrid,
        bands: Sequence[int],
        p: float,
        nodata: float | None,
        generator: torch.Generator | None,
        draw_per: Literal['sample', 'batch'] = 'sample',
    ) -> None:
        super().__init__(p=p, nodata=nodata, generator=generator, draw_per=draw_per)
        if patch_size is not None:
            check_patches(patch_size, ratio, grid)
        if polarity not in ('release', 'paper'):
            raise ConfigError(f"polarity={polarity!r}: expected 'release' or 'paper'")
        if not bands or len(set(bands)) != len(bands) or min(bands) < 0:
            raise ConfigError(
                f'bands={tuple(bands)}: expected the positions of different bands, such as '
                '(0, 1, 2)'
            )
        self.patch_size = patch_size
        self.ratio = ratio
        self.polarity = polarity
        self.grid: PatchGrid = grid
        self.bands = tuple(bands)

    @abstractmethod
    def draw_styles(self, num_samples: int) -> dict[str, Tensor]:
        """Draws that choose a style for each sample, one row per sample."""

    @abstractmethod
    def restyle(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],
    ) -> Float[Tensor, 'b c h w']:
        """Display bands in the drawn styles, not clamped; invalid pixels hold band means."""

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Styles, and one draw per patch."""
        drawn = self.draw_styles(batch_shape[0])
        if self.patch_size is not None:
            rows, cols = patch_grid(
                (batch_shape[-2], batch_shape[-1]), self.patch_size, grid=self.grid
            )
            drawn['patches'] = self.uniform(batch_shape[0], 1, rows, cols)
        return drawn

    def require_bands(self, num_bands: int) -> None:
        """Raise if an image lacks a display band.

        Raises:
            BandError: If it does.
        """
        if max(self.bands) >= num_bands:
            raise BandError(
                f'bands={self.bands} are to be styled, but the image has {num_bands}: choose '
                f'positions from 0 to {num_bands - 1}, and a style with as many bands'
            )

    def change(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],
    ) -> Float[Tensor, 'b c h w']:
        """The styled image in the styled patches."""
        num_bands = image.shape[1]
        display = image if self.bands == tuple(range(num_bands)) else image[:, self.bands]
        # The style is taken from the image, and no-data would become part of it: zeros darken the
        # mean and their border is an edge.
        filled = torch.where(valid, display, valid_mean(display, valid))
        styled = self.restyle(filled, drawn, valid).clamp(0, 1)
        if len(self.bands) < num_bands:
            rest = [band for band in range(num_bands) if band not in self.bands]
            whole = torch.empty_like(image)
            whole[:, self.bands] = styled
            whole[:, rest] = follow_statistics(image[:, rest], display, styled, valid).clamp(0, 1)
            styled = whole
        elif self.bands != tuple(range(num_bands)):
            # from display order back to the order of the image's bands
            styled = styled[:, torch.tensor(self.bands, device=image.device).argsort()]
        if self.patch_size is None:
            return styled
        kept = kept_patches(
            drawn['patches'],
            self.ratio,
            image_hw=(image.shape[-2], image.shape[-1]),
            patch_size=self.patch_size,
            grid=self.grid,
        )
        # Eq. 5 as printed keeps the image where the release styles it.
        source = kept if self.polarity == 'release' else ~kept
        return torch.where(source, image, styled)


def valid_mean(
    image: Float[Tensor, 'b c h w'], valid: Bool[Tensor, 'b 1 h w']
) -> Float[Tensor, 'b c 1 1']:
    """Mean of each band over valid pixels; 0 if there are none."""
    count = valid.sum((-2, -1), keepdim=True).clamp(min=1)
    # invalid pixels may be NaN, and NaN times zero is NaN
    return torch.where(valid, image, 0).sum((-2, -1), keepdim=True) / count


def follow_statistics(
    bands: Float[Tensor, 'b r h w'],
    before: Float[Tensor, 'b c h w'],
    after: Float[Tensor, 'b c h w'],
    valid: Bool[Tensor, 'b 1 h w'],
) -> Float[Tensor, 'b r h w']:
    """Change further bands, for which no style is known, as the display bands were changed.

    Each band keeps its pattern. Its mean moves by the average shift of the display bands, and its
    deviations from the mean grow by their geometric mean gain.

    Args:
        bands: The further bands, such as near infrared.
        before: Display bands.
        after: Display bands, styled.
        valid: True where a pixel is data; no other pixels enter the statistics.

    Returns:
        Changed bands, not clamped.

    Source:
        Ours, because the style networks take only three bands.

    Example:
        >>> valid = torch.ones(1, 1, 1, 2, dtype=torch.bool)
        >>> before = torch.tensor([[[[0.2, 0.4]]]])
        >>> nir = torch.tensor([[[[0.5, 0.6]]]])
        >>> follow_statistics(nir, before, before * 2, valid)
        tensor([[[[0.7500, 0.9500]]]])
    """
    mean_before, mean_after = valid_mean(before, valid), valid_mean(after, valid)
    spread_before = valid_mean((before - mean_before) ** 2, valid).sqrt()
    spread_after = valid_mean((after - mean_after) ** 2, valid).sqrt()
    smallest = 1 / 255  # a band with less deviation looks flat, so its gain is undefined
    gain = (spread_after.clamp(min=smallest) / spread_before.clamp(min=smallest)).log()
    gain = gain.mean(1, keepdim=True).exp()
    shift = (mean_after - mean_before).mean(1, keepdim=True)
    mean = valid_mean(bands, valid)
    return (bands - mean) * gain + mean + shift
