"""The engine: runs any training method, and scores the trained model on each domain."""

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float, Int64, UInt8
from lightning.pytorch import Callback
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torchgeo.tasks import BaseTask

from crossearth.datasets import ShiftDataModule
from crossearth.describing import arguments_of
from crossearth.errors import BandError, ConfigError
from crossearth.labels import LabelSpace
from crossearth.metrics import iou_per_class, mean_iou
from crossearth.models import Segmenter
from crossearth.models.freezing import rest_frozen
from crossearth.trainers.checkpoint import SealCheckpoints
from crossearth.trainers.label_counts import CheckLabels
from crossearth.trainers.methods.method import Method, Role, logits_of, roles
from crossearth.trainers.norms import CheckNorms
from crossearth.trainers.optimizer import check_schedule, parameter_groups, poly_factor
from crossearth.trainers.random_state import (
    generators_of,
    random_state,
    restore_random_state,
    spread_random_state,
)
from crossearth.trainers.scoring import DomainCounts
from crossearth.trainers.sharding import shard_frozen
from crossearth.trainers.trained_state import check_state, saved_state

__all__ = ['TrainingTask']

type Sample = dict[str, Tensor]


class TrainingTask(BaseTask):
    """Runs a training method on the source domain and scores each domain separately.

    The method computes the loss terms of a batch and holds the modules for them. The task does the
    rest: AdamW with warm-up and polynomial decay, precision and processes through lightning's
    trainer, logs, scores, and checkpoints from which training resumes exactly. Checkpoints hold
    what training changes; pretrained weights are checked against a mark when training resumes.

    Terms of the loss are logged as `train/<name>`, and their sum as `train/loss`. Validation logs
    `val/mIoU`. Testing counts one confusion matrix for each test loader, summed over all processes.
    They are in `confusion` afterwards, and logged as `test/<domain>/mIoU`,
    `test/<domain>/<class>` and `test/unseen/mIoU`, the mean over every domain but `'source'`.

    Args:
        method: What is trained, and with which loss terms.
        lr: Learning rate of AdamW, after the warm-up.
        weight_decay: Decay of matrices and kernels, see `parameter_groups`.
        decay_biases: Whether biases decay too, as in the released training run.
        layer_decay: Below 1, each layer of the backbone learns at this share of the next layer's
            rate, for full fine-tuning; see `parameter_groups`.
        decoder_lr_scale: The decoder, and all else outside the backbone, learns at this multiple
            of `lr`; 10 in DAFormer and HRDA.
        power: Exponent of the polynomial decay of the learning rate.
        warmup_steps: Optimiser steps of linear warm-up.
        decay_steps: Step at which the learning rate reaches 0, warm-up included; None for the end
            of the training run.
        shard_frozen: In distributed training (DDP), spread the frozen transformer of a `ReinViT`
            over the processes, see the function `shard_frozen`. Each holds its share and exchanges
            one block at a time, which needs less memory and more communication.

    Raises:
        ConfigError: If an argument is out of range.

    Source:
        Optimiser and schedule: paper §5.1.

    Example:
        >>> from crossearth.labels import ROAD
        >>> from crossearth.trainers import SourceOnly
        >>> task = TrainingTask(SourceOnly(nn.Conv2d(3, 2, 1), ROAD), lr=1e-3)
        >>> task(torch.rand(1, 3, 4, 4)).shape
        torch.Size([1, 2, 4, 4])
    """

    ignore = ('method',)  # hyperparameters are plain numbers, so that checkpoints load safely
    monitor = 'val/mIoU'
    mode = 'max'

    def __init__(
        self,
        method: Method,
        *,
        lr: float = 1e-4,
        weight_decay: float = 0.05,
        decay_biases: bool = False,
        layer_decay: float = 1.0,
        decoder_lr_scale: float = 1.0,
        power: float = 0.9,
        warmup_steps: int = 0,
        decay_steps: int | None = None,
        shard_frozen: bool = False,
    ) -> None:
        if lr <= 0 or weight_decay < 0:
            raise ConfigError(f'lr={lr}, weight_decay={weight_decay}: expected lr > 0, decay ≥ 0')
        # without decay_steps, only the trainer knows the end; configure_optimizers checks it then
        check_schedule(
            total_steps=warmup_steps + 1 if decay_steps is None else decay_steps,
            warmup_steps=warmup_steps,
            power=power,
        )
        super().__init__()
        # checkpoints lack pretrained weights, and on_load_checkpoint checks the others
        self.strict_loading = False
        self.method = method
        self.lr = lr
        self.weight_decay = weight_decay
        self.decay_biases = decay_biases
        self.layer_decay = layer_decay
        self.decoder_lr_scale = decoder_lr_scale
        self.power = power
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps
        self.shard_frozen = shard_frozen
        self._counts = DomainCounts(method.labels.num_classes)
        self._terms: tuple[str, ...] | None = None  # the names of the first step
        self._resumed: dict[str, Any] | None = None

    @property
    def model(self) -> nn.Module:
        """The method's model or its teacher, which is scored and saved."""
        return self.method.scored

    @property
    def labels(self) -> LabelSpace:
        """The classes."""
        return self.method.labels

    @property
    def confusion(self) -> dict[str, Int64[Tensor, 'k k']]:
        """Domain → counts (k,k) of the last validation or test; rows are true classes."""
        return self._counts.matrices

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self)

    def train(self, mode: bool = True) -> 'TrainingTask':
        """Training mode for what gradients train; everything else stays in eval mode."""
        super().train(mode)
        rest_frozen(self)
        for name in self.method.kept:
            self.method.get_submodule(name).eval()
        return self

    def configure_callbacks(self) -> list[Callback]:
        """The callbacks of every run: sealed checkpoints, and checks of labels and norms."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # set by lightning
        there = {type(callback) for callback in callbacks}  # from an earlier run
        kinds = (SealCheckpoints, CheckLabels, CheckNorms)
        return [kind() for kind in kinds if kind not in there]

    def on_fit_start(self) -> None:
        """Put modules that were built or loaded in eval mode into training mode, unless frozen.

        Raises:
            BandError: If the images have another number of bands than the model takes.
        """
        data = getattr(self.trainer, 'datamodule', None)
        if isinstance(data, ShiftDataModule) and isinstance(self.model, Segmenter):
            bands, taken = data.train.num_bands, self.model.in_channels
            if bands != taken:
                raise BandError(
                    f'images have {bands} bands ({data.train.scenes[0].image}), the model takes '
                    f'{taken}: choose bands=(...) of the dataset, or build the model with '
                    f'in_channels={bands}'
                )
        self._terms = None
        self.train()

    def on_train_start(self) -> None:
        """Restore the random generators of a checkpoint, or make each process draw differently."""
        generators = generators_of(self._drawing())
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        resumed, self._resumed = self._resumed, None
        if resumed is None or not restore_random_state(
            resumed, generators, self.device, rank=rank, world_size=world_size
        ):
            spread_random_state(generators, rank=rank)
        epochs = self.trainer.fit_loop
        if epochs.restarted_mid_epoch and epochs.epoch_loop.batch_progress.is_last_batch:
            # The checkpoint was written after the last batch of an epoch. Lightning closes that
            # epoch but does not open the next, so counts would be too low by one at its end.
            epochs.reset_restart_stage()

    def configure_model(self) -> None:
        """Shard the frozen backbone, if asked to and if there are several processes."""
        if self.shard_frozen and self.trainer.world_size > 1:
            # the attribute that DDP looks for on the module that it wraps
            self._ddp_params_and_buffers_to_ignore = shard_frozen(
                self, self.trainer.strategy.root_device
            )

    def configure_models(self) -> None:
        """Do nothing, because the method comes built."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with warm-up and polynomial decay, stepped with the optimiser."""
        steps = self.decay_steps or self.trainer.estimated_stepping_batches
        check_schedule(total_steps=steps, warmup_steps=self.warmup_steps, power=self.power)
        total = int(steps)
        groups = [
            {'lr': self.lr * group.get('lr_scale', 1.0), **group}
            for group in parameter_groups(
                self,
                weight_decay=self.weight_decay,
                decay_biases=self.decay_biases,
                layer_decay=self.layer_decay,
                decoder_lr_scale=self.decoder_lr_scale,
            )
        ]
        if not groups:
            raise ConfigError('every parameter of the model is frozen: there is nothing to train')
        # each group states its own decay
        optimizer = AdamW(groups, lr=self.lr, weight_decay=0.0)
        schedule = LambdaLR(
            optimizer,
            lambda step: poly_factor(
                step, total_steps=total, power=self.power, warmup_steps=self.warmup_steps
            ),
        )
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Any = None,
    ) -> None:
        """Make a step of the optimiser, then call the method's `after_step`."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.method.after_step()

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:  # noqa: ARG002  # lightning's signature
        """Loss of a batch; the sum and its terms are logged under `train/`.

        Raises:
            ConfigError: If it is not finite, unless the precision is fp16, whose scaler skips such
                steps. If the method returns no terms, or others than at the first step.
        """
        terms = self.method.losses(self._in_precision(batch))
        self._check_terms(terms)
        loss = torch.stack(list(terms.values())).sum()
        self._log_terms({'loss': loss, **terms})
        return loss

    def on_validation_epoch_start(self) -> None:
        """Clear the counts of the previous epoch."""
        self._counts.clear()

    def validation_step(
        self,
        batch: Sample,
        batch_idx: int,  # noqa: ARG002  # lightning's signature
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> dict[str, UInt8[Tensor, 'b h w']]:
        """Count a batch of the source domain, and return its class ids for callbacks."""
        return {'predicted': self._count(batch, 'val')}

    def on_validation_epoch_end(self) -> None:
        """Log `val/mIoU`."""
        self._counts.reduce(['val'], self.trainer.strategy, self.device)
        score = mean_iou(self.confusion['val'], scored=self.labels.scored)
        # The counts are sums over all processes already, so one process logs the score.
        self.log('val/mIoU', score, prog_bar=True, rank_zero_only=True)

    def on_test_epoch_start(self) -> None:
        """Clear earlier counts."""
        self._counts.clear()

    def test_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002  # lightning's signature
        """Count a batch of one domain."""
        self._count(batch, self._domain(dataloader_idx))

    def on_test_epoch_end(self) -> None:
        """Log the IoU of each domain and class, and the mean over unseen domains."""
        tested = [self._domain(i) for i in range(len(self.trainer.num_test_batches))]
        self._counts.reduce(tested, self.trainer.strategy, self.device)
        unseen = []
        for domain, matrix in self.confusion.items():
            score = mean_iou(matrix, scored=self.labels.scored)
            self.log(f'test/{domain}/mIoU', score, rank_zero_only=True)
            for name, iou in zip(self.labels.classes, iou_per_class(matrix).tolist(), strict=True):
                self.log(f'test/{domain}/{name}', iou, rank_zero_only=True)
            if domain != 'source':
                unseen.append(score)
        known = [score for score in unseen if not math.isnan(score)]
        if known:  # a domain without pixels of the scored classes has no score
            self.log('test/unseen/mIoU', sum(known) / len(known), rank_zero_only=True)

    def predict_step(self, batch: Sample, batch_idx: int) -> UInt8[Tensor, 'b h w']:  # noqa: ARG002  # lightning's signature
        """Class ids of a batch."""
        logits: Float[Tensor, 'b k h w'] = self(self._in_precision(batch)['image'])
        # torch.argmax over the classes takes several times as long on the CPU.
        return logits.max(dim=1).indices.to(torch.uint8)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out pretrained weights, and add the states of all random generators."""
        checkpoint['random_state'] = random_state(generators_of(self._drawing()), self.device)
        checkpoint['state_dict'], checkpoint['frozen_marks'] = saved_state(
            checkpoint['state_dict'], self._roles()
        )

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Check that a checkpoint holds exactly what training changes in this method.

        Raises:
            CheckpointError: If weights are missing, left over or have another shape.
        """
        check_state(checkpoint, self, self._roles())
        self._resumed = checkpoint.get('random_state')

    def _roles(self) -> dict[str, Role]:
        """The role of each tensor of the state."""
        return {f'method.{name}': role for name, role in roles(self.method).items()}

    def _drawing(self) -> list[nn.Module]:
        """Modules that may hold random generators."""
        data = getattr(self.trainer, 'datamodule', None)
        return [self, *data.augmentations] if isinstance(data, ShiftDataModule) else [self]

    def _in_precision(self, batch: Sample) -> Sample:
        """The batch with images in the type of the weights, which may be half precision."""
        return {
            name: value.to(self.dtype) if value.is_floating_point() and value.ndim == 4 else value
            for name, value in batch.items()
            if isinstance(value, Tensor)
        }

    def _check_terms(self, terms: Mapping[str, Tensor]) -> None:
        """Raise if the terms differ from those of the first step.

        Logs would mix them up, and processes would wait for terms that others do not have.
        """
        names = tuple(terms)
        self._terms = self._terms or names
        if not names or names != self._terms:
            raise ConfigError(
                f'{type(self.method).__name__}.losses returned the terms {list(names)}, expected '
                f'{list(self._terms) or "at least one"}: return the same terms at each step, in '
                'the same order, with 0 for a term that a batch does not have'
            )

    def _log_terms(self, shown: Mapping[str, Tensor]) -> None:
        """Log the sum and its terms, averaged over the processes in one message."""
        values = torch.stack([value.detach().float() for value in shown.values()])
        if self.trainer.world_size > 1:
            values = cast(Tensor, self.trainer.strategy.reduce(values, reduce_op='mean'))
        # fp16: the gradient scaler skips such steps and lowers its scale
        if not values[0].isfinite() and self.trainer.precision != '16-mixed':
            named = zip(shown, values.tolist(), strict=True)
            raise ConfigError(
                f'step {self.trainer.global_step}: '
                f'{", ".join(f"{name} is {value:g}" for name, value in named)}, expected finite '
                'numbers: lower lr, raise warmup_steps or clip gradients, or look for NaN in the '
                'images'
            )
        for name, value in zip(shown, values, strict=True):
            self.log(f'train/{name}', value, prog_bar=name == 'loss')

    def _count(self, batch: Sample, domain: str) -> UInt8[Tensor, 'b h w']:
        logits = logits_of(self.model, self._in_precision(batch)['image'], self.labels)
        ids = logits.max(dim=1).indices
        self._counts.add(domain, ids, batch['mask'])
        return ids.to(torch.uint8)

    def _domain(self, dataloader_idx: int) -> str:
        data = getattr(self.trainer, 'datamodule', None)
        names: tuple[str, ...] = getattr(data, 'domains', ())
        return names[dataloader_idx] if dataloader_idx < len(names) else f'domain_{dataloader_idx}'
