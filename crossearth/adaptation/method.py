"""The interface of methods that adapt a model to windows without labels."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crossearth.adaptation.windows import SceneWindows

__all__ = [
    'AdaptationMethod',
    'averaging_norms',
    'device_of',
    'pixel_entropy',
    'scaling_norms',
]

_SCALING = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm2d)


@runtime_checkable
class AdaptationMethod(Protocol):
    """A way to adapt a model to scenes without labels."""

    @property
    def name(self) -> str:
        """Its name in the model's file and on the command line."""
        ...

    def options(self) -> Mapping[str, float | int]:
        """Its options, for the record in the model's file."""
        ...

    def adapt(self, model: nn.Module, windows: SceneWindows, *, seed: int) -> nn.Module:
        """A changed copy of a model in eval mode; the same seed gives the same copy.

        Raises:
            ConfigError: If the method does not apply to the model.
        """
        ...


def averaging_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Norms that keep averages from training, by name: batch norms."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def scaling_norms(model: nn.Module) -> dict[str, nn.Module]:
    """Norms of any kind whose weights scale and shift each channel, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _SCALING) and isinstance(module.weight, nn.Parameter)
    }


def device_of(model: nn.Module) -> torch.device:
    """The device of the model."""
    return next((tensor.device for tensor in model.parameters()), torch.device('cpu'))


def pixel_entropy(
    logits: Float[Tensor, 'b k h w'], valid: Bool[Tensor, 'h w']
) -> Float[Tensor, '']:
    """Mean entropy of the pixels with data, in nats.

    Example:
        >>> logits = torch.tensor([0.0, 0.0]).view(1, 2, 1, 1)
        >>> round(float(pixel_entropy(logits, torch.ones(1, 1, dtype=torch.bool))), 4)
        0.6931
    """
    # The logarithm of a probability that has rounded to 0 would be infinite.
    logs = logits.float().log_softmax(1)
    entropy: Tensor = -(logs.exp() * logs).sum(1)
    return entropy[:, valid].mean()
