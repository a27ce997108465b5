"""What training and validation really see: labels, images and target pixels, counted.

A model can be trained for days on masks that are ignored completely, on images without data, or
without ever seeing one of its classes, and score 1.000 on what is left. `CheckLabels` counts on the
device while the first batches are trained on, and looks at the counts only a few times.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import lightning.pytorch as pl
import torch
from jaxtyping import Int64
from torch import Tensor

from crossearth.describing import Described
from crossearth.errors import ConfigError, DataWarning, LabelError
from crossearth.labels import IGNORE_INDEX, LabelSpace

__all__ = ['CheckLabels', 'Seen', 'check_seen', 'count_seen']

_FIRST_LOOK = 100  # training batches
_LAST_LOOK = 500
_FEW = 20  # fewer batches may show only one class by chance, such as in a trial run


def count_seen(batch: Mapping[str, Tensor], num_classes: int) -> Int64[Tensor, ' n']:
    """What a batch shows, as counts that can be summed over batches and processes.

    The computation does not wait for the device.

    Args:
        batch: `image` (b,c,h,w), `mask` (b,h,w), and `target_valid` (t,h,w) if there is a target.
        num_classes: Number of classes k.

    Returns:
        Pixels of each class, ignored pixels, images that are not black, images that are not
        constant, and target pixels that hold data: k + 4 counts.
    """
    image, mask = batch['image'], batch['mask']
    ids = [*range(num_classes), IGNORE_INDEX]
    counts = [(mask == number).sum() for number in ids]
    # A lost pixel must not hide the others: the largest of values with NaN is NaN.
    pixels = image.flatten(2).nan_to_num()
    low, high = pixels.amin(2), pixels.amax(2)
    counts += [(high > 0).any(1).sum(), (low != high).any(1).sum()]
    valid = batch.get('target_valid')
    counts.append(torch.zeros_like(counts[0]) if valid is None else valid.sum())
    return torch.stack(counts)


@dataclass(frozen=True, slots=True)
class Seen:
    """Counts of `count_seen`, read from the device.

    Args:
        labels: The classes.
        of_class: Pixels of each class.
        ignored: Pixels of the ignored label.
        lit: Images that are not black.
        varied: Images that are not constant.
        target: Target pixels that hold data; None without a target.
    """

    labels: LabelSpace
    of_class: tuple[int, ...]
    ignored: int
    lit: int
    varied: int
    target: int | None = None

    @classmethod
    def of(cls, counts: Int64[Tensor, ' n'], labels: LabelSpace, *, target: bool) -> 'Seen':
        """From the sum of `count_seen`."""
        *classes, ignored, lit, varied, valid = counts.tolist()
        return cls(labels, tuple(classes), ignored, lit, varied, valid if target else None)

    @property
    def missing(self) -> tuple[str, ...]:
        """Classes without pixels."""
        named = zip(self.labels.classes, self.of_class, strict=True)
        return tuple(name for name, count in named if not count)

    def __str__(self) -> str:
        named = zip(self.labels.classes, self.of_class, strict=True)
        parts = [f'{name} {count}' for name, count in named]
        return f'pixels: {", ".join(parts)}, ignored {self.ignored}'


def check_seen(
    seen: Seen, where: str, *, enough: bool, refuse: bool = False, scored: str = ''
) -> None:
    """Raise if nothing can be learnt or scored, and warn about what is missing.

    Args:
        seen: The counts.
        where: What was counted, for messages.
        enough: Whether the data is enough to show which classes there are; if not, classes are
            not checked.
        refuse: Whether labels of only one class are an error instead of a warning.
        scored: What a score counts if classes are missing, for messages.

    Raises:
        ConfigError: If all images are black, or no target pixel holds data.
        LabelError: If all labels are ignored, or all others are of one class and that is refused.
    """
    if not seen.lit:
        raise ConfigError(
            f'{where}: every image is black, because its pixels are NaN or no-data, or value_range '
            'begins above their values: check the files and value_range'
        )
    if seen.target == 0:
        raise ConfigError(
            f'{where}: no pixel of the target holds data: check its files and their no-data '
            'values, or choose other scenes'
        )
    if not any(seen.of_class):
        raise LabelError(
            f'{where}: all {seen.ignored} labels are {IGNORE_INDEX}, which is ignored, so nothing '
            'can be learnt or scored: check that masks overlap their images and that codec states '
            'what their values mean, or crop the scenes to where labels are'
        )
    if not seen.varied:
        warnings.warn(
            f'{where}: every image has one colour throughout: check the files, and whether '
            'value_range turns all their values into one',
            DataWarning,
            stacklevel=2,
        )
    if not enough or not seen.missing:
        return
    names = ', '.join(repr(name) for name in seen.missing)
    message = f'{where}: no pixel of {names} ({seen})'
    hint = (
        f'; masks that draw a class as {IGNORE_INDEX} need a codec, such as IdCodec({{0: 0, '
        f'{IGNORE_INDEX}: 1}}), because {IGNORE_INDEX} means ignored'
        if seen.ignored
        else '; check masks and codec, or choose scenes and windows that contain it'
    )
    if refuse and len(seen.missing) == len(seen.of_class) - 1:
        raise LabelError(f'{message}: nothing can be learnt from a single class{hint}')
    warnings.warn(f'{message}{scored}{hint}', DataWarning, stacklevel=2)


class CheckLabels(Described, pl.Callback):
    """Stops a run that has nothing to learn from, and names classes that it never sees.

    It looks after 100 and 500 training batches or at the end of an epoch, whichever comes first,
    and after the first complete validation. Short epochs are added up until there were 20 batches,
    because with fewer a single class may be chance. `TrainingTask` adds it.

    Raises:
        ConfigError: If all images are black, or no target pixel holds data.
        LabelError: If all labels are ignored, or training saw only one class of several.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None
        self._batches = 0
        self._done = False
        self._val_counts: Tensor | None = None
        self._validated = False
        self._target = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Start counting."""
        self._counts, self._batches, self._done = None, 0, False
        self._validated = False

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,  # noqa: ARG002  # lightning's signature
        pl_module: pl.LightningModule,
        batch: Mapping[str, Tensor],
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Count a batch."""
        if self._done:
            return
        counts = count_seen(batch, _labels_of(pl_module).num_classes)
        self._counts = counts if self._counts is None else self._counts + counts
        self._batches += 1
        self._target = 'target_valid' in batch

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ARG002  # lightning's signature
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Check the counts, if it is time to."""
        if not self._done and self._batches in {_FIRST_LOOK, _LAST_LOOK}:
            last = self._batches == _LAST_LOOK
            self._look(trainer, pl_module, last=last, enough=last)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check what the epoch has shown."""
        if not self._done and self._batches:
            epoch = trainer.num_training_batches
            last = self._batches >= max(epoch, _FEW)  # short epochs add up
            self._look(trainer, pl_module, last=last, enough=last or self._batches == epoch)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting the first complete validation."""
        if not self._validated and not trainer.sanity_checking:
            num_classes = _labels_of(pl_module).num_classes
            self._val_counts = torch.zeros(
                num_classes + 4, dtype=torch.int64, device=pl_module.device
            )

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,  # noqa: ARG002  # lightning's signature
        pl_module: pl.LightningModule,
        batch: Mapping[str, Tensor],
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Count a batch."""
        if self._val_counts is not None:
            self._val_counts += count_seen(batch, _labels_of(pl_module).num_classes)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Name the classes that `val/mIoU` leaves out."""
        counts, self._val_counts = self._val_counts, None
        if counts is None:
            return
        self._validated = True
        labels = _labels_of(pl_module)
        seen = Seen.of(_summed(trainer, counts), labels, target=False)
        wanted = range(labels.num_classes) if labels.scored is None else labels.scored
        there = [labels.classes[i] for i in wanted if seen.of_class[i]]
        scored = f'; val/mIoU is not about it, only about {", ".join(there) or "nothing"}'
        check_seen(seen, 'validation', enough=True, scored=scored)

    def _look(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *, last: bool, enough: bool
    ) -> None:
        assert self._counts is not None  # a batch was counted
        self._done = last
        counts = _summed(trainer, self._counts)
        seen = Seen.of(counts, _labels_of(pl_module), target=self._target)
        where = f'the first {self._batches} training batches'
        check_seen(seen, where, enough=enough, refuse=self._batches >= _FEW)


def _labels_of(pl_module: pl.LightningModule) -> LabelSpace:
    labels = pl_module.labels
    assert isinstance(labels, LabelSpace)  # CheckLabels is added to a TrainingTask only
    return labels


def _summed(trainer: pl.Trainer, counts: Tensor) -> Tensor:
    """The counts of all processes."""
    # Cloned, because all_reduce writes into its argument, and counting continues.
    return cast(Tensor, trainer.strategy.reduce(counts.clone(), reduce_op='sum'))
