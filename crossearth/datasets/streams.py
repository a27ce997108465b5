"""Separate streams of random draws, so that the draws of one part do not change those of another.

Two methods that are compared with one seed should see the same windows, with the same flips. With
one generator for everything, a method that draws a style before the flip would get other flips.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ['derived_seed', 'draws_from']


def derived_seed(seed: int, name: str) -> int:
    """The seed of a part, derived from its name; the same in every program.

    Example:
        >>> derived_seed(0, 'RandomHorizontalFlip') == derived_seed(0, 'RandomHorizontalFlip')
        True
        >>> derived_seed(0, 'RandomHorizontalFlip') == derived_seed(1, 'RandomHorizontalFlip')
        False
    """
    digest = hashlib.sha256(f'{seed}/{name}'.encode()).digest()
    return int.from_bytes(digest[:7])  # generators take up to 64 bits; this leaves room for ranks


@contextmanager
def draws_from(generator: torch.Generator) -> Iterator[None]:
    """Make torch's global CPU generator draw what `generator` would have drawn.

    It is for code that takes no generator, such as kornia's augmentations. Afterwards the global
    generator is back in its state, and `generator` has advanced.

    Args:
        generator: A generator on the CPU.

    Example:
        >>> with draws_from(torch.Generator().manual_seed(3)):
        ...     inside = torch.rand(2)
        >>> torch.equal(inside, torch.rand(2, generator=torch.Generator().manual_seed(3)))
        True
    """
    outside = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(outside)
