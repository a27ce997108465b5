"""Puts models into eval mode temporarily, and moves them to another device."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError

__all__ = ['evaluating', 'moved_to']


@contextmanager
def evaluating(model: nn.Module | Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Puts the model into eval mode inside the block, and restores each submodule's mode after it.

    Frozen TorchScript and exported programs cannot change mode, so they keep the one they have.

    Example:
        >>> model = nn.Sequential(nn.Dropout(0.5), nn.Identity()).train()
        >>> _ = model[1].eval()
        >>> with evaluating(model):
        ...     model[0].training
        False
        >>> model.training, model[0].training, model[1].training
        (True, True, False)
    """
    if not isinstance(model, nn.Module):
        yield
        return
    modes = [
        (module, module.training)
        for module in model.modules()
        if getattr(module, 'training', None) is not None  # frozen TorchScript has none
    ]
    try:
        model.eval()
    except NotImplementedError:  # raised by exported programs, possibly nested in a module
        for module, _ in modes:
            module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def moved_to[M: nn.Module](model: M, device: torch.device | str) -> M:
    """The model, on a device.

    Raises:
        ConfigError: If the device does not exist.

    Example:
        >>> moved_to(nn.Identity(), 'gpu')
        Traceback (most recent call last):
        crossearth.errors.ConfigError: device 'gpu' cannot be used (...): try cpu
    """
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        # torch answers with an AssertionError for a device that it was built without
        reason = str(error).splitlines()[0]
        raise ConfigError(f'device {str(device)!r} cannot be used ({reason}): try cpu') from error
