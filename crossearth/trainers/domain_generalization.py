"""Training on one domain, testing on many."""

import math
from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int64, UInt8
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torchgeo.tasks import BaseTask

from crossearth.datasets import ShiftDataModule
from crossearth.errors import BandError, CheckpointError, ConfigError, LabelError, ShapeError
from crossearth.labels import LabelSpace
from crossearth.metrics import confusion_matrix, iou_per_class, mean_iou
from crossearth.models import CrossEarth, Segmenter
from crossearth.models.decoders import pixel_losses
from crossearth.models.freezing import frozen_marks, frozen_names, other_marks, rest_frozen
from crossearth.trainers.optimizer import check_schedule, parameter_groups, poly_factor
from crossearth.trainers.random_state import (
    generators_of,
    random_state,
    restore_random_state,
    spread_random_state,
)
from crossearth.trainers.restoration import Norm, restoration_losses
from crossearth.trainers.sharding import shard_frozen

__all__ = ['DomainGeneralizationTask']

type Sample = dict[str, Tensor]


class DomainGeneralizationTask(BaseTask):
    """Segmentation learnt on a source domain and scored on each domain by itself.

    Any module that turns images (b,c,h,w) in [0, 1] into logits (b,k,h,w) can be trained, with
    cross entropy + Dice; a `Segmenter` with the losses of its decoder. Frozen parameters are
    neither in the optimiser nor in checkpoints.

    With `style` and `mask` and a `CrossEarth` that restores, this is the paper's training:
    L_Seg + L_MIM + L_Δ. Segmentation learns from X, or from X_S where a sample drew a style;
    X_M is always restored, X_S where it was drawn. Each term can be switched off: no `mask`, or a
    weight of 0. X or X_S, X_M and X_S to restore go through the encoder in one batch.

    Testing keeps one confusion matrix a test loader, summed over all processes; they are in
    `confusion` afterwards, and logged as `test/<domain>/mIoU`, `test/<domain>/<class>` and
    `test/unseen/mIoU`, the mean over every domain but `'source'`.

    Args:
        model: Images → logits.
        labels: The classes; the model has one output for each.
        style: Augmentation of the training images in [0, 1] that injects the styles of other
            domains, such as `FourierStyle` or `EarthStyleInjection`; it draws for itself which
            samples it changes.
        mask: Augmentation that hides patches for masked image modelling, such as `PatchMask`;
            None for none.
        mim_norm: Distance of L_MIM, see `restoration_losses`.
        mim_target: What is to be restored, see `restoration_losses`.
        mim_weight: Weight of L_MIM.
        delta_weight: Weight of L_Δ.
        delta_norm: Distance of L_Δ, see `restoration_losses`.
        seg_weight: Weight of L_Seg.
        reuse_styled: Restore X_S from the features that segmentation has made of it, with the
            geospatial parts, as the released training run does: faster. The paper leaves these
            parts out of everything that is restored, which takes a pass of its own.
        lr: Learning rate of AdamW, after the warm-up.
        weight_decay: Decay of matrices and kernels, see `parameter_groups`.
        decay_biases: Whether biases decay too, as in the released training run.
        power: Exponent of the polynomial decay of the learning rate.
        warmup_steps: Optimiser steps of linear warm-up.
        decay_steps: Step at which the learning rate reaches 0, warm-up included; None for the end
            of the training.
        shard_frozen: Where training is distributed (DDP), spread the frozen transformer of a
            `ReinViT` over the processes, see the function of this name. Each holds its share and
            exchanges one block at a time: less memory for more messages.

    Raises:
        ConfigError: If an argument is out of range, or `mask` is given for a model that cannot
            restore.

    Source:
        Losses: paper §3.3, eq. 10; optimiser and schedule: §5.1.
    """

    ignore = (
        'model',
        'style',
        'mask',
        'labels',
    )  # plain numbers alone, so that checkpoints load safely
    monitor = 'val/mIoU'
    mode = 'max'

    # many arguments: each loss of eq. 10 can be switched, so that rows of tables are recipes
    def __init__(
        self,
        model: nn.Module,
        *,
        labels: LabelSpace,
        style: nn.Module | None = None,
        mask: nn.Module | None = None,
        mim_norm: Norm = 'mse',
        mim_target: Literal['clean', 'input'] = 'clean',
        mim_weight: float = 1.0,
        delta_weight: float = 1.0,
        delta_norm: Norm = 'l1',
        seg_weight: float = 1.0,
        reuse_styled: bool = False,
        lr: float = 1e-4,
        weight_decay: float = 0.05,
        decay_biases: bool = False,
        power: float = 0.9,
        warmup_steps: int = 0,
        decay_steps: int | None = None,
        shard_frozen: bool = False,
    ) -> None:
        if lr <= 0 or weight_decay < 0:
            raise ConfigError(f'lr={lr}, weight_decay={weight_decay}: expected lr > 0, decay ≥ 0')
        if min(mim_weight, delta_weight, seg_weight) < 0:
            raise ConfigError(
                f'seg_weight={seg_weight}, mim_weight={mim_weight}, delta_weight={delta_weight}: '
                'expected weights from 0 up'
            )
        check_schedule(
            total_steps=warmup_steps + 1 if decay_steps is None else decay_steps,
            warmup_steps=warmup_steps,
            power=power,
        )
        if mask is not None and (not isinstance(model, CrossEarth) or model.restorer is None):
            raise ConfigError(
                f'mask asks for masked image modelling, which {type(model).__name__} cannot do: '
                'expected a CrossEarth model with a restorer, or mask=None'
            )
        super().__init__()
        self.strict_loading = False  # frozen weights are not in the checkpoint; checked below
        self.model = model
        self.style = style
        self.mask = mask
        self.mim_norm: Norm = mim_norm
        self.mim_target: Literal['clean', 'input'] = mim_target
        self.mim_weight = mim_weight
        self.delta_weight = delta_weight
        self.delta_norm: Norm = delta_norm
        self.seg_weight = seg_weight
        self.reuse_styled = reuse_styled
        self.labels = labels
        self.lr = lr
        self.weight_decay = weight_decay
        self.decay_biases = decay_biases
        self.power = power
        self.warmup_steps = warmup_steps
        self.decay_steps = decay_steps
        self.shard_frozen = shard_frozen
        self.confusion: dict[str, Int64[Tensor, 'k k']] = {}
        self._resumed: dict[str, Any] | None = None

    def train(self, mode: bool = True) -> 'DomainGeneralizationTask':
        """Training mode for what trains; frozen modules stay in eval mode."""
        super().train(mode)
        rest_frozen(self)
        return self

    def on_fit_start(self) -> None:
        """Train what was built or loaded in eval mode, and nothing that is frozen.

        Raises:
            BandError: If the images have another number of bands than the model takes.
        """
        data = getattr(self.trainer, 'datamodule', None)
        if isinstance(data, ShiftDataModule) and isinstance(self.model, Segmenter):
            bands, taken = data.train.num_bands, self.model.in_channels
            if bands != taken:
                raise BandError(
                    f'{data.train.scenes[0].image}: {bands} bands are read, the model takes '
                    f'{taken}: choose bands=(...) of the dataset, or build the model with '
                    f'in_channels={bands}'
                )
        self.train()

    def on_train_start(self) -> None:
        """Draw on from where a checkpoint was written, or differently in each process."""
        generators = generators_of(self._drawing())
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        resumed, self._resumed = self._resumed, None
        if resumed is None or not restore_random_state(
            resumed, generators, self.device, rank=rank, world_size=world_size
        ):
            spread_random_state(generators, rank=rank)

    def configure_model(self) -> None:
        """Shard the frozen backbone, if asked to and there is somebody to share it with."""
        if self.shard_frozen and self.trainer.world_size > 1:
            # what DDP looks for on the module that it wraps
            self._ddp_params_and_buffers_to_ignore = shard_frozen(
                self, self.trainer.strategy.root_device
            )

    def configure_models(self) -> None:
        """Nothing to do: the model comes built."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with warm-up and polynomial decay, stepped with the optimiser."""
        steps = self.decay_steps or self.trainer.estimated_stepping_batches
        check_schedule(total_steps=steps, warmup_steps=self.warmup_steps, power=self.power)
        total = int(steps)
        groups = [
            dict(group)
            for group in parameter_groups(
                self, weight_decay=self.weight_decay, decay_biases=self.decay_biases
            )
        ]
        if not groups:
            raise ConfigError('every parameter of the model is frozen: there is nothing to train')
        optimizer = AdamW(groups, lr=self.lr, weight_decay=0.0)
        schedule = LambdaLR(
            optimizer,
            lambda step: poly_factor(
                step, total_steps=total, power=self.power, warmup_steps=self.warmup_steps
            ),
        )
        return {'optimizer': optimizer, 'lr_scheduler': {'scheduler': schedule, 'interval': 'step'}}

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:  # noqa: ARG002  # lightning's signature
        """Loss of a batch; the sum and its terms are logged below `train/`.

        Raises:
            ConfigError: If it is not finite, unless the precision is that of fp16, whose scaler
                leaves such steps out.
        """
        terms = self.losses(batch['image'], batch['mask'])
        loss = torch.stack(list(terms.values())).sum()
        self._log_terms(loss, terms)
        return loss

    def _log_terms(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Log the sum and its terms, averaged over the processes in one message."""
        shown = {'loss': loss, **terms}
        if self.mask is not None and self.style is not None:
            # not drawn is 0: lightning would repeat the last value that was
            shown.setdefault('loss_delta', torch.zeros_like(loss))
        values = torch.stack([value.detach().float() for value in shown.values()])
        if self.trainer.world_size > 1:
            values = cast(Tensor, self.trainer.strategy.reduce(values, reduce_op='mean'))
        if not values[0].isfinite() and self.trainer.precision != '16-mixed':
            named = zip(shown, values.tolist(), strict=True)
            raise ConfigError(
                f'step {self.trainer.global_step}: '
                f'{", ".join(f"{name} is {value:g}" for name, value in named)}; lower lr, raise '
                'warmup_steps or clip gradients, or look for NaN in the images'
            )
        for name, value in zip(shown, values, strict=True):
            self.log(f'train/{name}', value, prog_bar=name == 'loss')

    def losses(
        self, image: Float[Tensor, 'b c h w'], labels: Int64[Tensor, 'b h w']
    ) -> dict[str, Float[Tensor, '']]:
        """The weighted terms of eq. 10 for a batch, by name."""
        image = image.to(self.dtype)  # half precision, where the whole model has it
        styled: Float[Tensor, 'b c h w'] = image if self.style is None else self.style(image)
        if self.mask is None:
            terms = self._segment(styled, labels)
        else:
            terms = self._segment_and_restore(image, styled, self.mask(image), labels)
        weights = {'loss_mim': self.mim_weight, 'loss_delta': self.delta_weight}
        return {name: weights.get(name, self.seg_weight) * value for name, value in terms.items()}

    def _segment(
        self, image: Float[Tensor, 'b c h w'], labels: Int64[Tensor, 'b h w']
    ) -> dict[str, Tensor]:
        """Terms of L_Seg."""
        if not isinstance(self.model, Segmenter):
            return pixel_losses(self._logits(image, labels), labels)
        self._check_classes(self.model.num_classes)
        return self.model.losses(image, labels)

    def _segment_and_restore(
        self,
        image: Float[Tensor, 'b c h w'],
        styled: Float[Tensor, 'b c h w'],
        masked: Float[Tensor, 'b c h w'],
        labels: Int64[Tensor, 'b h w'],
    ) -> dict[str, Tensor]:
        """Terms of L_Seg, L_MIM and L_Δ, before they are weighted."""
        model = self.model
        assert isinstance(model, CrossEarth)  # as a mask is given
        self._check_classes(model.num_classes)
        changed = (styled != image).flatten(1).any(dim=1)
        drawn = bool(changed.any())
        again = drawn and not self.reuse_styled
        terms, restored = model.losses_and_restorations(
            styled,
            labels,
            [masked, styled[changed]] if again else [masked],
            reuse=changed if drawn and self.reuse_styled else None,
        )
        return terms | restoration_losses(
            restored[0],
            restored[1] if drawn else None,
            clean=model.normalize(image),
            masked=model.normalize(masked),
            styled=model.normalize(styled),
            changed=changed,
            norm=self.mim_norm,
            target=self.mim_target,
            delta_norm=self.delta_norm,
        )

    def on_validation_epoch_start(self) -> None:
        """Forget the counts of the epoch before."""
        self.confusion = {}

    def validation_step(
        self,
        batch: Sample,
        batch_idx: int,  # noqa: ARG002  # lightning's signature
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> dict[str, UInt8[Tensor, 'b h w']]:
        """Count a batch of the source domain; its class ids are handed to callbacks."""
        return {'predicted': self._count(batch, 'val')}

    def on_validation_epoch_end(self) -> None:
        """Log `val/mIoU`."""
        self._reduce()
        if 'val' in self.confusion:
            score = mean_iou(self.confusion['val'], scored=self.labels.scored)
            self.log('val/mIoU', score, prog_bar=True, rank_zero_only=True)

    def on_test_epoch_start(self) -> None:
        """Forget earlier counts."""
        self.confusion = {}

    def test_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> None:  # noqa: ARG002  # lightning's signature
        """Count a batch of one domain."""
        self._count(batch, self._domain(dataloader_idx))

    def on_test_epoch_end(self) -> None:
        """Log the IoU of each domain and class, and the mean over unseen domains."""
        self._reduce()
        unseen = []
        for domain, matrix in self.confusion.items():
            score = mean_iou(matrix, scored=self.labels.scored)
            self.log(f'test/{domain}/mIoU', score, rank_zero_only=True)
            for name, iou in zip(self.labels.classes, iou_per_class(matrix).tolist(), strict=True):
                self.log(f'test/{domain}/{name}', iou, rank_zero_only=True)
            if domain != 'source':
                unseen.append(score)
        known = [score for score in unseen if not math.isnan(score)]
        if known:  # a domain without a pixel of the scored classes has no score
            self.log('test/unseen/mIoU', sum(known) / len(known), rank_zero_only=True)

    def predict_step(self, batch: Sample, batch_idx: int) -> UInt8[Tensor, 'b h w']:  # noqa: ARG002  # lightning's signature
        """Class ids of a batch."""
        logits: Float[Tensor, 'b k h w'] = self(batch['image'])
        return logits.max(dim=1).indices.to(torch.uint8)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave frozen weights out, and add where all random generators stand."""
        checkpoint['random_state'] = random_state(generators_of(self._drawing()), self.device)
        frozen = frozen_names(self)
        state = checkpoint['state_dict']
        checkpoint['frozen_marks'] = frozen_marks(state, frozen & state.keys())
        checkpoint['state_dict'] = {key: state[key] for key in state if key not in frozen}

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Check that a checkpoint holds just the trainable part of this model.

        Raises:
            CheckpointError: If weights are missing, left over or of another shape.
        """
        own = {key: tuple(value.shape) for key, value in self.state_dict().items()}
        theirs = {key: tuple(value.shape) for key, value in checkpoint['state_dict'].items()}
        missing = sorted(own.keys() - theirs.keys() - frozen_names(self))
        surplus = sorted(theirs.keys() - own.keys())
        other = sorted(key for key in own.keys() & theirs.keys() if own[key] != theirs[key])
        if missing or surplus or other:
            first = (missing + surplus + other)[0]
            raise CheckpointError(
                f'checkpoint belongs to another model: {len(missing)} weights are missing, '
                f'{len(surplus)} are left over, {len(other)} have another shape; first {first}: '
                f'expected {own.get(first)}, got {theirs.get(first)}. Build the model that was '
                'trained'
            )
        others = other_marks(checkpoint.get('frozen_marks', {}), self.state_dict())
        if others:
            raise CheckpointError(
                'checkpoint was trained over other frozen weights than this model has, first '
                f'{others[0]}: build the model with the pretrained weights it was trained over'
            )
        self._resumed = checkpoint.get('random_state')

    def _drawing(self) -> list[nn.Module]:
        """Modules that may have generators of their own."""
        data = getattr(self.trainer, 'datamodule', None)
        return [self, data.augment] if isinstance(data, ShiftDataModule) else [self]

    def _count(self, batch: Sample, domain: str) -> UInt8[Tensor, 'b h w']:
        logits = self._logits(batch['image'], batch['mask'])
        ids = logits.max(dim=1).indices
        counts = confusion_matrix(ids, batch['mask'], num_classes=self.labels.num_classes)
        before = self.confusion.get(domain)
        self.confusion[domain] = counts if before is None else before + counts
        return ids.to(torch.uint8)

    def _reduce(self) -> None:
        """Sum the counts over the processes, in the same order in all of them."""
        for domain in self._expected_domains():
            zero = torch.zeros(
                (self.labels.num_classes,) * 2, dtype=torch.int64, device=self.device
            )
            matrix = self.confusion.get(domain, zero)
            self.confusion[domain] = cast(
                Tensor, self.trainer.strategy.reduce(matrix, reduce_op='sum')
            )

    def _expected_domains(self) -> list[str]:
        if self.trainer.testing:
            loaders = self.trainer.num_test_batches
            return [self._domain(i) for i in range(len(loaders))]
        return ['val']

    def _domain(self, dataloader_idx: int) -> str:
        data = getattr(self.trainer, 'datamodule', None)
        names: tuple[str, ...] = getattr(data, 'domains', ())
        return names[dataloader_idx] if dataloader_idx < len(names) else f'domain_{dataloader_idx}'

    def _logits(
        self, image: Float[Tensor, 'b c h w'], mask: Int64[Tensor, 'b h w']
    ) -> Float[Tensor, 'b k h w']:
        logits: Float[Tensor, 'b k h w'] = self(image.to(self.dtype))
        wanted = (image.shape[0], self.labels.num_classes, *mask.shape[-2:])
        if logits.shape != wanted:
            problem = (
                f'the model returned {tuple(logits.shape)}, expected {wanted} (batch, classes, '
                'rows, columns)'
            )
            if logits.ndim == 4:
                self._check_classes(logits.shape[1])
            raise ShapeError(f"{problem}: logits must have the input's height and width")
        return logits

    def _check_classes(self, num_classes: int) -> None:
        if num_classes != self.labels.num_classes:
            raise LabelError(
                f'the model has {num_classes} classes, {self.labels.name} has '
                f'{self.labels.num_classes}: build it with num_classes={self.labels.num_classes}'
            )
