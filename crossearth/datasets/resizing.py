"""By how much augmentations resize images, which decides the pixel sizes that a model learns."""

import math
from collections.abc import Iterable

import kornia.augmentation as K
from torch import nn

from crossearth.datasets.augmenting import SeededStep
from crossearth.errors import ConfigError

__all__ = ['resize_range']

_CONTAINERS = nn.Sequential | nn.ModuleList | K.AugmentationSequential | K.ImageSequential


def resize_range(steps: Iterable[nn.Module], *, size_px: int) -> tuple[float, float]:
    """Smallest and largest factor by which augmentations resize what images show.

    A module states it in an attribute `scale_range`, smallest and largest factor; at 2, it shows
    everything twice as large. kornia's `RandomResizedCrop`, `RandomAffine`, `Resize` and similar
    ones are known. Other modules are assumed to keep sizes.

    Args:
        steps: Modules in the order of application, including those inside containers.
        size_px: Side of the images that the first one gets.

    Raises:
        ConfigError: If the attribute `scale_range` of a module does not hold such a pair.

    Example:
        >>> turn = K.RandomAffine(10.0, scale=(0.8, 1.25), p=1.0)
        >>> resize_range([K.RandomHorizontalFlip(), turn], size_px=64)
        (0.8, 1.25)
    """
    low = high = 1.0
    for step in _flat(steps):
        (least, most), size_px = _factors(step, size_px)
        low, high = low * least, high * most
    return low, high


def _flat(steps: Iterable[nn.Module]) -> Iterable[nn.Module]:
    for step in steps:
        if isinstance(step, SeededStep):
            yield from _flat([step.module])
        elif isinstance(step, _CONTAINERS):
            yield from _flat(step.children())
        else:
            yield step


def _factors(step: nn.Module, size_px: int) -> tuple[tuple[float, float], int]:
    """Factors of a step, and the side of the images that it gives."""
    said = getattr(step, 'scale_range', None)
    if said is not None:
        return _checked(step, said), int(getattr(step, 'size_px', size_px))
    if isinstance(step, K.RandomResizedCrop):
        side = min(step.flags['size'])
        # crops a share of the area and resizes it to the requested side
        # in reverse, because the largest share gives the smallest factor
        low, high = (side / (size_px * math.sqrt(share)) for share in _pair(step)[::-1])
        return _often(step, (low, high)), side
    if isinstance(step, K.Resize):
        size = step.flags['size']
        side = min(size) if isinstance(size, tuple | list) else size
        return (side / size_px, side / size_px), side
    if isinstance(step, K.RandomAffine):
        return _often(step, _pair(step)), size_px
    if isinstance(step, K.RandomCrop | K.CenterCrop):
        return (1.0, 1.0), min(step.flags['size']) if 'size' in step.flags else size_px
    return (1.0, 1.0), size_px


def _often(
    step: K.RandomAffine | K.RandomResizedCrop, factors: tuple[float, float]
) -> tuple[float, float]:
    """The factors, including 1 for the images that a step skips."""
    return factors if step.p == 1 else (min(factors[0], 1.0), max(factors[1], 1.0))


def _pair(step: K.RandomAffine | K.RandomResizedCrop) -> tuple[float, float]:
    given = step._param_generator.scale
    return (1.0, 1.0) if given is None else (float(min(given)), float(max(given)))


def _checked(step: nn.Module, said: object) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in said)  # type: ignore[attr-defined]  # else refused
    except (TypeError, ValueError) as error:
        low, high = math.nan, math.nan
        cause: Exception | None = error
    else:
        cause = None
    if not 0 < low <= high < math.inf:
        raise ConfigError(
            f'{type(step).__name__}.scale_range is {said!r}: expected the smallest and the largest '
            'factor by which it resizes images, such as (0.5, 2.0)'
        ) from cause
    return low, high
