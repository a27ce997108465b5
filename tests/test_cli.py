import subprocess
import sys

import numpy as np
import pytest
import rasterio

from crossearth.cli import main
from crossearth.datasets import ShiftDataModule
from crossearth.labels import LabelSpace
from crossearth.models import fpn_timm, save_model


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'model.safetensors'
    two = LabelSpace('two', ('dark', 'bright'), ((0, 0, 0), (255, 255, 255)))
    save_model(fpn_timm('mobilenetv3_small_050', num_classes=2, width=16), path, labels=two)
    return path


def test_predict_maps_a_scene_with_its_georeferencing(write_raster, weights, tmp_path, capsys):
    scene = write_raster('scene.tif', np.zeros((3, 70, 90), np.uint8))
    target = tmp_path / 'map.tif'
    words = ['predict', str(scene), str(target), '--weights', str(weights), '--tile-px', '64']
    assert main(words) == 0
    assert 'map.tif: 90 × 70 px' in capsys.readouterr().out
    with rasterio.open(scene) as source, rasterio.open(target) as made:
        assert made.crs == source.crs
        assert made.transform == source.transform
        assert made.shape == source.shape


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        ('missing', 'none.tif'),
        ('text', 'not a'),
        ('bands', 'four.tif: image has 4 bands, the model takes 3'),
        ('weights', 'weights.safetensors'),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    write_raster, weights, tmp_path, capsys, spoil, message
):
    scene = write_raster('scene.tif', np.zeros((3, 70, 90), np.uint8))
    if spoil == 'missing':
        scene = tmp_path / 'none.tif'
    elif spoil == 'text':
        scene.write_text('this is not a raster')
    elif spoil == 'bands':
        scene = write_raster('four.tif', np.zeros((4, 70, 90), np.uint8), photometric='MINISBLACK')
    else:
        weights = tmp_path / 'weights.safetensors'
        weights.write_bytes(b'not weights')
    target = tmp_path / 'map.tif'
    assert main(['predict', str(scene), str(target), '--weights', str(weights)]) == 2
    error = capsys.readouterr().err
    assert error.startswith('crossearth: ')
    assert error.count('\n') == 1
    assert message in error
    assert not list(tmp_path.glob('*map*'))


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit, match='0'):
        main(['--help'])
    text = capsys.readouterr().out
    for command in ('demo', 'fit', 'validate', 'test', 'predict', 'vectorize', 'style', 'weights'):
        assert f'\n    {command}' in text


def test_importing_the_command_line_loads_nothing_heavy():
    heavy = '{"torch", "rasterio", "numpy"}'
    code = f'import sys, crossearth.cli; print(sorted({heavy} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize('package', ['crossearth.models', 'crossearth.transforms'])
def test_models_and_transforms_need_neither_rasters_nor_lightning(package):
    heavy = '("rasterio", "fiona", "pyproj", "geopandas", "lightning", "torchgeo")'
    code = f'import sys, {package}; print([name for name in {heavy} if name in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == '[]'


RECIPE = """
model:
  class_path: crossearth.trainers.DomainGeneralizationTask
  init_args:
    model: {class_path: crossearth.models.fpn_timm, init_args: {name: resnet10t, num_classes: 1}}
    labels: &labels {name: one, classes: [a], palette: [[0, 0, 0]]}
data:
  class_path: crossearth.datasets.ShiftDataModule
  init_args:
    train:
      class_path: crossearth.datasets.FolderDataset
      init_args: {images: nowhere, labels: *labels}
"""


@pytest.mark.filterwarnings('ignore')  # lightning's notice that arguments are not the process's
def test_a_mistake_in_a_recipe_is_one_line(tmp_path, capsys):
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text(RECIPE)
    assert main(['fit', '--config', str(recipe)]) == 2
    assert 'crossearth: nowhere: no such folder; check the path\n' in capsys.readouterr().err
    recipe.write_text(RECIPE.replace('FolderDataset', 'NoDataset'))
    assert main(['fit', '--config', str(recipe)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('crossearth: ')
    assert 'NoDataset' in last
    recipe.write_text(RECIPE)
    assert main(['test', '--config', str(recipe), '--ckpt_path', str(recipe)]) == 2
    assert 'recipe.yaml: damaged or no checkpoint' in capsys.readouterr().err


TRAINING = """
seed_everything: 0
model:
  class_path: crossearth.trainers.DomainGeneralizationTask
  init_args:
    model:
      class_path: crossearth.models.fpn_timm
      init_args: {name: resnet10t, num_classes: 2, width: 8}
    labels: &labels {name: two, classes: [a, b], palette: [[0, 0, 0], [255, 0, 0]]}
data:
  class_path: crossearth.datasets.ShiftDataModule
  init_args:
    train:
      class_path: crossearth.datasets.FolderDataset
      init_args: {images: images, masks: masks, labels: *labels}
    size_px: 64
    windows_per_epoch: 4
    batch_size: 2
    augment:
    - {class_path: crossearth.transforms.RandomScaleCrop, init_args: {size_px: 32}}
    - {class_path: kornia.augmentation.RandomHorizontalFlip}
    - {class_path: crossearth.transforms.PhotometricDistortion}
trainer: {accelerator: cpu, max_steps: 1, logger: false, enable_progress_bar: false}
"""


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short trainings without loggers
def test_a_recipe_names_the_augmentations_of_the_paper(write_raster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    write_raster('images/a.tif', rng.integers(0, 255, (3, 80, 80), np.uint8))
    write_raster('masks/a.tif', rng.integers(0, 2, (1, 80, 80), np.uint8))
    (tmp_path / 'recipe.yaml').write_text(TRAINING)
    seen = []
    keep = ShiftDataModule.on_after_batch_transfer

    def look(self, batch, dataloader_idx):
        seen.append(([type(step).__name__ for step in self.augment], keep(self, batch, 0)))
        return seen[-1][1]

    monkeypatch.setattr(ShiftDataModule, 'on_after_batch_transfer', look)
    assert main(['fit', '--config', 'recipe.yaml']) == 0
    ((steps, batch),) = seen
    assert steps == ['RandomScaleCrop', 'AugmentationSequential']
    assert batch['image'].shape == (2, 3, 32, 32)
    assert batch['mask'].shape == (2, 32, 32)


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short trainings without loggers
def test_a_trainer_that_cannot_be_is_one_line(write_raster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_raster('images/a.tif', np.zeros((3, 80, 80), np.uint8))
    write_raster('masks/a.tif', np.zeros((1, 80, 80), np.uint8))
    (tmp_path / 'recipe.yaml').write_text(TRAINING)
    assert main(['fit', '--config', 'recipe.yaml', '--trainer.devices', '0']) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('crossearth: ')
    assert 'devices' in last
