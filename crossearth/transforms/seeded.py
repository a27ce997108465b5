"""Intensity augmentations that a generator repeats and that leave nodata alone."""

from abc import abstractmethod
from typing import Any, Literal

import kornia.augmentation as K
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.errors import ConfigError, ShapeError

__all__ = ['SeededAugmentation']


class SeededAugmentation(K.IntensityAugmentationBase2D):
    """A kornia intensity augmentation with its own generator, for batches in [0, 1].

    It composes in kornia's containers like any other, with three additions:

    - all draws come from `generator` where one is given, on the generator's device; without one
      they come from torch's global generator, as kornia's do;
    - only the samples that are drawn are computed, so that a batch that is skipped costs nothing;
    - pixels without data keep their values, and so do those that the caller calls invalid.

    Whatever a sample gets depends on its position in the batch alone, not on which other samples
    were drawn.

    Args:
        p: Probability of each sample.
        nodata: Pixels that hold this value in all bands are no data, which holds for padding and
            for what `to_unit` made of NaN; None treats every pixel as data.
        generator: Source of the draws.
        draw_per: Whether `p` is drawn for each sample, or once for all samples of a batch. What a
            drawn sample gets is its own either way.

    Raises:
        ConfigError: If `p` is no probability, or `draw_per` neither `'sample'` nor `'batch'`.
    """

    def __init__(
        self,
        *,
        p: float,
        nodata: float | None = 0.0,
        generator: torch.Generator | None = None,
        draw_per: Literal['sample', 'batch'] = 'sample',
    ) -> None:
        if not 0 <= p <= 1:
            raise ConfigError(f'p={p} is no probability: choose a number from 0 to 1')
        if draw_per not in ('sample', 'batch'):
            raise ConfigError(f"draw_per is {draw_per!r}: choose 'sample' or 'batch'")
        super().__init__(p=p, keepdim=True)
        self.nodata = nodata
        self.generator = generator
        self.draw_per = draw_per

    @abstractmethod
    def change(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],
    ) -> Float[Tensor, 'b c h w']:
        """The augmented images of the samples that were drawn.

        Args:
            image: Drawn samples only, float32 or float64, autocast switched off.
            drawn: Rows of `generate_parameters`, on the device of the image.
            valid: True where a pixel is data.

        Returns:
            New images; what they hold at invalid pixels is not used.
        """

    def forward(
        self,
        input: Tensor,  # noqa: A002 -- the name that kornia's containers rely on
        params: dict[str, Tensor] | None = None,
        *,
        valid: Bool[Tensor, '... h w'] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Augmented images.

        Args:
            input: Images (b,c,h,w) or (c,h,w) in [0, 1].
            params: Draws of an earlier call, from `_params`, to be repeated.
            valid: (b,h,w) or (h,w), False where a pixel must keep its value: pass `mask != 255` to
                leave ignored pixels alone. A container of kornia hands no masks to intensity
                augmentations, so there only `nodata` is known.
            kwargs: Of kornia's containers.

        Returns:
            A new tensor of the input's shape and type.

        Raises:
            ShapeError: If `valid` does not fit the images.
        """
        if valid is not None:
            batch = input.shape[0] if input.ndim == 4 else 1
            expected = (batch, *input.shape[-2:])
            valid = valid if valid.ndim == 3 else valid[None]
            if tuple(valid.shape) != expected:
                raise ShapeError(
                    f'valid is {tuple(valid.shape)} but the images are {tuple(input.shape)}: '
                    f'expected {expected}, one value a pixel'
                )
            if params is None:
                params = self.forward_parameters((batch, *input.shape[-3:]))
            params = {**params, 'valid': valid[:, None]}
        augmented: Tensor = super().forward(input, params, **kwargs)
        return augmented

    def apply_transform(
        self,
        input: Tensor,  # noqa: A002 -- kornia's signature
        params: dict[str, Tensor],
        flags: dict[str, Any],  # noqa: ARG002 -- kornia's signature
        transform: Tensor | None = None,  # noqa: ARG002 -- kornia's signature
    ) -> Tensor:
        """Augmented samples where `params['batch_prob']` says so, the others as they are."""
        rows = (params['batch_prob'] > 0.5).nonzero().flatten()
        if not len(rows):
            return input
        whole = len(rows) == len(input)
        drawn = {
            name: (value if whole else value[rows.to(value.device)]).to(input.device)
            for name, value in params.items()
            # containers add flags of their own to the draws
            if isinstance(value, Tensor) and name not in ('batch_prob', 'forward_input_shape')
        }
        rows = rows.to(input.device)
        chosen = input if whole else input[rows]
        valid = torch.ones_like(chosen[:, :1], dtype=torch.bool)
        if self.nodata is not None:
            valid = (chosen != self.nodata).any(1, keepdim=True)
        if 'valid' in drawn:
            valid = valid & drawn.pop('valid')
        exact = chosen if chosen.dtype == torch.float64 else chosen.float()
        with torch.autocast(input.device.type, enabled=False):
            changed = self.change(exact, drawn, valid).to(input.dtype)
        changed = torch.where(valid, changed, chosen)
        return changed if whole else input.index_copy(0, rows, changed)

    def uniform(self, *shape: int) -> Float[Tensor, '...']:
        """Draws from [0, 1)."""
        device = 'cpu' if self.generator is None else self.generator.device
        return torch.rand(shape, generator=self.generator, device=device)

    def __batch_prob_generator__(
        self,
        batch_shape: tuple[int, ...],
        p: float,
        p_batch: float,
        same_on_batch: bool,
    ) -> Tensor:
        if same_on_batch or p_batch != 1:
            raise ConfigError(
                f'{type(self).__name__} draws every sample for itself: leave same_on_batch and '
                "p_batch of the container unset; draw_per='batch' draws once for all samples"
            )
        if self.draw_per == 'batch':
            return (self.uniform(1) < p).float().expand(batch_shape[0])
        return (self.uniform(batch_shape[0]) < p).float()
