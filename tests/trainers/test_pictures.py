# ruff: noqa: ARG002 -- lightning's signatures

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import ConfigError
from crossearth.labels import LabelSpace
from crossearth.trainers import LogPictures, SourceOnly, TrainingTask

TWO = LabelSpace('two', ('dark', 'bright'), ((0, 0, 200), (255, 255, 0)))


class Bright(nn.Module):
    """Bright where the first band is above one half; its parameter changes nothing."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, image):
        return torch.cat([0.5 - image[:, :1], image[:, :1] - 0.5], 1) * 99 + 0 * self.nothing


@pytest.fixture
def data(write_raster, tmp_path):
    pixels = np.zeros((2, 32, 32), np.uint8)
    pixels[0, :, 16:] = 255
    pixels[1, ::16, ::16] = 1  # neither the images nor
    mask = np.ones((1, 32, 32), np.uint8)
    mask[:, ::16, ::16] = 0  # the labels of a window are all of one kind
    write_raster('images/a.tif', pixels)
    write_raster('masks/a.tif', mask)
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=TWO)
    return ShiftDataModule(
        scenes, val=scenes, size_px=32, windows_per_epoch=2, batch_size=1, test_size_px=16
    )


def fit(data, tmp_path, *loggers, **options):
    task = TrainingTask(SourceOnly(Bright(), TWO))
    pl.Trainer(
        accelerator='cpu',
        max_epochs=2,
        logger=list(loggers),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[LogPictures(**options)],
        log_every_n_steps=1,
    ).fit(task, datamodule=data)


def colours(picture, panel):
    """Colours that fill more than a hundredth of a third of a picture."""
    width = picture.shape[1] // 3
    part = picture[:, panel * width : (panel + 1) * width].reshape(-1, 3)
    values, counts = np.unique(part, axis=0, return_counts=True)
    return {tuple(value.tolist()) for value in values[counts > len(part) / 20]}


def test_pictures_show_image_truth_and_prediction_in_the_colours_of_the_classes(data, tmp_path):
    fit(data, tmp_path, CSVLogger(tmp_path, name='logs'), samples=2)
    folder = tmp_path / 'logs' / 'version_0' / 'pictures'
    made = sorted(str(path.relative_to(folder)) for path in folder.rglob('*.png'))
    assert made == [f'window_{window}/step_{step:06}.png' for window in (0, 1) for step in (2, 4)]
    # windows 0 and 2 of four: the upper left one is dark, and so is the lower left one
    picture = (imread(folder / 'window_0' / 'step_000004.png')[..., :3] * 255).round()
    assert (0, 0, 0) in colours(picture, 0)
    assert (255, 255, 0) in colours(picture, 1)
    assert (0, 0, 200) in colours(picture, 2)


def test_tensorboard_has_the_pictures_and_the_losses(data, tmp_path):
    fit(data, tmp_path, TensorBoardLogger(tmp_path, name='board'), samples=9)
    events = EventAccumulator(str(tmp_path / 'board' / 'version_0'))
    events.Reload()
    assert events.Tags()['images'] == [f'window_{i}' for i in range(4)]
    assert [image.step for image in events.Images('window_0')] == [2, 4]
    assert {'train/loss', 'train/loss_ce', 'val/mIoU'} <= set(events.Tags()['scalars'])


@pytest.mark.parametrize(
    ('options', 'expected'), [({'samples': 0}, 0), ({'every_n_validations': 2}, 4)]
)
def test_pictures_can_be_fewer_or_none(data, tmp_path, options, expected):
    fit(data, tmp_path, CSVLogger(tmp_path, name='logs'), **options)
    assert len(list(tmp_path.rglob('*.png'))) == expected


def test_without_a_logger_nothing_is_drawn(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(data, tmp_path)
    assert not list(tmp_path.rglob('*.png'))


def test_tasks_without_predictions_and_wrong_numbers_are_refused(data, tmp_path):
    with pytest.raises(ConfigError, match='at least 0 and 1'):
        LogPictures(-1)

    class Silent(TrainingTask):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self._count(batch, 'val')

    trainer = pl.Trainer(
        accelerator='cpu',
        max_epochs=1,
        logger=[CSVLogger(tmp_path)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[LogPictures()],
    )
    with pytest.raises(ConfigError, match='got no predictions from Silent'):
        trainer.fit(Silent(SourceOnly(Bright(), TWO)), datamodule=data)
