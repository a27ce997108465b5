"""An average of the weights over the part of training in which the source's loss is flat."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor

from crossearth.describing import arguments_of
from crossearth.errors import CheckpointError, ConfigError
from crossearth.trainers.averaging import AverageWeights, averaged_weights, trainable

__all__ = ['SWAD', 'LossValley', 'Segment']


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps between two validations.

    Args:
        weights: Mean over the steps, float32, by name.
        steps: Number of steps.
        last_step: The last of them.
        loss: Loss at the validation after it.
    """

    weights: dict[str, Tensor]
    steps: int
    last_step: int
    loss: float


class LossValley:
    """Decides which segments of a training run are averaged, as they arrive.

    With l_i the loss at validation i:

    - The window begins at the first t_s whose loss is the least of the `patience` validations
      t_s, t_s + 1, …, from which the loss has stopped falling. Their mean times `ratio` is the
      threshold.
    - It ends before the first run of `tolerance` validations that are all above the threshold.

    Args:
        patience: N_s.
        tolerance: N_e.
        ratio: r, at least 1.

    Attributes:
        started: Whether the window has begun.
        ended: Whether the window has ended.
        threshold: Threshold of the loss; infinite before the window.

    Raises:
        ConfigError: If a number is out of range.

    Example:
        >>> valley = LossValley(patience=2, tolerance=2, ratio=1.2)
        >>> for i, loss in enumerate([5.0, 3.0, 2.0, 2.5, 9.0, 9.0]):
        ...     valley.add(Segment({'w': torch.tensor(float(i))}, 1, i, loss))
        >>> valley.average()['w'], valley.ended  # of the segments 2 and 3
        (tensor(2.5000), True)
    """

    def __init__(self, *, patience: int = 3, tolerance: int = 6, ratio: float = 1.3) -> None:
        if patience < 1 or tolerance < 1 or ratio < 1:
            raise ConfigError(
                f'patience={patience}, tolerance={tolerance}, ratio={ratio}: expected at least 1 '
                'validation each, and a ratio from 1 up'
            )
        self.patience = patience
        self.tolerance = tolerance
        self.ratio = ratio
        self.started = self.ended = False
        self.threshold = math.inf
        self._settled: Segment | None = None  # the mean of what certainly belongs to the window
        self._open: list[Segment] = []  # may yet begin the window, or be left out at its end

    def add(self, segment: Segment) -> None:
        """Add the next segment."""
        if self.ended:
            return
        self._open.append(segment)
        if not self.started:
            losses = [candidate.loss for candidate in self._open]
            if len(losses) < self.patience:
                return
            # the oldest candidate begins the window if none of the validations after it is better
            if losses[0] > min(losses):
                del self._open[0]
                return
            self.started, self.threshold = True, self.ratio * sum(losses) / len(losses)
            self._settle()
            return
        self._settle()
        # with fewer segments open, the beginning is among them, which is below the threshold
        self.ended = self._settled is not None and all(
            candidate.loss > self.threshold for candidate in self._open
        )
        if self.ended:
            self._open.clear()

    def _settle(self) -> None:
        """Leave open only what may still be left out at the end."""
        while len(self._open) > self.tolerance:
            self._settled = _joined(self._settled, self._open.pop(0))

    def average(self) -> dict[str, Tensor] | None:
        """The mean over all steps of the window so far; None before it begins."""
        if not self.started:
            return None
        whole = self._settled
        for segment in self._open:
            whole = _joined(whole, segment)
        assert whole is not None
        return whole.weights

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs, in tensors and numbers."""
        segments = ([] if self._settled is None else [self._settled]) + self._open
        return {
            'started': self.started,
            'ended': self.ended,
            'threshold': self.threshold,
            'settled': self._settled is not None,
            'segments': [[s.weights, s.steps, s.last_step, s.loss] for s in segments],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from there."""
        self.started, self.ended = state['started'], state['ended']
        self.threshold = state['threshold']
        segments = [Segment(*fields) for fields in state['segments']]
        self._settled = segments.pop(0) if state['settled'] else None
        self._open = segments

    def to(self, device: torch.device) -> None:
        """Move the weights to a device."""
        if self._settled is not None:
            self._settled = _moved(self._settled, device)
        self._open = [_moved(segment, device) for segment in self._open]


class SWAD(pl.Callback):
    """Averages the weights of every step in a window that source validation chooses.

    The window begins where the validation loss has stopped falling and ends where it has risen,
    see `LossValley`; the weights of all optimiser steps in it are averaged. Validation and
    checkpoints use the weights themselves. When training ends, the model keeps the average, so
    tests and `SaveModel` use it. If the loss never stopped falling, the model keeps its last
    weights, with a warning.

    Validate often, some hundred times per training run: `val_check_interval` of the trainer. Memory
    and checkpoints hold `max(patience, tolerance) + 2` copies of what trains. Buffers, such
    as statistics of batch norms, are not averaged: freeze batch norms, as the paper does.
    Training resumes exactly from checkpoints that are written after a validation or between two. A
    checkpoint of a step at which a validation follows does not contain that validation, and it is
    not repeated: its steps then count for the next one.

    Args:
        patience: N_s, validations without improvement before the window begins.
        tolerance: N_e, validations above the threshold that end it.
        ratio: r, how far the loss may rise.
        monitor: The logged value to use.
        mode: `'min'` for a loss; `'max'` for a score s in [0, 1], whose loss is 1 − s.

    Raises:
        ConfigError: If a number is out of range. At the start of training, if `AverageWeights` is
            also active, weights are sharded, or the scored model does not train. After a
            validation, if it logged no such value.
        CheckpointError: If a checkpoint averages other weights.

    Source:
        Cha et al., SWAD: Domain Generalization by Seeking Flat Minima, NeurIPS 2021, arXiv
        2102.08604, §3 and algorithm 1; N_s = 3, N_e = 6, r = 1.3. There, the loss is cross
        entropy; by default, ours is 1 − `val/mIoU`, which every training run logs.
    """

    def __init__(
        self,
        *,
        patience: int = 3,
        tolerance: int = 6,
        ratio: float = 1.3,
        monitor: str = 'val/mIoU',
        mode: Literal['min', 'max'] = 'max',
    ) -> None:
        if mode not in ('min', 'max'):
            raise ConfigError(f"mode is {mode!r}: expected 'min' or 'max'")
        self.valley = LossValley(patience=patience, tolerance=tolerance, ratio=ratio)
        self.monitor = monitor
        self.mode = mode
        self._begin()

    def _begin(self) -> None:
        self._mean: dict[str, Tensor] = {}  # over the steps since the last validation
        self._steps = 0
        self._last_step = 0
        self._averaged = False

    def setup(
        self,
        trainer: pl.Trainer,  # noqa: ARG002  # lightning's signature
        pl_module: pl.LightningModule,  # noqa: ARG002
        stage: str,
    ) -> None:
        """Forget an earlier training run; a checkpoint is loaded after this."""
        if stage == 'fit':
            old = self.valley
            self.valley = LossValley(
                patience=old.patience, tolerance=old.tolerance, ratio=old.ratio
            )
            self._begin()

    def __repr__(self) -> str:
        valley = self.valley
        kept = arguments_of(
            self, patience=valley.patience, tolerance=valley.tolerance, ratio=valley.ratio
        )
        return f'{type(self).__name__}({kept})'

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raise if the weights cannot be averaged; then begin or continue."""
        if any(isinstance(other, AverageWeights) for other in trainer.callbacks):  # type: ignore[attr-defined]  # set by lightning
            raise ConfigError('SWAD and AverageWeights both average the weights: leave one out')
        weights = averaged_weights(pl_module, 'SWAD')
        shapes = {name: weight.shape for name, weight in weights.items()}
        kept = [self._mean, *(fields[0] for fields in self.valley.state_dict()['segments'])]
        for means in filter(None, kept):
            if {name: value.shape for name, value in means.items()} != shapes:
                raise CheckpointError(
                    'checkpoint averages other weights than this model trains: build the model of '
                    'that training run, or leave SWAD out'
                )
        self.valley.to(pl_module.device)
        self._mean = {name: value.to(pl_module.device) for name, value in self._mean.items()}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ARG002  # lightning's signature
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Add the weights to the mean, if the optimiser has made a step."""
        if trainer.global_step <= self._last_step or self.valley.ended:
            return
        self._last_step = trainer.global_step
        self._steps += 1
        with torch.no_grad():
            for name, weight in trainable(pl_module).items():
                value = weight.detach().float()
                if self._steps == 1:
                    self._mean[name] = value.clone()
                else:
                    # a running mean, because a sum over thousands of steps would lose digits
                    self._mean[name].lerp_(value, 1 / self._steps)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Close a segment with the loss of this validation.

        Raises:
            ConfigError: If there is none.
        """
        if trainer.sanity_checking or trainer.state.fn != 'fit' or not self._steps:
            return
        logged = trainer.callback_metrics.get(self.monitor)
        # only the first process logs scores, and all processes have to choose the same window
        value = trainer.strategy.broadcast(None if logged is None else float(logged))
        if value is None:
            raise ConfigError(
                f'SWAD needs {self.monitor!r}, but validation logged '
                f'{sorted(trainer.callback_metrics)}: give the data module val=, or choose monitor'
            )
        loss = value if self.mode == 'min' else 1 - value
        if math.isfinite(loss):  # otherwise there was nothing to score
            self.valley.add(Segment(self._mean, self._steps, self._last_step, loss))
            # A new dictionary, because the segment keeps the other one.
            self._mean, self._steps = {}, 0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Keep the average in the model."""
        if self._averaged:
            return
        self._averaged = True
        average = self.valley.average()
        if average is None:
            warnings.warn(
                f'SWAD found no window: {self.monitor} improved until the end, so the model '
                'keeps its last weights; train for longer, or validate more often',
                stacklevel=2,
            )
            return
        with torch.no_grad():
            for name, weight in trainable(pl_module).items():
                weight.copy_(average[name])

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do the same if a checkpoint of the last step left nothing to train."""
        self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The window so far, and the mean since the last validation."""
        return {
            'valley': self.valley.state_dict(),
            'mean': self._mean,
            'steps': self._steps,
            'last_step': self._last_step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from there."""
        self.valley.load_state_dict(state['valley'])
        self._mean, self._steps = dict(state['mean']), state['steps']
        self._last_step = state['last_step']


def _joined(before: Segment | None, after: Segment) -> Segment:
    """Join two neighbouring segments."""
    if before is None:
        return after
    steps = before.steps + after.steps
    weights = {
        name: torch.lerp(value, after.weights[name], after.steps / steps)
        for name, value in before.weights.items()
    }
    return Segment(weights, steps, after.last_step, after.loss)


def _moved(segment: Segment, device: torch.device) -> Segment:
    weights = {name: value.to(device) for name, value in segment.weights.items()}
    return Segment(weights, segment.steps, segment.last_step, segment.loss)
