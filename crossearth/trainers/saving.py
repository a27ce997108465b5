"""The trained model as a file that others can load."""

import os
import warnings
from pathlib import Path
from typing import ClassVar

import lightning.pytorch as pl
from torch import nn

from crossearth.datasets import ShiftDataModule
from crossearth.errors import ConfigError, CrossEarthError, WriteError
from crossearth.models import save_model
from crossearth.models.recording import blueprint_of
from crossearth.source_statistics import SourceStatistics
from crossearth.trainers.averaging import AverageWeights
from crossearth.trainers.engine import TrainingTask
from crossearth.trainers.source import measure_source
from crossearth.trainers.swad import SWAD

__all__ = ['SaveModel']


class SaveModel(pl.Callback):
    """Writes the model when training ends, for `load_model` and `predict`.

    With it go its label space, the bands of the training images, the pixel values that the data
    module took for 0 and 1, and the ground sampling distance that it was trained at. Where
    `AverageWeights` or `SWAD` is active, the file holds the average. After training with a
    `ShiftDataModule` it also holds how the source looks and, where there are validation scenes,
    how far the model's confidence can be believed; `crossearth adapt` and
    `predict --estimate-accuracy` need both.

    Args:
        path: The `.safetensors` file.
        source_windows: Windows of the training data, and of the validation data, that are measured
            for that when training ends; 0 for none.

    Raises:
        ConfigError: At the start of training, if no builder made the model, so that nobody
            could build it again from the file.
        WriteError: At the start of training, if the folder cannot be written to.
    """

    no_effect: ClassVar = 'all'  # it watches, and changes nothing

    def __init__(self, path: str | os.PathLike[str], *, source_windows: int = 64) -> None:
        if source_windows < 0:
            raise ConfigError(f'source_windows is {source_windows}: expected 0 or more')
        self.path = os.fspath(path)
        self.source_windows = source_windows

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Refuse models that cannot be saved before any step is made."""
        model = getattr(pl_module, 'model', None)
        if blueprint_of(model) is None:
            raise ConfigError(
                f'SaveModel cannot write {type(model).__name__}: expected a model made by a '
                'builder of crossearth.models or by your own function under @builder; use a '
                'checkpoint of lightning for others'
            )
        folder = Path(self.path).absolute().parent
        if not os.access(folder, os.W_OK):
            raise WriteError(f'{folder}: cannot be written to; choose another path for the model')

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, from one process, with the shares of all."""
        if isinstance(pl_module, TrainingTask):
            model = pl_module.model
            for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by lightning
                # whichever of the two is called first
                if isinstance(callback, AverageWeights | SWAD):
                    callback.on_fit_end(trainer, pl_module)
            data = getattr(trainer, 'datamodule', None)
            shift = data if isinstance(data, ShiftDataModule) else None
            save_model(
                model,
                self.path,
                labels=pl_module.labels,
                bands=None if shift is None else shift.bands,
                value_range=None if shift is None else shift.unit_range,
                gsd_m=None if shift is None else shift.gsd_m,
                gsd_range_m=None if shift is None else shift.gsd_range_m,
                source=None if shift is None else self._measure(model, shift),
                write=trainer.is_global_zero,
            )

    def _measure(self, model: nn.Module, data: ShiftDataModule) -> SourceStatistics | None:
        """What the file remembers of the source; nothing where it cannot be measured."""
        if not self.source_windows:
            return None
        try:
            return measure_source(
                model,
                data.train,
                data.val,
                size_px=data.size_px,
                value_range=data.value_range,
                max_windows=self.source_windows,
            )
        except CrossEarthError as error:  # a trained model is not to be lost for it
            warnings.warn(f'{self.path} remembers nothing of the source: {error}', stacklevel=2)
            return None
