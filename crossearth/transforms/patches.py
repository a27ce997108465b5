"""Random patches: which are kept, and what replaces the others."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError, ShapeError
from crossearth.transforms.seeded import SeededAugmentation

__all__ = ['PatchGrid', 'PatchMask', 'kept_patches', 'patch_grid']

type PatchGrid = Literal['paper', 'release']


def patch_grid(
    image_hw: tuple[int, int], patch_size: int, *, grid: PatchGrid = 'paper'
) -> tuple[int, int]:
    """Rows and columns of patches that cover an image.

    Args:
        image_hw: Height and width in pixels.
        patch_size: Side of a patch B in pixels.
        grid: `'paper'` is ⌈H/B⌉ × ⌈W/B⌉, `'release'` round(H/B) × round(W/B), at least 1.

    Example:
        >>> patch_grid((200, 180), 32), patch_grid((200, 180), 32, grid='release')
        ((7, 6), (6, 6))
    """
    if grid == 'paper':
        rows, cols = (math.ceil(side / patch_size) for side in image_hw)
    else:
        rows, cols = (max(round(side / patch_size), 1) for side in image_hw)
    return rows, cols


def kept_patches(
    uniform: Float[Tensor, 'b 1 gh gw'],
    ratio: float,
    *,
    image_hw: tuple[int, int],
    patch_size: int,
    grid: PatchGrid = 'paper',
) -> Bool[Tensor, 'b 1 h w']:
    """The mask M: True in the patches that are kept, an expected fraction `1 - ratio` of them.

    Args:
        uniform: One draw from [0, 1) per patch, of the size that `patch_grid` gives.
        ratio: τ, the probability that a patch is not kept, in [0, 1]. 0 keeps all, 1 none.
        image_hw: Height and width of the mask in pixels.
        patch_size: Side of a patch in pixels.
        grid: `'paper'` makes patches of exactly `patch_size`, the last ones cut by the border;
            `'release'` stretches its rounded grid over the image, nearest neighbour.

    Returns:
        One mask per sample.

    Source:
        Eqs. 3 and 4. A patch is kept if U ≥ τ instead of U > τ. This is the same with probability
        one, and exact at τ = 0, where a generator may return 0.

    Example:
        >>> draws = torch.tensor([[[[0.1, 0.8]]]])
        >>> kept_patches(draws, 0.5, image_hw=(1, 5), patch_size=3)[0, 0].int().tolist()
        [[0, 0, 0, 1, 1]]
    """
    kept = uniform >= ratio
    height, width = image_hw
    if grid == 'release':
        # Nearest neighbours stretch the rounded grid over the image, as in the release.
        return F.interpolate(kept.float(), (height, width)).bool()
    kept = kept.repeat_interleave(patch_size, -2).repeat_interleave(patch_size, -1)
    return kept[..., :height, :width]


class PatchMask(SeededAugmentation):
    """Masked images X_M = X ⊙ M + v ⊙ (1 − M), with M constant on square patches and per sample.

    Args:
        patch_size: Side of a patch B in pixels.
        ratio: τ, an expected fraction of patches, in [0, 1], see `polarity`.
        prompt: v, the content of masked patches, in the units of the image. It can be a number, a
            tensor (c,1,1) or (c,h,w), or an `nn.Parameter` of these shapes, which is then trained
            with gradients through the masked patches only.
        polarity: `'masked'`: `ratio` is the fraction of patches that are masked. `'kept'`: it is
            the fraction that are kept.
        grid: `'paper'` or `'release'`, see `patch_grid`.
        generator: Source of the draws; None for torch's global one.

    Raises:
        ConfigError: If the patch size or the ratio is out of range.
        ShapeError: When called, if the prompt does not fit the images.

    Source:
        Eqs. 3, 4 and 6. Eq. 6 as printed, X ⊙ M ⊙ v, is zero everywhere while v is initialised
        with zero. The formula here is that of the released training run, whose prompt is a
        learnable tensor of zeros in *normalised* units. In [0, 1] the equivalent is the mean
        colour, `prompt=nn.Parameter(mean.view(3, 1, 1))`.

    Example:
        >>> mask = PatchMask(2, 1.0, prompt=0.5)
        >>> mask(torch.ones(1, 1, 2, 3)).tolist()
        [[[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]]]
    """

    takes_any_units = True
    prompt: Tensor

    def __init__(
        self,
        patch_size: int,
        ratio: float,
        *,
        prompt: float | Tensor | nn.Parameter = 0.0,
        polarity: Literal['masked', 'kept'] = 'masked',
        grid: PatchGrid = 'paper',
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(p=1.0, nodata=None, generator=generator)
        check_patches(patch_size, ratio, grid)
        if polarity not in ('masked', 'kept'):
            raise ConfigError(f"polarity={polarity!r}: expected 'masked' or 'kept'")
        self.patch_size = patch_size
        self.ratio = ratio
        self.polarity = polarity
        self.grid: PatchGrid = grid
        if isinstance(prompt, nn.Parameter):
            self.prompt = prompt
        else:
            self.register_buffer(
                'prompt', torch.as_tensor(prompt, dtype=torch.float32), persistent=False
            )

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        prompt = self.prompt.item() if self.prompt.numel() == 1 else tuple(self.prompt.shape)
        return arguments_of(self, prompt=prompt)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """One draw per patch."""
        rows, cols = patch_grid((batch_shape[-2], batch_shape[-1]), self.patch_size, grid=self.grid)
        return {'patches': self.uniform(batch_shape[0], 1, rows, cols)}

    def change(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],  # noqa: ARG002 -- of the base class; all pixels are masked
    ) -> Float[Tensor, 'b c h w']:
        """The prompt where patches are masked."""
        kept = kept_patches(
            drawn['patches'],
            self.ratio if self.polarity == 'masked' else 1 - self.ratio,
            image_hw=(image.shape[-2], image.shape[-1]),
            patch_size=self.patch_size,
            grid=self.grid,
        )
        prompt = self.prompt.to(image.dtype)
        try:
            prompt = prompt.expand(image.shape[1:])
        except RuntimeError as error:
            raise ShapeError(
                f'prompt is {tuple(self.prompt.shape)} but images are {tuple(image.shape[1:])}: '
                f'expected {(image.shape[1], 1, 1)} or the size of an image'
            ) from error
        return torch.where(kept, image, prompt)


def check_patches(patch_size: int, ratio: float, grid: PatchGrid) -> None:
    """Raise if patch arguments make no sense.

    Raises:
        ConfigError: If the patch size is not a positive whole number, the ratio is outside [0, 1],
            or the grid is unknown.
    """
    if not isinstance(patch_size, int) or patch_size < 1 or not 0 <= ratio <= 1:
        raise ConfigError(
            f'patch_size={patch_size} and ratio={ratio}: expected a whole number of pixels from 1, '
            'and a fraction from 0 to 1'
        )
    if grid not in ('paper', 'release'):
        raise ConfigError(f"grid={grid!r}: expected 'paper' or 'release'")
