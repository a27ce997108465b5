import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from affine import Affine
from safetensors.torch import load_file
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import ConfigError
from crossearth.inference import View, Windows, estimate_scene, predict_scene
from crossearth.labels import ISPRS
from crossearth.models import fpn_timm, load_model, read_model_info
from crossearth.trainers import (
    AverageWeights,
    SaveModel,
    SourceOnly,
    TrainingTask,
    save_trained,
)
from crossearth.trainers.source import measure_source


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
    with pytest.raises(ConfigError, match=r'model\.pth: expected a name that ends in'):
        SaveModel('model.pth')


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


def test_the_file_remembers_the_source_and_the_confidence_on_validation_scenes(data, tmp_path):
    path = tmp_path / 'model.safetensors'
    model = fpn_timm('mobilenetv3_small_050', num_classes=6, width=16)
    fit(model, data, path)
    source = read_model_info(path).source
    pixels = data.train[0]['image'].double() / 255
    assert source.appearance.mean == pytest.approx(pixels.mean((1, 2)).tolist(), abs=0.02)
    assert source.appearance.std == pytest.approx(pixels.std((1, 2)).tolist(), abs=0.02)
    assert source.appearance.windows == 16  # four times those that cover the scene
    assert source.calibration.pixels == 64 * 64
    assert len(source.features) == 4


@pytest.mark.filterwarnings('ignore:Total length of .list. across ranks')  # none to validate on
def test_without_validation_scenes_there_is_no_calibration_and_0_windows_are_nothing(
    data, tmp_path
):
    path = tmp_path / 'model.safetensors'
    alone = ShiftDataModule(data.train, size_px=32, windows_per_epoch=4, batch_size=2)
    for save, expected in ((SaveModel(path), True), (SaveModel(path, source_windows=0), False)):
        task = TrainingTask(
            SourceOnly(fpn_timm('mobilenetv3_small_050', num_classes=6, width=16), ISPRS)
        )
        pl.Trainer(
            accelerator='cpu', max_steps=1, logger=False, enable_checkpointing=False,
            enable_model_summary=False, enable_progress_bar=False, callbacks=[save],
        ).fit(task, datamodule=alone)  # fmt: skip
        source = read_model_info(path).source
        assert (source is not None) is expected
        assert source is None or source.calibration is None
    with pytest.raises(ConfigError, match='source_windows is -1'):
        SaveModel(path, source_windows=-1)


def test_measuring_the_source_draws_nothing_from_the_global_generator(data):
    model = fpn_timm('mobilenetv3_small_050', num_classes=6, width=16).train()
    state = torch.get_rng_state()
    first, again = (
        measure_source(model, data.train, data.val, size_px=32, max_windows=2) for _ in range(2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again
    assert model.training


def test_a_model_is_written_although_its_source_is_black(write_raster, tmp_path):
    write_raster('images/a.tif', np.zeros((3, 32, 32), np.uint8))
    write_raster('masks/a.tif', np.zeros((1, 32, 32), np.uint8))
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)
    black = ShiftDataModule(scenes, size_px=32, windows_per_epoch=2, batch_size=1)
    model = fpn_timm('mobilenetv3_small_050', num_classes=6, width=16)
    with pytest.warns(UserWarning, match='holds no statistics of the source: no pixel with data'):
        save_trained(TrainingTask(SourceOnly(model, ISPRS)), black, tmp_path / 'm.safetensors')
    assert read_model_info(tmp_path / 'm.safetensors').source is None


def test_bands_go_by_their_numbers_from_the_source_into_maps(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    five = write_raster('images/a.tif', rng.integers(0, 255, (5, 64, 64), np.uint8))
    write_raster('masks/a.tif', rng.integers(0, 6, (1, 64, 64), np.uint8))
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS, bands=(5, 2))
    data = ShiftDataModule(scenes, val=scenes, size_px=32, windows_per_epoch=4, batch_size=2)
    model = fpn_timm('mobilenetv3_small_050', num_classes=6, in_channels=2, width=16)
    fit(model, data, tmp_path / 'model.safetensors')
    assert read_model_info(tmp_path / 'model.safetensors').bands == (5, 2)
    again = load_model(tmp_path / 'model.safetensors')
    maps = [tmp_path / 'told.tif', tmp_path / 'not_told.tif']
    predict_scene(again, five, maps[0], view=View(bands=(5, 2)))
    predict_scene(again, five, maps[1])
    assert maps[0].read_bytes() == maps[1].read_bytes()


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short training runs
def test_a_drawn_size_goes_through_training_into_the_file_and_the_map(data, write_raster, tmp_path):
    across = ShiftDataModule(
        data.train, size_px=16, windows_per_epoch=4, batch_size=2, gsd_m=(0.4, 1.6)
    )
    path = tmp_path / 'model.safetensors'
    fit(fpn_timm('mobilenetv3_small_050', num_classes=6, width=16), across, path)
    info = read_model_info(path)
    assert (info.gsd_m, info.gsd_range_m) == (pytest.approx(0.8), (0.4, 1.6))
    pixels = np.random.default_rng(2).integers(0, 255, (3, 80, 80), np.uint8)
    fine = write_raster('fine.tif', pixels, transform=Affine(0.1, 0, 4e5, 0, -0.1, 5.8e6))
    model = load_model(path)
    assert estimate_scene(model, fine, windows=Windows(tile_px=32)).model_height == 10
    within = write_raster('within.tif', pixels)
    assert estimate_scene(model, within, windows=Windows(tile_px=32)).model_height == 80


class Stop(pl.Callback):
    def on_train_batch_end(self, *_):
        raise KeyboardInterrupt


def test_a_run_that_is_stopped_says_what_is_kept(data, tmp_path, capsys, caplog):
    model = fpn_timm('mobilenetv3_small_050', num_classes=6, width=16)
    with caplog.at_level('INFO'), pytest.raises(SystemExit):
        fit(model, data, tmp_path / 'model.safetensors', Stop())
    said = caplog.text + capsys.readouterr().err
    assert 'stopped after 1 steps' in said
    assert 'no checkpoint had been written, so nothing is kept' in said
    assert not (tmp_path / 'model.safetensors').exists()


def test_a_file_that_will_be_replaced_is_named_first(data, tmp_path, capsys, caplog):
    path = tmp_path / 'model.safetensors'
    model = fpn_timm('mobilenetv3_small_050', num_classes=6, width=16)
    fit(model, data, path)
    assert 'will be replaced' not in caplog.text
    with caplog.at_level('INFO'):
        fit(model, data, path)
    assert f'{path} exists and will be replaced when training ends' in (
        caplog.text + capsys.readouterr().err
    )
