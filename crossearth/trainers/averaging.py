"""An average of the weights during training, to be tested and kept instead of the last weights."""

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from crossearth.describing import Described
from crossearth.errors import CheckpointError, ConfigError

__all__ = ['AverageWeights', 'averaged_weights', 'trainable']


class AverageWeights(Described, pl.Callback):
    """Exponential moving average of the trained weights.

    After each optimiser step the average moves by `1 − decay` towards the weights. Validation uses
    the average. When training ends, the model keeps it, so tests and `SaveModel` use it. In
    checkpoints `state_dict` is the average. This callback stores the weights themselves there, from
    which training resumes.

    Unlike lightning's own callback, it neither copies nor stores frozen weights. Buffers, such as
    statistics of batch norms, are not averaged. The average is in float32, whatever the precision
    of training.

    Args:
        decay: Share of the average that a step keeps, in [0, 1).
        start_step: Optimiser steps before averaging begins; until then the average is the weights.

    Raises:
        ConfigError: If a number is out of range, or, at the start of training, if weights are
            sharded over processes, or if the method scores a model that the optimiser does not
            train.
        CheckpointError: If a checkpoint averages other weights.

    Source:
        Polyak averaging with an exponential window, as in many segmentation recipes; not part of
        the paper.
    """

    def __init__(self, decay: float = 0.999, *, start_step: int = 0) -> None:
        if not 0 <= decay < 1 or start_step < 0:
            raise ConfigError(
                f'decay={decay}, start_step={start_step}: expected a share from 0 to below 1, and '
                'at least 0 steps'
            )
        self.decay = decay
        self.start_step = start_step
        self._begin()

    def _begin(self) -> None:
        self._other: dict[str, Tensor] = {}  # the average, or the weights while it is in the model
        self._averaged = False  # whether the model holds the average
        self._last_step = 0

    def setup(
        self,
        trainer: pl.Trainer,  # noqa: ARG002  # lightning's signature
        pl_module: pl.LightningModule,  # noqa: ARG002
        stage: str,
    ) -> None:
        """Forget an earlier training run; a checkpoint is loaded after this."""
        if stage == 'fit':
            self._begin()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start from the current weights, unless a checkpoint was loaded.

        Raises:
            ConfigError: If checkpoints would hold the weights instead of their average.
        """
        # lightning does not call callbacks for such checkpoints
        if any(
            isinstance(callback, ModelCheckpoint) and callback.save_weights_only
            for callback in trainer.callbacks  # type: ignore[attr-defined]  # lightning's Trainer
        ):
            raise ConfigError(
                'a ModelCheckpoint has save_weights_only=True, so it would keep the weights and '
                'not their average: leave it out, or leave out AverageWeights'
            )
        weights = averaged_weights(pl_module, 'AverageWeights')
        if not self._other:
            self._other = {
                name: weight.detach().float().clone() for name, weight in weights.items()
            }
        self._other = {name: value.to(weights[name].device) for name, value in self._other.items()}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ARG002  # lightning's signature
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Move the average, if the optimiser has made a step."""
        if trainer.global_step <= self._last_step:
            return  # gradients are being accumulated
        self._last_step = trainer.global_step
        # a share of 1 copies the weights
        share = 1 - self.decay if trainer.global_step > self.start_step else 1.0
        with torch.no_grad():
            for name, weight in trainable(pl_module).items():
                self._other[name].lerp_(weight.detach().float(), share)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Put the average into the model for validation."""
        if self._other and not self._averaged:
            self._swap(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the weights back for training."""
        if self._other and self._averaged and trainer.state.fn == 'fit':
            self._swap(pl_module)

    def on_exception(
        self,
        trainer: pl.Trainer,  # noqa: ARG002  # lightning's signature
        pl_module: pl.LightningModule,
        exception: BaseException,  # noqa: ARG002
    ) -> None:
        """Leave the weights in the model, wherever it was interrupted."""
        if self._averaged:
            self._swap(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Keep the average in the model."""
        if not self._averaged:
            self._swap(pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do the same if a checkpoint of the last step left nothing to train."""
        self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The last averaged step; `on_save_checkpoint` adds the weights."""
        return {'last_step': self._last_step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from there."""
        self._last_step = state['last_step']

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,  # noqa: ARG002  # lightning's signature
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Put the average into the state, and the weights next to it."""
        if not self._other:
            return
        weights = {name: weight.detach() for name, weight in trainable(pl_module).items()}
        average, online = (weights, self._other) if self._averaged else (self._other, weights)
        checkpoint['state_dict'] = {**checkpoint['state_dict'], **average}
        checkpoint['online_weights'] = online

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Give the model the weights from which training resumes."""
        online = checkpoint.get('online_weights')
        if trainer.state.fn != 'fit' or online is None:
            return
        weights = trainable(pl_module)
        if {name: value.shape for name, value in online.items()} != {
            name: value.shape for name, value in weights.items()
        }:
            raise CheckpointError(
                'checkpoint averages other weights than this model trains: build the model of that '
                'training run, or leave AverageWeights out'
            )
        self._averaged = False
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(online[name])
                self._other[name] = checkpoint['state_dict'][name].float().clone()

    def _swap(self, pl_module: pl.LightningModule) -> None:
        """Exchange the weights of the model with those stored here."""
        with torch.no_grad():
            for name, weight in trainable(pl_module).items():
                here = self._other[name]
                # Cloned, because float() of a float32 weight shares the memory that copy_
                # overwrites.
                self._other[name] = weight.detach().float().clone()
                weight.copy_(here)
        self._averaged = not self._averaged


def averaged_weights(module: pl.LightningModule, callback: str) -> dict[str, torch.nn.Parameter]:
    """The weights that the optimiser changes, by name, checked to be suitable for averaging.

    Raises:
        ConfigError: If they are sharded over processes, or the method scores a model that the
            optimiser does not train.
    """
    weights = trainable(module)
    if any(type(weight.data) is not Tensor for weight in weights.values()):
        raise ConfigError(f'{callback} cannot average sharded weights: leave it out')
    scored = getattr(module, 'model', None)
    if isinstance(scored, torch.nn.Module) and not any(
        weight.requires_grad for weight in scored.parameters()
    ):
        raise ConfigError(
            f'{callback} averages what the optimiser trains, but another model is tested and '
            f'saved, such as a teacher: leave {callback} out, or let the method score the model '
            'that trains'
        )
    return weights


def trainable(module: pl.LightningModule) -> dict[str, torch.nn.Parameter]:
    """The weights that the optimiser changes, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}
