"""Intensity augmentations that a generator can repeat and that leave no-data alone."""

import math
from abc import abstractmethod
from functools import reduce
from typing import Any, ClassVar, Literal

import kornia.augmentation as K
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.data import get_worker_info

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError, ShapeError

__all__ = ['SeededAugmentation']

# Noise and bicubic resampling stay within; normalised images and raw numbers do not.
_LOWEST, _HIGHEST = -1.0, 2.0


class SeededAugmentation(K.IntensityAugmentationBase2D):
    """A kornia intensity augmentation with its own generator, for batches in [0, 1].

    It can be used in kornia's containers like any other, with three additions:

    - All draws come from `generator` if one is given, on the generator's device. Otherwise they
      come from torch's global generator, as kornia's do.
    - Only the samples that are drawn are computed, so a skipped batch costs nothing.
    - Pixels without data keep their values, and so do those that the caller marks as invalid. A
      pixel with a NaN or an infinity in any band counts as no-data.

    In a worker process of a data loader the generator is reseeded once, from its own seed and the
    worker's. As a mere copy it would draw the same in every worker and in every epoch.

    The change of a sample depends only on its position in the batch, not on which other samples
    were drawn. Most augmentations clamp values that noise or resampling left a little outside
    [0, 1]. Images in other units are refused.

    Args:
        p: Probability of each sample.
        nodata: Pixels that hold this value in all bands are no-data, which fits padding and
            what `to_unit` makes of NaN; None treats every pixel as data.
        generator: Source of the draws.
        draw_per: Whether `p` is drawn for each sample, or once for all samples of a batch. The
            change of a drawn sample is drawn separately either way.

    Raises:
        ConfigError: If `p` is not a probability, or `draw_per` is neither `'sample'` nor `'batch'`.
            When called, if images are integers or drawn ones lie far outside [0, 1].
    """

    takes_any_units: ClassVar[bool] = False

    def __init__(
        self,
        *,
        p: float,
        nodata: float | None = 0.0,
        generator: torch.Generator | None = None,
        draw_per: Literal['sample', 'batch'] = 'sample',
    ) -> None:
        if not 0 <= p <= 1:
            raise ConfigError(f'p={p}: expected a probability from 0 to 1')
        if draw_per not in ('sample', 'batch'):
            raise ConfigError(f"draw_per is {draw_per!r}: expected 'sample' or 'batch'")
        super().__init__(p=p, keepdim=True)
        self.nodata = nodata
        self.generator = generator
        self.draw_per = draw_per
        self._worker_seed: int | None = None

    @abstractmethod
    def change(
        self,
        image: Float[Tensor, 'b c h w'],
        drawn: dict[str, Tensor],
        valid: Bool[Tensor, 'b 1 h w'],
    ) -> Float[Tensor, 'b c h w']:
        """The augmented images of the samples that were drawn.

        Args:
            image: Only the drawn samples, float32 or float64, with autocast switched off.
            drawn: Rows of `generate_parameters`, on the device of the image.
            valid: True where a pixel is data.

        Returns:
            New images; their invalid pixels are not used.
        """

    def __repr__(self) -> str:
        return torch.nn.Module.__repr__(self)  # kornia's names only arguments of its own

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self)

    def require_bands(self, num_bands: int) -> None:
        """Raise if images lack a band, in every call rather than in the first that draws a sample.

        Raises:
            BandError: If they do.
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
            params: Draws of an earlier call, from `_params`, to repeat.
            valid: (b,h,w) or (h,w), False where a pixel must keep its value. Pass `mask != 255` to
                leave ignored pixels alone. kornia's containers do not pass masks to intensity
                augmentations, so in them only `nodata` applies.
            kwargs: Arguments from kornia's containers.

        Returns:
            A new tensor of the input's shape and type.

        Raises:
            ShapeError: If `valid` does not fit the images.
            ConfigError: If the images are integers.
            BandError: If they lack a band.
        """
        if not input.is_floating_point():
            raise ConfigError(
                f'images are {input.dtype}, expected floating point in [0, 1]: convert them '
                'with crossearth.radiometry.to_unit'
            )
        if input.ndim >= 3:
            self.require_bands(input.shape[-3])
        self._reseed_in_worker()
        if valid is not None:
            batch = input.shape[0] if input.ndim == 4 else 1
            expected = (batch, *input.shape[-2:])
            valid = valid if valid.ndim == 3 else valid[None]
            if tuple(valid.shape) != expected:
                raise ShapeError(
                    f'valid is {tuple(valid.shape)} but the images are {tuple(input.shape)}: '
                    f'expected {expected}, one value per pixel'
                )
            if params is None:
                # kornia makes its own draws only if it is given none.
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
        """Augment the samples that `params['batch_prob']` selects; the others stay unchanged."""
        rows = (params['batch_prob'] > 0.5).nonzero().flatten()
        if not len(rows):
            return input
        whole = len(rows) == len(input)
        drawn = {
            name: (value if whole else value[rows.to(value.device)]).to(input.device)
            for name, value in params.items()
            # containers add their own flags to the draws
            if isinstance(value, Tensor) and name not in ('batch_prob', 'forward_input_shape')
        }
        rows = rows.to(input.device)
        chosen = input if whole else input[rows]
        valid = self._where_data(chosen)
        if 'valid' in drawn:
            valid = valid & drawn.pop('valid')
        exact = chosen if chosen.dtype == torch.float64 else chosen.float()
        with torch.autocast(input.device.type, enabled=False):
            changed = self.change(exact, drawn, valid).to(input.dtype)
        if not valid.all():
            changed = torch.where(valid, changed, chosen)
        return changed if whole else input.index_copy(0, rows, changed)

    def _where_data(self, image: Tensor) -> Tensor:
        """True where a pixel is data; raises if images are in other units."""
        if self.nodata is None:
            valid = torch.ones_like(image[:, :1], dtype=torch.bool)
        else:
            bands = (image != self.nodata).unbind(1)
            valid = reduce(torch.logical_or, bands)[:, None]  # any(1) takes twice the time
        # One pass settles almost every batch; only the others look for NaN pixel by pixel.
        if self.takes_any_units or _spans_unit(image):
            return valid
        finite = image.isfinite().all(1, keepdim=True)
        valid = valid & finite
        known = image[valid.expand_as(image)]
        if known.numel() and not _spans_unit(known):
            low, high = float(known.detach().min()), float(known.detach().max())
            raise ConfigError(
                f'images hold values from {low:g} to {high:g}, expected [0, 1]: augment before '
                'normalising, and convert other units with crossearth.radiometry.to_unit'
            )
        return valid

    def _reseed_in_worker(self) -> None:
        worker = get_worker_info()
        if worker is None or self.generator is None or self._worker_seed == worker.seed:
            return
        self._worker_seed = worker.seed
        self.generator.manual_seed((self.generator.initial_seed() + worker.seed) % 2**63)

    def uniform(self, *shape: int) -> Float[Tensor, '...']:
        """Draws from [0, 1)."""
        device = 'cpu' if self.generator is None else self.generator.device
        return torch.rand(shape, generator=self.generator, device=device)

    def normal(self, *shape: int) -> Float[Tensor, '...']:
        """Draws from the standard normal distribution."""
        device = 'cpu' if self.generator is None else self.generator.device
        return torch.randn(shape, generator=self.generator, device=device)

    # kornia's own draws from torch's global generator.
    def __batch_prob_generator__(
        self,
        batch_shape: tuple[int, ...],
        p: float,
        p_batch: float,
        same_on_batch: bool,
    ) -> Tensor:
        if same_on_batch or p_batch != 1:
            raise ConfigError(
                f'{type(self).__name__} draws every sample separately: leave same_on_batch and '
                'p_batch of the container unset (those that take draw_per can draw p once for all '
                'samples)'
            )
        if self.draw_per == 'batch':
            return (self.uniform(1) < p).float().expand(batch_shape[0])
        return (self.uniform(batch_shape[0]) < p).float()


def _spans_unit(values: Tensor) -> bool:
    """Whether all values are finite and about in [0, 1]; NaN is outside of both bounds."""
    low, high = (float(bound) for bound in torch.aminmax(values.detach()))
    return math.isfinite(low + high) and low >= _LOWEST and high <= _HIGHEST
