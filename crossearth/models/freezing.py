"""What training leaves unchanged, and how to check that it is still the same."""

from collections.abc import Mapping

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crossearth.errors import ConfigError

__all__ = ['freeze_norms', 'frozen_marks', 'frozen_names', 'other_marks', 'rest_frozen', 'whole']

_TOLERANCE = 1e-3  # resized weights differ in the last bits between versions of torch


def frozen_names(model: nn.Module) -> set[str]:
    """Names of the state that training cannot change: frozen parameters and buffers under them.

    A buffer counts as frozen if all parameters of a module around it are frozen. The whole model
    does not count as such a module. The module has to be in eval mode, see `rest_frozen`.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm2d(2).requires_grad_(False), nn.Conv2d(2, 1, 1))
        >>> sorted(frozen_names(model))[:3]
        ['0.bias', '0.num_batches_tracked', '0.running_mean']
    """
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    for prefix, module in _frozen_modules(model).items():
        frozen |= {f'{prefix}.{name}' for name, _ in module.named_buffers()}
    return frozen & set(model.state_dict())


def rest_frozen(model: nn.Module) -> None:
    """Put modules whose parameters are all frozen into eval mode.

    Otherwise batch norms keep updating their averages, and dropout keeps dropping, in a backbone
    that was frozen by `requires_grad_(False)` alone.

    Args:
        model: Its other modules keep their mode.

    Example:
        >>> model = nn.Sequential(nn.BatchNorm2d(2).requires_grad_(False), nn.Conv2d(2, 1, 1))
        >>> rest_frozen(model.train())
        >>> [module.training for module in model]
        [False, True]
    """
    for module in _frozen_modules(model).values():
        module.eval()


def freeze_norms(model: nn.Module) -> None:
    """Freeze the batch norms of a model: training keeps their averages, scales and shifts.

    Batch norms that train on one domain learn its averages and then fail in others. Averages of
    varied images, such as ImageNet's, generalise better.

    Args:
        model: The rest of it trains as before.

    Raises:
        ConfigError: If a batch norm has no scale and shift, which are what tells that it rests.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
        >>> freeze_norms(model)
        >>> [p.requires_grad for p in model.parameters()]
        [True, True, False, False]
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            if module.track_running_stats and not list(module.parameters()):
                raise ConfigError(
                    f'{name} is a batch norm without scale and shift, whose averages would go on '
                    'moving: build it with affine=True'
                )
            # Its averages stop, too: `rest_frozen` puts what has no gradient into eval mode.
            module.requires_grad_(False)


def frozen_marks(state: Mapping[str, Tensor], names: set[str]) -> dict[str, float]:
    """One number per tensor that identifies it among others of its size, random ones included.

    Args:
        state: Tensors by name.
        names: Those to mark.

    Returns:
        Name → sum of the values, each weighted by the sine of its position.

    Example:
        >>> marks = frozen_marks({'a': torch.ones(3), 'b': torch.ones(3)}, {'a'})
        >>> other_marks(marks, {'a': torch.ones(3)}), other_marks(marks, {'a': torch.zeros(3)})
        ([], ['a'])
    """
    return {name: _mark(state[name]) for name in sorted(names)}


def other_marks(marks: Mapping[str, float], state: Mapping[str, Tensor]) -> list[str]:
    """Names whose tensor is missing or differs from the one that was marked."""
    return [
        name
        for name, mark in marks.items()
        if name not in state
        or abs(_mark(state[name]) - mark)
        > _TOLERANCE * max(float(whole(state[name]).double().norm()), 1)
    ]


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or all of a sharded one, which every process has to ask for."""
    if not distributed.is_available() or not distributed.is_initialized():
        return tensor
    # Builds of torch without `distributed` lack this module.
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _mark(tensor: Tensor) -> float:
    values = whole(tensor.detach()).flatten().double().cpu()
    # weights that do not repeat, so that permuted values get another mark
    return float(values @ torch.arange(1, values.numel() + 1, dtype=torch.float64).sin())


def _frozen_modules(model: nn.Module) -> dict[str, nn.Module]:
    found = {}
    for prefix, module in model.named_modules():
        parameters = list(module.parameters())
        if prefix and parameters and not any(p.requires_grad for p in parameters):
            found[prefix] = module
    return found
