"""What a checkpoint holds of a method, and whether it fits the method that loads it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from crossearth.errors import CheckpointError
from crossearth.models.freezing import frozen_marks, other_marks
from crossearth.trainers.methods.method import Role

__all__ = ['check_state', 'saved_state']


def saved_state(
    state: Mapping[str, Tensor], roles: Mapping[str, Role]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The tensors that training changes, and a mark of each that it does not.

    Args:
        state: All tensors by name.
        roles: Role of each tensor.

    Returns:
        Tensors whose role is `trains` or `kept`, and the marks of the pretrained ones.

    Example:
        >>> import torch
        >>> state = {'adapter': torch.ones(1), 'backbone': torch.ones(2)}
        >>> tensors, marks = saved_state(state, {'adapter': 'trains', 'backbone': 'pretrained'})
        >>> list(tensors), list(marks)
        (['adapter'], ['backbone'])
    """
    pretrained = {name for name, role in roles.items() if role == 'pretrained'}
    kept = {name: value for name, value in state.items() if name not in pretrained}
    return kept, frozen_marks(state, pretrained & state.keys())


def check_state(
    checkpoint: Mapping[str, Any], module: nn.Module, roles: Mapping[str, Role]
) -> None:
    """Check that a checkpoint holds exactly what training changes in a module, and fits the rest.

    Args:
        checkpoint: Has `state_dict` and `frozen_marks`, as `saved_state` returns them.
        module: What the tensors are loaded into.
        roles: Role of each of its tensors.

    Raises:
        CheckpointError: If tensors are missing, left over or have another shape, or if the
            checkpoint was trained with other pretrained weights.
    """
    state = module.state_dict()
    pretrained = {name for name, role in roles.items() if role == 'pretrained'}
    own = {key: tuple(value.shape) for key, value in state.items()}
    theirs = {key: tuple(value.shape) for key, value in checkpoint['state_dict'].items()}
    missing = sorted(own.keys() - theirs.keys() - pretrained)
    surplus = sorted(theirs.keys() - own.keys())
    other = sorted(key for key in own.keys() & theirs.keys() if own[key] != theirs[key])
    if missing or surplus or other:
        first = (missing + surplus + other)[0]
        raise CheckpointError(
            f'checkpoint belongs to another model: {len(missing)} weights are missing, '
            f'{len(surplus)} are left over, {len(other)} have another shape; first {first}: '
            f'expected {own.get(first)}, got {theirs.get(first)}. Build the model and method of '
            'that training run'
        )
    others = other_marks(checkpoint.get('frozen_marks', {}), state)
    if others:
        raise CheckpointError(
            'checkpoint was trained with other frozen weights than this model has, first '
            f'{others[0]}: build the model with the pretrained weights of that training run'
        )
