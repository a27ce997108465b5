"""Networks that are used but never trained."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ['FrozenModule', 'each_on_cpu']


class FrozenModule(nn.Module):
    """A module that stays in eval mode and whose parameters take no gradient.

    Call `freeze` at the end of `__init__`. A training loop that puts its whole model into train
    mode does not affect it, so running statistics never change.

    Example:
        >>> class Doubled(FrozenModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.norm = nn.BatchNorm2d(3)
        ...         self.freeze()
        >>> nn.Sequential(Doubled()).train()[0].norm.training
        False
    """

    def freeze(self) -> None:
        """Eval mode and no gradients from now on, with weights in channels-last layout.

        Convolutions are fast in that layout, on CPUs and GPUs.
        """
        super().train(False)
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    # nn.Module's Self is Any here: the run-time type checker refuses it.
    def train(self, mode: bool = True) -> Any:  # noqa: ARG002 -- nn.Module's signature
        """Stay in eval mode, whatever the argument."""
        return super().train(False)


def each_on_cpu(function: Callable[..., Tensor], *batches: Tensor, exact: torch.dtype) -> Tensor:
    """Apply a function to batches, sample by sample on a CPU and all at once elsewhere.

    Autocast is switched off and the batches are cast to `exact`, because in bfloat16 repainted
    images would be off by more than one of 255 steps.

    The activations of one image fit into a CPU's cache, but not those of a batch: one by one, the
    style transformer takes little more than half the time.

    Example:
        >>> each_on_cpu(torch.add, torch.tensor([1, 2]), torch.tensor([3, 4]), exact=torch.float32)
        tensor([4., 6.])
    """
    device = batches[0].device.type
    batches = tuple(batch.to(exact) for batch in batches)
    with torch.autocast(device, enabled=False):
        if device != 'cpu' or len(batches[0]) < 2:
            return function(*batches)
        parts = zip(*(torch.split(batch, 1) for batch in batches), strict=True)
        return torch.cat([function(*part) for part in parts])
