"""The trained model as a file that others can load."""

import os
from pathlib import Path
from typing import ClassVar

import lightning.pytorch as pl

from crossearth.datasets import ShiftDataModule
from crossearth.errors import ConfigError, WriteError
from crossearth.models import save_model
from crossearth.models.recording import blueprint_of
from crossearth.trainers.averaging import AverageWeights
from crossearth.trainers.engine import TrainingTask
from crossearth.trainers.swad import SWAD

__all__ = ['SaveModel']


class SaveModel(pl.Callback):
    """Writes the model when training ends, for `load_model` and `predict`.

    With it go its label space, the pixel values that the data module took for 0 and 1, and the
    ground sampling distance that it was trained at. Where
    `AverageWeights` or `SWAD` is at work, the file holds the average.

    Args:
        path: The `.safetensors` file.

    Raises:
        ConfigError: At the start of training, if no builder made the model, so that nobody
            could build it again from the file.
        WriteError: At the start of training, if the folder cannot be written to.
    """

    no_effect: ClassVar = 'all'  # it watches, and changes nothing

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

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
                if isinstance(
                    callback, AverageWeights | SWAD
                ):  # whichever of the two is called first
                    callback.on_fit_end(trainer, pl_module)
            data = getattr(trainer, 'datamodule', None)
            shift = data if isinstance(data, ShiftDataModule) else None
            save_model(
                model,
                self.path,
                labels=pl_module.labels,
                value_range=None if shift is None else shift.unit_range,
                gsd_m=None if shift is None else shift.gsd_m,
                gsd_range_m=None if shift is None else shift.gsd_range_m,
                write=trainer.is_global_zero,
            )
