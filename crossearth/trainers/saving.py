"""The trained model as a file that others can load."""

import os
from pathlib import Path

import lightning.pytorch as pl

from crossearth.errors import ConfigError, WriteError
from crossearth.models import Segmenter, save_model
from crossearth.trainers.domain_generalization import DomainGeneralizationTask

__all__ = ['SaveModel']


class SaveModel(pl.Callback):
    """Writes the model with its label space when training ends, for `load_model` and `predict`.

    Args:
        path: The `.safetensors` file.

    Raises:
        ConfigError: At the start of training, if the model was not made by a builder of this
            library, so that nobody could build it again from the file.
        WriteError: At the start of training, if the folder cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Refuse models that cannot be saved before any step is made."""
        model = getattr(pl_module, 'model', None)
        if not isinstance(model, Segmenter) or model.recipe is None:
            raise ConfigError(
                f'SaveModel cannot write {type(model).__name__}: expected a model made by a '
                'builder of crossearth.models; use a checkpoint of lightning for others'
            )
        folder = Path(self.path).absolute().parent
        if not os.access(folder, os.W_OK):
            raise WriteError(f'{folder}: cannot be written to; choose another path for the model')

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, from one process, with the shares of all."""
        if isinstance(pl_module, DomainGeneralizationTask):
            model = pl_module.model
            assert isinstance(model, Segmenter)
            save_model(model, self.path, labels=pl_module.labels, write=trainer.is_global_zero)
