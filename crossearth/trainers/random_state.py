"""The state of every random generator, so that training resumes as if it had never stopped."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

__all__ = ['generators_of', 'random_state', 'restore_random_state', 'spread_random_state']

_GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio: seeds of neighbouring ranks are far apart
_SEEDS = 2**63


def generators_of(modules: Iterable[nn.Module]) -> list[torch.Generator]:
    """Generators that modules hold as attributes, without duplicates, in the order of the modules.

    Example:
        >>> from crossearth.transforms import PatchMask
        >>> generator = torch.Generator()
        >>> masks = nn.ModuleList([PatchMask(4, 0.5, generator=generator) for _ in range(2)])
        >>> generators_of([masks]) == [generator]
        True
    """
    found: dict[int, torch.Generator] = {}
    for module in modules:
        for part in module.modules():
            for value in vars(part).values():
                if isinstance(value, torch.Generator):
                    found.setdefault(id(value), value)
    return list(found.values())


def random_state(generators: Sequence[torch.Generator], device: torch.device) -> dict[str, Any]:
    """States of all processes: Python's, numpy's and torch's global generators and the given ones.

    In distributed training, every process has to call it.

    Args:
        generators: Those of augmentations, see `generators_of`.
        device: Device of the model; on CUDA, its generator is part of the state.

    Returns:
        Tensors, numbers, and lists of them, which can be loaded from a file without running code.
        `ranks` has the state of each process.
    """
    own = _own_state(generators, device)
    if not distributed.is_available() or not distributed.is_initialized():
        return {'ranks': [own]}
    ranks: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(ranks, own)
    return {'ranks': ranks}


def restore_random_state(
    state: dict[str, Any],
    generators: Sequence[torch.Generator],
    device: torch.device,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> bool:
    """Restore all generators of this process to the state that `random_state` returned.

    Args:
        state: What `random_state` returned.
        generators: The same generators, in the same order.
        device: Where the model is.
        rank: This process.
        world_size: Number of processes.

    Returns:
        False, with nothing changed, if the state has another number of processes or generators.
        Such a training run cannot resume exactly.
    """
    if len(state['ranks']) != world_size:
        return False
    own = state['ranks'][rank]
    if len(own['generators']) != len(generators):
        return False
    version, words, gauss = own['python']
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = own['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002 -- the global state that other libraries draw from
    torch.set_rng_state(own['torch'])
    if device.type == 'cuda' and 'cuda' in own:
        torch.cuda.set_rng_state(own['cuda'], device)
    for generator, saved in zip(generators, own['generators'], strict=True):
        generator.set_state(saved)
    return True


def spread_random_state(generators: Sequence[torch.Generator], *, rank: int) -> None:
    """Make processes that were seeded alike draw differently; rank 0 does not change.

    Args:
        generators: Those of augmentations.
        rank: This process.
    """
    if rank == 0:
        return
    seed = (torch.initial_seed() + rank * _GOLDEN) % _SEEDS
    torch.manual_seed(seed)
    random.seed(seed)
    # numpy takes seeds of 32 bits only.
    np.random.seed(seed % 2**32)  # noqa: NPY002 -- the global state that other libraries draw from
    for generator in generators:
        generator.manual_seed((generator.initial_seed() + rank * _GOLDEN) % _SEEDS)


def _own_state(generators: Sequence[torch.Generator], device: torch.device) -> dict[str, Any]:
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 -- as above
    # Only numbers, text, lists and tensors, so that torch.load(weights_only=True) reads them.
    state: dict[str, Any] = {
        'python': [version, list(words), gauss],
        'numpy': [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        'torch': torch.get_rng_state(),
        'generators': [_state_of(generator) for generator in generators],
    }
    if device.type == 'cuda':
        state['cuda'] = torch.cuda.get_rng_state(device)
    return state


def _state_of(generator: torch.Generator) -> Tensor:
    return generator.get_state()
