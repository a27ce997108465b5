import argparse
from dataclasses import replace

import numpy as np
import pytest
import torch
from affine import Affine

from crossearth.commands import adapt, calibrate, predict
from crossearth.errors import ConfigError
from crossearth.labels import ISPRS, ROAD
from crossearth.models import fpn_timm, read_model_info, save_model


@pytest.fixture
def files(write_raster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = fpn_timm('resnet10t', num_classes=2, width=8)
    save_model(model, 'model.safetensors', labels=ROAD, gsd_m=1.0)
    rng = np.random.default_rng(0)
    write_raster('images/a.tif', rng.integers(1, 255, (3, 128, 128), np.uint8))
    write_raster('masks/a.tif', rng.integers(0, 2, (1, 128, 128), np.uint8) * 255)
    return tmp_path


def run(command, *words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


CALIBRATE = (
    'model.safetensors', 'images', 'masks', '-o', 'known.safetensors', '--threshold', 128,
    '--max-windows', 4,
)  # fmt: skip
PREDICT = 'images/a.tif', 'map.tif', '--quiet', '--estimate-accuracy', '--weights'


def test_a_calibrated_model_estimates_the_accuracy_of_its_maps(files):
    text = run(calibrate, *CALIBRATE, '--tile-px', 32)
    known = read_model_info('known.safetensors')
    assert f'temperature {known.source.calibration.temperature:.2f}' in text
    assert known.source.calibration.pixels == 4 * 32 * 32  # seen at 1 m: 64 px of 128 at .5 m
    assert (known.labels, known.gsd_m) == (ROAD, 1.0)
    text = run(predict, *PREDICT, 'known.safetensors')
    assert 'IoU road' in text
    assert 'WARNING: estimated from the confidence' in text
    assert 'before the model was adapted' not in text


def test_each_scene_is_seen_as_it_would_be_mapped(files, write_raster):
    """A model of 0.5 to 1 m sees one scene in its own pixels and the other at 1 m."""
    save_model(
        fpn_timm('resnet10t', num_classes=2, width=8),
        'across.safetensors',
        labels=ROAD,
        gsd_m=1.0,
        gsd_range_m=(0.5, 1.0),
    )
    fine = Affine(0.25, 0, 4e5, 0, -0.25, 5e6)
    pixels = np.random.default_rng(1).integers(1, 255, (3, 128, 128), np.uint8)
    write_raster('images/b.tif', pixels, transform=fine)
    write_raster('masks/b.tif', pixels[:1] // 128 * 255, transform=fine)
    run(calibrate, 'across.safetensors', *CALIBRATE[1:], '--tile-px', 16, '--max-windows', 500)
    known = read_model_info('known.safetensors').source
    assert known.calibration.pixels == 128**2 + 32**2  # 128 px of 0.25 m are 32 of 1 m


def test_scenes_of_unknown_size_are_refused_unless_it_is_stated(files, write_raster):
    pixels = np.random.default_rng(1).integers(1, 255, (3, 64, 64), np.uint8)
    write_raster('plain/a.png', pixels, crs=None, driver='PNG')
    write_raster('plain_masks/a.png', pixels[:1] // 128 * 255, crs=None, driver='PNG')
    words = ['model.safetensors', 'plain', 'plain_masks', *CALIBRATE[3:], '--tile-px', 16]
    with pytest.raises(ConfigError, match=r'a\.png: the model was trained at 1 m .*--gsd 0\.21'):
        run(calibrate, *words)
    text = run(calibrate, *words, '--gsd', 0.5)
    assert text.startswith('scenes are seen at 1 m (own pixels 0.5 m)')
    assert read_model_info('known.safetensors').source.calibration.pixels == 4 * 16**2


def test_calibrating_again_keeps_how_the_training_data_looked(files):
    run(calibrate, *CALIBRATE, '--tile-px', 32)
    again = ['known.safetensors', *CALIBRATE[1:3], '-o', 'again.safetensors', '--threshold', 0]
    run(calibrate, *again, '--tile-px', 16)
    first, second = (read_model_info(f'{name}.safetensors').source for name in ('known', 'again'))
    assert first.appearance == second.appearance
    assert first.calibration != second.calibration


def test_calibrating_an_adapted_model_measures_its_features_again(files):
    run(calibrate, *CALIBRATE, '--tile-px', 32)
    run(adapt, 'known.safetensors', 'images/a.tif', '-o', 'adapted.safetensors', '--tile-px', 32)
    again = ['adapted.safetensors', *CALIBRATE[1:3], '-o', 'again.safetensors', '--threshold', 128]
    run(calibrate, *again, '--tile-px', 32)
    names = 'known', 'adapted', 'again'
    known, adapted, again = (read_model_info(f'{name}.safetensors') for name in names)
    assert adapted.source.features == ()
    assert len(again.source.features) == 4
    assert again.source.features != known.source.features
    assert again.adaptation == replace(adapted.adaptation, calibrated=True)
    assert 'before the model was adapted' in run(predict, *PREDICT, 'adapted.safetensors')
    assert 'before the model was adapted' not in run(predict, *PREDICT, 'again.safetensors')


def test_a_scene_without_data_is_told_to_have_no_estimate(files, write_raster):
    run(calibrate, *CALIBRATE, '--tile-px', 32)
    empty = write_raster('empty.tif', np.zeros((3, 40, 40), np.uint8), nodata=0)
    text = run(predict, empty, *PREDICT[1:], 'known.safetensors')
    assert 'no accuracy was estimated, because no pixel of the scene has data' in text


def test_models_without_calibration_are_told_how_to_get_one(files):
    with pytest.raises(ConfigError, match=r'no calibration.*crossearth calibrate'):
        run(predict, *PREDICT, 'model.safetensors')
    run(calibrate, *CALIBRATE)
    with pytest.raises(ConfigError, match='leave out resume and shard'):
        run(predict, *PREDICT, 'known.safetensors', '--resume')
    with pytest.raises(ConfigError, match='one scene at a time'):
        run(predict, 'images', 'maps', *PREDICT[2:], 'known.safetensors')


def test_masks_of_0_and_255_need_a_threshold(files, write_raster):
    words = [word for word in CALIBRATE if word not in ('--threshold', 128)]
    with pytest.raises(ConfigError, match=r'masks: the masks hold 0 and 255.*--threshold 128'):
        run(calibrate, *words)
    ids = np.random.default_rng(2).choice([0, 1, 255], (1, 128, 128)).astype(np.uint8)
    write_raster('masks/a.tif', ids)
    run(calibrate, *words, '--tile-px', 32)
    assert read_model_info('known.safetensors').source.calibration.classes[1].iou is not None


def test_a_threshold_is_for_models_of_two_classes(files):
    model = fpn_timm('resnet10t', num_classes=6, width=8)
    save_model(model, 'model.safetensors', labels=ISPRS, gsd_m=1.0)
    with pytest.raises(ConfigError, match=r'--threshold is for two classes, but .* has 6'):
        run(calibrate, *CALIBRATE)


def test_models_without_classes_are_refused(files):
    save_model(fpn_timm('resnet10t', num_classes=2, width=8), 'model.safetensors')
    with pytest.raises(ConfigError, match='does not name its classes'):
        run(calibrate, *CALIBRATE)
