"""Optimiser groups and the learning-rate schedule."""

from typing import TypedDict

from torch import nn

__all__ = ['ParameterGroup', 'parameter_groups', 'poly_factor']


class ParameterGroup(TypedDict):
    """Parameters that share a weight decay, as torch optimisers take them."""

    params: list[nn.Parameter]
    weight_decay: float


def parameter_groups(module: nn.Module, *, weight_decay: float) -> list[ParameterGroup]:
    """Trainable parameters in two groups: matrices and kernels decay, vectors and scalars do not.

    Vectors are the weights of normalisations and biases, scalars the scales of adapters. Frozen
    parameters are in neither group.

    Args:
        module: The model.
        weight_decay: Decay of the first group.

    Example:
        >>> groups = parameter_groups(nn.Linear(3, 2), weight_decay=0.05)
        >>> [(len(group['params']), group['weight_decay']) for group in groups]
        [(1, 0.05), (1, 0.0)]
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decay = [parameter for parameter in trainable if parameter.ndim > 1]
    keep = [parameter for parameter in trainable if parameter.ndim <= 1]
    groups: list[ParameterGroup] = [
        {'params': decay, 'weight_decay': weight_decay},
        {'params': keep, 'weight_decay': 0.0},
    ]
    return [group for group in groups if group['params']]


def poly_factor(step: int, *, total_steps: int, power: float = 0.9, warmup_steps: int = 0) -> float:
    """Share of the learning rate at an optimiser step: linear warm-up, then polynomial decay to 0.

    Args:
        step: Steps already made.
        total_steps: Step at which the rate reaches 0.
        power: Exponent of the decay.
        warmup_steps: Steps over which the rate rises from near 0; it rises on top of the decay.

    Source:
        Schedule of the released configurations (paper §5.1: poly, power 0.9).

    Example:
        >>> [round(poly_factor(step, total_steps=4), 3) for step in (0, 2, 4)]
        [1.0, 0.536, 0.0]
    """
    decay: float = max(1 - step / total_steps, 0.0) ** power
    return decay * min((step + 1) / warmup_steps, 1.0) if warmup_steps else decay
