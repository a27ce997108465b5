"""Writes the trained model to a file that others can load."""

import os
import warnings
from pathlib import Path
from typing import ClassVar

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from crossearth.datasets import ShiftDataModule
from crossearth.describing import Described
from crossearth.errors import ConfigError, CrossEarthError, WriteError
from crossearth.imagery import Imagery
from crossearth.models import save_model
from crossearth.models.recording import blueprint_of
from crossearth.models.weights.checkpoint import require_model_name
from crossearth.source_statistics import SourceStatistics
from crossearth.trainers.averaging import AverageWeights
from crossearth.trainers.engine import TrainingTask
from crossearth.trainers.source import measure_source
from crossearth.trainers.swad import SWAD

__all__ = ['SaveModel', 'save_trained']


class SaveModel(Described, pl.Callback):
    """Writes the model when training ends, for `load_model` and `predict`.

    The file also holds the label space, the bands of the training images, the pixel values that the
    data module took for 0 and 1, and the ground sampling distance of training. If `AverageWeights`
    or `SWAD` is active, the file holds the average. After training with a `ShiftDataModule` it also
    holds statistics of the source and, if there are validation scenes, a calibration of the model's
    confidence. `crossearth adapt` and
    `predict --estimate-accuracy` need both.

    Args:
        path: The `.safetensors` file.
        source_windows: Number of windows of the training data, and of the validation data, on which
            these are measured when training ends; 0 for none.

    Raises:
        ConfigError: If the path does not end in `.safetensors`. At the start of training, if no
            builder made the model, because it could not be built again from the file.
        WriteError: At the start of training, if the folder cannot be written to.
    """

    no_effect: ClassVar = 'all'  # it only watches

    def __init__(self, path: str | os.PathLike[str], *, source_windows: int = 64) -> None:
        if source_windows < 0:
            raise ConfigError(f'source_windows is {source_windows}: expected 0 or more')
        self.path = os.fspath(require_model_name(os.fspath(path)))
        self.source_windows = source_windows

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Raise if the model cannot be saved, before any step is made."""
        model = getattr(pl_module, 'model', None)
        if blueprint_of(model) is None:
            raise ConfigError(
                f'SaveModel cannot write {type(model).__name__}: expected a model from a builder '
                'of crossearth.models or from your own function under @builder; use a lightning '
                'checkpoint for others'
            )
        if Path(self.path).exists():
            rank_zero_info(f'{self.path} exists and will be replaced when training ends')
        folder = Path(self.path).absolute().parent
        if not os.access(folder, os.W_OK):
            raise WriteError(f'{folder} cannot be written to: choose another path for the model')

    def on_exception(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002  # lightning's signature
        exception: BaseException,
    ) -> None:
        """Say what is left of a run that was stopped."""
        if not isinstance(exception, KeyboardInterrupt):
            return
        kept = getattr(trainer.checkpoint_callback, 'last_model_path', '')
        what = (
            f'resume with --ckpt_path {os.path.relpath(kept)}'
            if kept
            else 'no checkpoint had been written, so nothing is kept'
        )
        rank_zero_info(
            f'stopped after {trainer.global_step} steps, {self.path} is not written: {what}'
        )

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file from one process, with the shares of all."""
        if isinstance(pl_module, TrainingTask):
            for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by lightning
                # whichever of the two callbacks comes first
                if isinstance(callback, AverageWeights | SWAD):
                    callback.on_fit_end(trainer, pl_module)
            data = getattr(trainer, 'datamodule', None)
            save_trained(
                pl_module,
                data if isinstance(data, ShiftDataModule) else None,
                self.path,
                source_windows=self.source_windows,
                write=trainer.is_global_zero,
            )


def save_trained(
    task: TrainingTask,
    data: ShiftDataModule | None,
    path: str | Path,
    *,
    source_windows: int = 64,
    write: bool = True,
) -> None:
    """Write the model of a finished training run and what is known of its data, see `SaveModel`.

    Args:
        task: The task that trained the model.
        data: What it was trained on; None if that is not known.
        path: The `.safetensors` file.
        source_windows: Windows of the source that are measured; 0 for none.
        write: Whether this process writes; if weights are sharded, all processes have to call it.

    Raises:
        CrossEarthError: If the model cannot be written.
    """
    known = Imagery(labels=task.labels)
    if data is not None:
        known = Imagery(
            labels=task.labels,
            bands=data.bands,
            value_range=data.unit_range,
            gsd_m=data.gsd_m,
            gsd_range_m=data.gsd_range_m,
            source=_measure(task.model, data, path, source_windows),
        )
    # A model of load_model would otherwise still describe what it was trained on before.
    setattr(task.model, 'imagery', known)  # noqa: B010  # torch's types admit tensors and modules
    save_model(task.model, path, write=write)


def _measure(
    model: nn.Module, data: ShiftDataModule, path: str | Path, windows: int
) -> SourceStatistics | None:
    """Statistics of the source for the file, or None if they cannot be measured."""
    if not windows:
        return None
    try:
        return measure_source(
            model,
            data.train,
            data.seen_val,
            size_px=data.size_px,
            value_range=data.value_range,
            max_windows=windows,
            gsd_m=data.drawn.get('gsd_m'),
            scale=data.drawn.get('scale'),
        )
    except CrossEarthError as error:  # a trained model must not be lost because of it
        warnings.warn(f'{path} holds no statistics of the source: {error}', stacklevel=2)
        return None
