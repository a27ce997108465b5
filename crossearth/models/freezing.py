"""What training leaves alone, and how to tell that it is still the same."""

from collections.abc import Mapping

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ['freeze_norms', 'frozen_marks', 'frozen_names', 'other_marks', 'rest_frozen', 'whole']

_TOLERANCE = 1e-3  # resizing weights differs in the last bits from one version of torch to the next


def frozen_names(model: nn.Module) -> set[str]:
    """State of modules that training cannot change: frozen parameters, buffers under them.

    A buffer counts as frozen where all parameters of a module around it, the model itself left
    out, are frozen: such a module has to be in eval mode, see `rest_frozen`.

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

    Without it, batch norms go on averaging, and dropout goes on dropping, in a backbone that was
    frozen by `requires_grad_(False)` alone.

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

    Trained on one domain, batch norms learn its averages, and then fail elsewhere. Those of varied
    images, such as ImageNet's, last.

    Args:
        model: Everything else of it trains as before.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
        >>> freeze_norms(model)
        >>> [p.requires_grad for p in model.parameters()]
        [True, True, False, False]
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.requires_grad_(False)


def frozen_marks(state: Mapping[str, Tensor], names: set[str]) -> dict[str, float]:
    """One number a tensor that tells it from others of its size, random ones included.

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
    """Names whose tensor is missing or another than the one that was marked."""
    return [
        name
        for name, mark in marks.items()
        if name not in state
        or abs(_mark(state[name]) - mark)
        > _TOLERANCE * max(float(whole(state[name]).double().norm()), 1)
    ]


def whole(tensor: Tensor) -> Tensor:
    """A tensor as it is, or all of one that is sharded, which every process has to ask for."""
    if not distributed.is_available() or not distributed.is_initialized():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _mark(tensor: Tensor) -> float:
    values = whole(tensor.detach()).flatten().double().cpu()
    return float(values @ torch.arange(1, values.numel() + 1, dtype=torch.float64).sin())


def _frozen_modules(model: nn.Module) -> dict[str, nn.Module]:
    found = {}
    for prefix, module in model.named_modules():
        parameters = list(module.parameters())
        if prefix and parameters and not any(p.requires_grad for p in parameters):
            found[prefix] = module
    return found
