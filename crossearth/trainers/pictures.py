"""Pictures of what a model predicts during training."""

from pathlib import Path
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.labels import LabelSpace
from crossearth.panels import draw_panels, save_figure

__all__ = ['LogPictures']


class LogPictures(pl.Callback):
    """Image, ground truth and prediction of some validation windows in a row, at each validation.

    They are written as `pictures/window_<i>/step_<n>.png` into the folder of the first logger, and
    shown by TensorBoard if it is one of the loggers. The windows are always the same. They are
    spread evenly over the validation batches of the first process, one from each batch. Without a
    logger or validation windows nothing is drawn.

    Args:
        samples: Maximum number of windows per validation; 0 for none.
        every_n_validations: Every how many validations pictures are drawn.

    Raises:
        ConfigError: If a number is out of range, or, at the start of training, if the task is not a
            `TrainingTask`.
    """

    no_effect: ClassVar = 'all'  # it only watches

    def __init__(self, samples: int = 4, *, every_n_validations: int = 1) -> None:
        if samples < 0 or every_n_validations < 1:
            raise ConfigError(
                f'samples={samples}, every_n_validations={every_n_validations}: expected at least '
                '0 and 1'
            )
        self.samples = samples
        self.every_n_validations = every_n_validations
        self._validations = 0
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002  # lightning's signature
        """Clear the windows of the previous validation."""
        self._seen = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first window of some batches."""
        if dataloader_idx or not self._drawing(trainer):
            return
        if not isinstance(outputs, dict) or 'predicted' not in outputs:
            raise ConfigError(
                f'LogPictures got no predictions from {type(pl_module).__name__}: expected a '
                "TrainingTask, or a validation_step that returns {'predicted': ids}"
            )
        total = int(trainer.num_val_batches[0])
        shown = min(self.samples, total)
        if batch_idx in {i * total // shown for i in range(shown)}:
            window = (batch['image'][0], batch['mask'][0], outputs['predicted'][0])
            image, mask, ids = (part.detach().cpu() for part in window)
            self._seen.append((image, mask, ids))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the windows."""
        if not self._drawing(trainer):
            self._validations += not trainer.sanity_checking
            return
        self._validations += 1
        folder = trainer.log_dir  # in all processes, because they exchange it
        if not trainer.is_global_zero or folder is None:
            return
        labels: Any = getattr(pl_module, 'labels', None)
        for index, (image, mask, ids) in enumerate(self._seen):
            self._write(trainer, Path(folder), index, (image, mask, ids), labels)

    def _write(
        self,
        trainer: pl.Trainer,
        folder: Path,
        index: int,
        window: tuple[Float[Tensor, 'c h w'], Int64[Tensor, 'h w'], UInt8[Tensor, 'h w']],
        labels: LabelSpace,
    ) -> None:
        image, mask, ids = window
        maps = {'truth': mask.to(torch.uint8).numpy(), 'prediction': ids.numpy()}
        title = f'validation window {index} after {trainer.global_step} steps'
        figure = draw_panels(_displayed(image), maps, labels, title=title)
        path = folder / 'pictures' / f'window_{index}' / f'step_{trainer.global_step:06}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, path)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                figure.set_dpi(60)
                canvas: Any = figure.canvas  # an Agg canvas, which has pixels
                canvas.draw()
                pixels = np.asarray(canvas.buffer_rgba())[..., :3]
                logger.experiment.add_image(
                    f'window_{index}', pixels, trainer.global_step, dataformats='HWC'
                )

    def _drawing(self, trainer: pl.Trainer) -> bool:
        return bool(
            self.samples
            and trainer.loggers
            and not trainer.sanity_checking
            and self._validations % self.every_n_validations == 0
        )


def _displayed(image: Float[Tensor, 'c h w']) -> UInt8[np.ndarray, 'shown h w']:
    """An image in [0, 1] as bytes; an image of two bands shows the first in grey."""
    bands = image[:1] if len(image) == 2 else image[:3]
    shown: UInt8[np.ndarray, 'shown h w'] = (
        bands.float().clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    )
    return shown
