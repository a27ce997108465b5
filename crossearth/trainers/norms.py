"""Norms that get a single value to take statistics of: which norm it is, and what to do."""

from functools import partial
from typing import Any

import lightning.pytorch as pl
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from crossearth.errors import ConfigError

__all__ = ['CheckNorms']


class CheckNorms(pl.Callback):
    """Names the norm of a model that has too few values for its statistics.

    In training mode a batch norm needs several values of each channel, and a group norm of each
    group. One image whose map has shrunk to 1×1 px may have a single value. torch raises an error
    for it without naming the norm. `TrainingTask` adds this callback.

    Raises:
        ConfigError: During training, if that happens.
    """

    def __init__(self) -> None:
        self._hooks: list[RemovableHandle] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Watch the input of each norm."""
        self._hooks = [
            module.register_forward_pre_hook(partial(_check_values, name))
            for name, module in pl_module.named_modules()
            # synchronised norms take the statistics of all processes
            if isinstance(module, _BatchNorm | nn.GroupNorm)
            and not isinstance(module, nn.SyncBatchNorm)
        ]

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []

    def on_exception(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        exception: BaseException,  # noqa: ARG002  # lightning's signature
    ) -> None:
        """Stop watching if training is interrupted."""
        self.on_train_end(trainer, pl_module)


def _check_values(name: str, module: nn.Module, given: tuple[Any, ...]) -> None:
    values = given[0]
    if not isinstance(values, Tensor) or values.ndim < 2:
        return
    if isinstance(module, nn.GroupNorm):
        of_what, number = 'group', module.num_groups
    elif module.training:
        of_what, number = 'channel', values.shape[1]
    else:
        return  # it uses its stored statistics
    if values.numel() == number:
        raise ConfigError(
            f'{name}: {type(module).__name__} got one value per {of_what}, of shape '
            f'{tuple(values.shape)}, and cannot compute their variance: raise batch_size to 2 or '
            'more, train on larger windows, or build the model with another norm'
        )
