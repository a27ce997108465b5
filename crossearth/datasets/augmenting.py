"""Augmentations of whole batches: images, masks and all else on the same pixels."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import kornia.augmentation as K
import torch
from torch import Tensor, nn

from crossearth.batches import spatial_keys
from crossearth.datasets.streams import derived_seed, draws_from
from crossearth.errors import ConfigError
from crossearth.labels import IGNORE_INDEX

__all__ = ['SeededStep', 'augment_batch', 'augment_pair', 'chain_augmentations']

type Sample = dict[str, Tensor]


class SeededStep(nn.Module):
    """A step of the augmentation that draws from its own stream.

    Args:
        module: A kornia augmentation in a container, or a module that maps a batch.
        seed: Seed of the stream.

    Attributes:
        draws: The stream.
    """

    def __init__(self, module: nn.Module, seed: int) -> None:
        super().__init__()
        self.module = module
        self.draws = torch.Generator().manual_seed(seed)

    def forward(self, batch: Sample) -> Sample:
        """The batch after the step."""
        with draws_from(self.draws):
            return _apply(self.module, batch)


def chain_augmentations(
    augment: nn.Module | Sequence[nn.Module] | None, *, seed: int = 0
) -> nn.ModuleList:
    """Steps for `augment_batch`, each with its own stream of draws.

    Streams are derived from the seed, the class of a step and how many of that class come before
    it. A step thus draws the same whatever other steps there are.

    Args:
        augment: A module or several, in the order of application.
        seed: Seed of all streams.

    Raises:
        ConfigError: If a kornia container has data keys.
    """
    steps = nn.ModuleList()
    if augment is None:
        return steps
    number: Counter[str] = Counter()
    for module in (augment,) if isinstance(augment, nn.Module) else augment:
        step = module
        if isinstance(module, K.AugmentationSequential):
            if module.data_keys is not None:
                raise ConfigError(
                    f'augment holds a container with data_keys={module.data_keys}: expected '
                    'data_keys=None, because images and masks are passed to it by name'
                )
        elif isinstance(module, K.AugmentationBase2D | K.ImageSequential):
            # kornia's own augmentations take tensors; this container takes the whole batch by names
            step = K.AugmentationSequential(module, data_keys=None)
        name = type(module).__qualname__
        number[name] += 1
        steps.append(SeededStep(step, derived_seed(seed, f'{name}/{number[name]}')))
    return steps


def augment_batch(steps: Iterable[nn.Module], batch: Sample) -> Sample:
    """Apply all steps to a batch, in order.

    Args:
        steps: Result of `chain_augmentations`, or modules that map a batch.
        batch: `image` (b,c,h,w) in [0, 1], and what belongs to it.

    Raises:
        ConfigError: If a module does not return a batch with all the keys that it got.
    """
    for step in steps:
        batch = step(batch) if isinstance(step, SeededStep) else _apply(step, batch)
    return batch


def _apply(step: nn.Module, batch: Sample) -> Sample:
    if isinstance(step, K.AugmentationSequential):
        return augment_pair(step, batch)
    try:
        changed = step(batch)
    except (TypeError, AttributeError) as error:
        error.add_note(
            f'{type(step).__name__} in augment was called with a batch, a dict with the keys '
            f'{", ".join(batch)}. Only augmentations of kornia are called with the image.'
        )
        raise
    if not isinstance(changed, Mapping) or not batch.keys() <= changed.keys():
        wanted = ' and '.join(repr(name) for name in ('image', 'mask') if name in batch)
        raise ConfigError(
            f'{type(step).__name__} in augment turned a batch into {type(changed).__name__}: '
            f'expected a dict with {wanted} and all other keys of the batch, or a kornia '
            'augmentation'
        )
    return dict(changed)


def augment_pair(augment: nn.Module, batch: Sample) -> Sample:
    """Image and mask through a kornia container, so that labels stay valid.

    kornia expects masks with a channel, moves them as floats, and fills what a rotation or crop
    uncovers with 0. Labels are therefore shifted by one, so that 0 is the ignored label.

    Everything else on the pixels of the image moves as the mask does, whatever its type. Each pixel
    takes the nearest one, so neighbours are never mixed across the edge of a roof or of the data.
    Uncovered pixels become 0 or False.

    Args:
        augment: Container with `data_keys=None`.
        batch: `image` (b,c,h,w) in [0, 1]; `mask` int64 (b,h,w) and other maps, see
            `spatial_keys`. Integers in maps are exact up to 2²⁴.

    Returns:
        The batch with everything moved, in the same types.
    """
    image = batch['image']
    given = {'image': image}
    maps = spatial_keys(batch)
    for name in maps:
        values = batch[name]
        if name == 'mask':
            values = (values + 1) % (IGNORE_INDEX + 1)
        planes = values if values.ndim == image.ndim else values[:, None]
        given[f'mask_{name}'] = planes.to(image.dtype)  # kornia identifies masks by this prefix
    moved = augment(given)
    result = {**batch, 'image': moved['image']}
    for name in maps:
        planes = moved[f'mask_{name}']
        values = planes if batch[name].ndim == image.ndim else planes[:, 0]
        kind = batch[name].dtype
        # rounded first, because a cast to integers cuts fractions off
        values = values.to(kind) if kind.is_floating_point else values.round().to(kind)
        result[name] = (values - 1) % (IGNORE_INDEX + 1) if name == 'mask' else values
    return result
