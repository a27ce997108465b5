"""Modules between the stages of a model, without changing its code."""

from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from crossearth.errors import ConfigError

__all__ = ['attach', 'stage_at']


def attach(model: nn.Module, path: str, module: nn.Module) -> RemovableHandle:
    """Pass the output of a model's stage through a module while the model trains.

    This is a forward hook: nothing is added to the model, its state or its files. In eval mode
    (`model.eval()`) the stage returns what it always has. A copy of the model, such as a teacher,
    does not use the module until you attach it there too.

    Args:
        model: Its mode decides whether the module is used.
        path: Name of the stage, such as `'backbone.model.layer1'`; see `model.named_modules()`.
        module: Tensor → tensor of the same shape, such as `MixStyle`.

    Returns:
        A handle. `handle.remove()` takes the module off again, and so does the end of a
        `with attach(…):` block.

    Raises:
        ConfigError: If there is no such stage, or the model recomputes activations for the
            gradients (checkpointing), for which the module would draw different numbers. When
            called, if the stage does not return a tensor.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Identity(), nn.Identity())
        >>> with attach(model, '0', nn.Dropout(p=1.0)):
        ...     model(torch.ones(2)), model.eval()(torch.ones(2))
        (tensor([0., 0.]), tensor([1., 1.]))
    """
    stage = stage_at(model, path)
    for name, part in model.named_modules():
        if any(
            getattr(part, flag, False) is True for flag in ('checkpointing', 'grad_checkpointing')
        ):
            raise ConfigError(
                f'{name or type(part).__name__} recomputes its activations for the gradients, for '
                f'which {type(module).__name__} would draw other numbers: switch checkpointing off'
            )

    def pass_on(called: nn.Module, _: tuple[Any, ...], output: Any) -> Any:
        # deepcopy copies hooks as well, but this one still refers to the stage of the original.
        if called is not stage or not model.training:
            return output
        if not isinstance(output, Tensor):
            raise ConfigError(
                f'{path} returns {type(output).__name__}, expected a tensor: attach to one of '
                f'its parts, {_children(stage)}'
            )
        return module(output)

    return stage.register_forward_hook(pass_on)


def stage_at(model: nn.Module, path: str) -> nn.Module:
    """The submodule with this name.

    Raises:
        ConfigError: If there is none; the message lists the names that exist.

    Example:
        >>> stage_at(nn.Sequential(nn.ReLU()), '0')
        ReLU()
    """
    there, found = model, ''
    for name in path.split('.'):
        children = dict(there.named_children())
        if name not in children:
            place = found or type(model).__name__
            raise ConfigError(
                f'{path!r} is not a stage of {type(model).__name__}: {place} has no {name!r}, '
                f'expected one of {_children(there)}'
            )
        there = children[name]
        found = f'{found}.{name}' if found else name
    return there


def _children(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_children()]
