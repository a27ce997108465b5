"""Models in eval mode for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

__all__ = ['evaluating']


@contextmanager
def evaluating(model: nn.Module | Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Eval mode inside, the mode that each submodule had before outside.

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
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
