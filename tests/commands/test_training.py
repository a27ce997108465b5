import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch.trainer.states import TrainerStatus

from crossearth.cli import main
from crossearth.datasets import ShiftDataModule
from crossearth.labels import ROAD
from crossearth.trainers import LogPictures

RECIPE = """
model:
  class_path: crossearth.trainers.TrainingTask
  init_args:
    method:
      class_path: crossearth.trainers.SourceOnly
      init_args:
        model:
          class_path: crossearth.models.fpn_timm
          init_args: {name: resnet10t, num_classes: 1}
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
    assert 'recipe.yaml is damaged or not a checkpoint' in capsys.readouterr().err


TRAINING = """
seed_everything: 0
model:
  class_path: crossearth.trainers.TrainingTask
  init_args:
    method:
      class_path: crossearth.trainers.SourceOnly
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


@pytest.mark.filterwarnings('ignore')  # lightning's notices on short training runs without loggers
def test_a_recipe_names_the_augmentations_of_the_paper(write_raster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    write_raster('images/a.tif', rng.integers(0, 255, (3, 80, 80), np.uint8))
    write_raster('masks/a.tif', rng.integers(0, 2, (1, 80, 80), np.uint8))
    (tmp_path / 'recipe.yaml').write_text(TRAINING)
    seen = []
    keep = ShiftDataModule.on_after_batch_transfer

    def look(self, batch, dataloader_idx):
        seen.append(([type(step.module).__name__ for step in self.augment], keep(self, batch, 0)))
        return seen[-1][1]

    monkeypatch.setattr(ShiftDataModule, 'on_after_batch_transfer', look)
    assert main(['fit', '--config', 'recipe.yaml']) == 0
    ((steps, batch),) = seen
    assert steps == ['RandomScaleCrop', 'AugmentationSequential', 'AugmentationSequential']
    assert batch['image'].shape == (2, 3, 32, 32)
    assert batch['mask'].shape == (2, 32, 32)


@pytest.mark.filterwarnings('ignore')  # lightning's notices on short training runs without loggers
def test_a_trainer_that_cannot_be_is_one_line(write_raster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_raster('images/a.tif', np.zeros((3, 80, 80), np.uint8))
    write_raster('masks/a.tif', np.zeros((1, 80, 80), np.uint8))
    (tmp_path / 'recipe.yaml').write_text(TRAINING)
    assert main(['fit', '--config', 'recipe.yaml', '--trainer.devices', '0']) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('crossearth: ')
    assert 'devices' in last


OWN = """
from torch import nn

from crossearth.models import fpn_timm


def build(num_classes: int) -> nn.Module:
    print('built here')
    return fpn_timm('resnet10t', num_classes=num_classes, width=8)


def bare(num_classes):
    return build(num_classes)
"""
HAZE = """
from crossearth.datasets import FolderDataset
from crossearth.labels import ROAD, LabelSpace


class Haze(nn.Module):
    def forward(self, batch):
        return batch | {'image': batch['image'] / 2 + 0.5}


def haze(batch):
    return batch


class Mine(FolderDataset):
    def __init__(self, root: str, *, labels: LabelSpace = ROAD) -> None:
        super().__init__(f'{root}/images', f'{root}/masks', labels=labels)
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(write_raster, tmp_path):
    """A folder with scenes, and one with a recipe that builds its model with `mine.build`."""
    rng = np.random.default_rng(0)
    write_raster('work/images/a.tif', rng.integers(0, 255, (3, 80, 80), np.uint8))
    write_raster('work/masks/a.tif', rng.integers(0, 2, (1, 80, 80), np.uint8))
    (tmp_path / 'recipes').mkdir()
    own = TRAINING.replace('crossearth.models.fpn_timm', 'mine.build')
    own = own.replace('{name: resnet10t, num_classes: 2, width: 8}', '{num_classes: 2}')
    assert own.count('mine.build') == 1
    (tmp_path / 'recipes' / 'recipe.yaml').write_text(own)
    return tmp_path


def fit(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`crossearth fit` as installed: the working folder is not where Python looks for modules."""
    code = 'import sys; sys.path.remove(""); from crossearth.cli import main; sys.exit(main())'
    return subprocess.run(
        [sys.executable, '-c', code, 'fit', *(words or ('--config', '../recipes/recipe.yaml'))],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        cwd=project / 'work',
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize('folder', ['recipes', 'work'])
def test_a_recipe_builds_its_model_with_a_module_that_lies_next_to_it(project, folder):
    (project / folder / 'mine.py').write_text(OWN)
    done = fit(project)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'built here' in done.stdout
    assert '`Trainer.fit` stopped: `max_steps=1` reached' in done.stdout + done.stderr


@pytest.mark.slow
def test_a_module_that_is_in_neither_folder_is_an_error_that_names_both(project):
    done = fit(project, '--config=../recipes/recipe.yaml')
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "crossearth: the recipe needs the module 'mine', which was found neither in "
    )
    assert f'{project / "recipes"} nor in {project / "work"} (' in last


@pytest.mark.filterwarnings('ignore')  # lightning's notice that arguments are not the process's
@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('biuld', "mine.py has no 'biuld': correct the class_path"),
        ('bare', 'mine.bare is not a subclass of Module, nor a function that promises one: '),
    ],
)
def test_a_builder_that_cannot_serve_is_one_line(project, monkeypatch, capsys, name, message):
    (project / 'recipes' / 'mine.py').write_text(OWN)
    recipe = project / 'recipes' / 'recipe.yaml'
    recipe.write_text(recipe.read_text().replace('mine.build', f'mine.{name}'))
    monkeypatch.chdir(project / 'work')
    monkeypatch.delitem(sys.modules, 'mine', raising=False)
    before = list(sys.path)
    assert main(['fit', '--config', str(recipe)]) == 2
    monkeypatch.delitem(sys.modules, 'mine', raising=False)
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert sys.path == before


@pytest.mark.filterwarnings('ignore')  # lightning's notice that arguments are not the process's
@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('mine.Hase', "mine.py has no 'Hase': correct the class_path in the recipe; did you mean "),
        ('mein.Haze', "the recipe needs the module 'mein', which was found neither in "),
        ('mine.haze', 'mine.haze is not a subclass of Module, nor a function that promises one: '),
    ],
)
def test_a_wrong_path_in_a_list_of_parts_is_one_line(project, monkeypatch, capsys, path, message):
    (project / 'recipes' / 'mine.py').write_text(OWN + HAZE)
    recipe = project / 'recipes' / 'recipe.yaml'
    recipe.write_text(recipe.read_text().replace('kornia.augmentation.RandomHorizontalFlip', path))
    monkeypatch.delitem(sys.modules, 'mine', raising=False)
    assert main(['fit', '--config', str(recipe)]) == 2
    monkeypatch.delitem(sys.modules, 'mine', raising=False)
    line = capsys.readouterr().err.splitlines()[-1]
    assert message in line
    assert '{' not in line


@pytest.mark.filterwarnings('ignore')  # lightning's notices on short training runs without loggers
def test_a_recipe_names_a_transform_and_a_dataset_of_yours(project, monkeypatch, capsys):
    (project / 'recipes' / 'mine.py').write_text(OWN + HAZE)
    recipe = project / 'recipes' / 'recipe.yaml'
    text = recipe.read_text()
    text = text.replace('crossearth.transforms.PhotometricDistortion', 'mine.Haze')
    text = text.replace('crossearth.datasets.FolderDataset', 'mine.Mine')
    recipe.write_text(text.replace('{images: images, masks: masks, labels: *labels}', '{root: .}'))
    monkeypatch.chdir(project / 'work')
    monkeypatch.delitem(sys.modules, 'mine', raising=False)
    seen = []
    keep = ShiftDataModule.on_after_batch_transfer

    def look(self, batch, dataloader_idx):
        seen.append((self.train, keep(self, batch, dataloader_idx)))
        return seen[-1][1]

    monkeypatch.setattr(ShiftDataModule, 'on_after_batch_transfer', look)
    assert main(['fit', '--config', str(recipe)]) == 0
    monkeypatch.delitem(sys.modules, 'mine', raising=False)
    ((dataset, batch),) = seen
    assert type(dataset).__name__ == 'Mine'
    assert dataset.labels == ROAD
    assert batch['image'].min() >= 0.5  # hazy
    assert 'Tip:' not in capsys.readouterr().err


@pytest.mark.filterwarnings('ignore')  # lightning's notice that arguments are not the process's
@pytest.mark.parametrize(
    ('right', 'wrong', 'near'),
    [
        ('max_steps', 'max_step', 'max_steps'),
        ('trainer:', 'trainor:', 'trainer'),
        ('size_px', 'size_pix', 'size_px'),
        ('num_classes', 'num_clases', 'num_classes'),
        ('lr:', 'lrr:', 'lr'),
        ('trainers.SourceOnly', 'trainers.SourceOny', 'SourceOnly'),
        ('crossearth.datasets.Shift', 'crosearth.datasets.Shift', 'crossearth'),
    ],
)
def test_a_misspelt_word_of_a_recipe_is_one_line_with_the_nearest(
    tmp_path, capsys, right, wrong, near
):
    page = (ROOT / 'docs' / 'first_map.md').read_text()
    recipe = page.partition('```yaml\n')[2].partition('```')[0]
    assert right in recipe
    (tmp_path / 'recipe.yaml').write_text(recipe.replace(right, wrong))
    assert main(['fit', '--config', str(tmp_path / 'recipe.yaml')]) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.endswith(f'; did you mean {near!r}?')
    assert len(line) < 1200
    assert '{' not in line


@pytest.mark.filterwarnings('ignore')  # lightning's notice that arguments are not the process's
@pytest.mark.parametrize('command', ['fit', 'validate', 'test'])
def test_defaults_of_the_command_line_override_nothing_that_a_recipe_says(
    write_raster, tmp_path, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    write_raster('images/a.tif', np.zeros((3, 80, 80), np.uint8))
    write_raster('masks/a.tif', np.zeros((1, 80, 80), np.uint8))
    said = TRAINING.replace('seed_everything: 0', 'seed_everything: 7\npictures: {samples: 3}')
    said = said.replace('logger: false', 'logger: false, use_distributed_sampler: true')
    (tmp_path / 'recipe.yaml').write_text(said)
    seen = []

    def run(self, *_, **__):
        seen.append(self)
        self.state.status = TrainerStatus.FINISHED

    monkeypatch.setattr('lightning.pytorch.Trainer._run', run)
    monkeypatch.setattr('crossearth.trainers.score_table', lambda *_: '')
    assert main([command, '--config', 'recipe.yaml']) == 0
    (trainer,) = seen
    assert trainer.loggers == []
    assert trainer._accelerator_connector.use_distributed_sampler
    assert trainer.max_steps == 1
    assert os.environ['PL_GLOBAL_SEED'] == '7'
    (pictures,) = (call for call in trainer.callbacks if isinstance(call, LogPictures))
    assert pictures.samples == 3


@pytest.mark.filterwarnings('ignore')  # lightning's notices on short training runs without loggers
@pytest.mark.parametrize('checkpoint', [(), ('--ckpt_path', 'last.ckpt')])
def test_scores_of_a_model_that_is_not_trained_say_so(project, monkeypatch, capsys, checkpoint):
    monkeypatch.chdir(project / 'work')
    tested = 'unseen: {here: {class_path: crossearth.datasets.FolderDataset, init_args: '
    tested += '{images: images, masks: masks, labels: *labels}}}'
    text = TRAINING.replace('    size_px: 64\n', f'    {tested}\n    size_px: 64\n')
    (project / 'work' / 'recipe.yaml').write_text(text)
    if checkpoint:
        main(['fit', '--config', 'recipe.yaml'])
        (found,) = Path().rglob('*.ckpt')
        checkpoint = ('--ckpt_path', str(found))
    capsys.readouterr()
    main(['test', '--config', 'recipe.yaml', *checkpoint])
    assert ('note: without --ckpt_path' in capsys.readouterr().out) == (not checkpoint)
