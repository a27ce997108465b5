import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import ConfigError
from crossearth.labels import ISPRS
from crossearth.models import fpn_timm, load_model, read_model_info
from crossearth.trainers import AverageWeights, SaveModel, SourceOnly, TrainingTask


@pytest.fixture
def data(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    write_raster('images/a.tif', rng.integers(0, 255, (3, 64, 64), np.uint8))
    write_raster('masks/a.tif', rng.integers(0, 6, (1, 64, 64), np.uint8))
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)
    return ShiftDataModule(scenes, val=scenes, size_px=32, windows_per_epoch=4, batch_size=2)


def fit(model, data, path, *callbacks, checkpoint=None):
    task = TrainingTask(SourceOnly(model, ISPRS))
    trainer = pl.Trainer(
        accelerator='cpu',
        max_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[SaveModel(path), *callbacks],
    )
    trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return trainer


def test_the_trained_model_and_its_labels_come_back_from_the_file(data, tmp_path):
    model = fpn_timm('mobilenetv3_small_050', num_classes=6, width=16)
    fit(model, data, tmp_path / 'model.safetensors')
    again = load_model(tmp_path / 'model.safetensors')
    image = torch.rand(1, 3, 40, 40)
    assert torch.equal(again(image), model.eval()(image))
    assert read_model_info(tmp_path / 'model.safetensors').labels == ISPRS


def test_models_that_cannot_be_saved_are_refused_before_the_training(data, tmp_path):
    with pytest.raises(ConfigError, match='SaveModel cannot write Conv2d'):
        fit(nn.Conv2d(3, 6, 1), data, tmp_path / 'model.safetensors')


def test_the_file_of_a_complete_training_that_was_resumed_holds_the_average_too(data, tmp_path):
    paths = [tmp_path / name for name in ('whole.safetensors', 'again.safetensors')]
    checkpoint = None
    for path in paths:
        torch.manual_seed(0)
        model = fpn_timm('mobilenetv3_small_050', num_classes=6, width=16)
        trainer = fit(model, data, path, AverageWeights(0.5), checkpoint=checkpoint)
        checkpoint = tmp_path / 'end.ckpt'
        trainer.save_checkpoint(checkpoint)
    whole, again = map(load_file, paths)
    assert all(torch.equal(again[name], value) for name, value in whole.items())


def test_the_file_says_which_pixel_values_became_0_and_1(data, tmp_path):
    folders = tmp_path / 'images', tmp_path / 'masks'
    scaled = FolderDataset(*folders, labels=ISPRS, dtype='unit', value_range=(10.0, 200.0))
    sizes = {'size_px': 32, 'windows_per_epoch': 4, 'batch_size': 2}
    given = ShiftDataModule(data.train, val=data.train, value_range=(5.0, 100.0), **sizes)
    of_scenes = ShiftDataModule(scaled, val=scaled, **sizes)
    path = tmp_path / 'model.safetensors'
    for module, expected in ((data, None), (given, (5.0, 100.0)), (of_scenes, (10.0, 200.0))):
        fit(fpn_timm('mobilenetv3_small_050', num_classes=6, width=16), module, path)
        assert read_model_info(path).value_range == expected
