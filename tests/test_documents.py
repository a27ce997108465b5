"""What the documentation shows is what happens: its blocks run, in order, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from crossearth.cli import _COMMANDS
from crossearth.commands import training
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PAGES = ['README.md', *(f'docs/{path.name}' for path in sorted((ROOT / 'docs').glob('*.md')))]
INSTALLING = 'python3 -m venv .venv && .venv/bin/pip install '


def blocks(name: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / name).read_text())


def run(*words: str) -> None:
    """A command of the library as a user types it."""
    done = subprocess.run(
        [sys.executable, '-m', 'crossearth', *words],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def follow(name: str) -> None:
    """Run the blocks of a page; commands that install are checked elsewhere."""
    names: dict[str, object] = {}
    for language, text in blocks(name):
        if language == 'python':
            exec(compile(text, name, 'exec'), names)
        elif language == 'yaml':
            Path('recipe.yaml').write_text(text)
        elif language not in {'text', 'xml'}:  # what needs archives, hours or a network
            assert language == 'bash', f'{name}: a block of {language} is not run'
            for line in text.splitlines():
                if not line.startswith(INSTALLING):
                    command, *words = shlex.split(line)
                    assert command == 'crossearth'
                    run(*words)


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as for a script or a notebook in this folder
    monkeypatch.setenv('TQDM_DISABLE', '1')
    return tmp_path


def test_the_page_of_notebooks_runs_and_prints_what_it_shows(empty_folder, capsys):
    follow('docs/notebooks.md')
    (shown,) = [text for language, text in blocks('docs/notebooks.md') if language == 'text']
    assert capsys.readouterr().out == shown


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short trainings without loggers
@pytest.mark.slow
def test_the_page_of_the_first_map_runs(empty_folder):
    follow('docs/first_map.md')
    assert (empty_folder / 'map.tif').is_file()


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short trainings
@pytest.mark.slow
def test_the_page_of_your_own_images_runs(empty_folder):
    follow('docs/your_images.md')
    assert (empty_folder / 'map.tif').is_file()


@pytest.mark.slow
def test_the_page_of_the_benchmark_runs(empty_folder):
    follow('docs/benchmark.md')
    assert (empty_folder / 'crossearth.yaml').is_file()


@pytest.mark.slow
def test_the_page_of_experiments_runs(empty_folder):
    follow('docs/experiments.md')
    assert 'source only' in (empty_folder / 'report' / 'tables' / 'scores-last.csv').read_text()


@pytest.mark.slow
def test_the_page_of_own_archives_runs(empty_folder):
    follow('docs/own_archive.md')
    assert len(list((empty_folder / 'own').glob('results/F2F/*/seed0-last.json'))) == 1


@pytest.mark.slow
def test_the_page_of_adapters_runs(empty_folder):
    follow('docs/adapters.md')
    assert (empty_folder / 'merged.safetensors').is_file()
    assert (empty_folder / 'map.tif').is_file()


@pytest.mark.usefixtures('unchecked')  # the exporter cannot see through the checks of shapes
@pytest.mark.slow
def test_the_page_of_models_runs(empty_folder):
    follow('docs/models.md')
    assert (empty_folder / 'bottleneck.safetensors').is_file()


@pytest.mark.slow
def test_the_page_of_encoders_runs(empty_folder):
    follow('docs/encoders.md')
    assert (empty_folder / 'dofa.safetensors').is_file()


@pytest.mark.usefixtures('unchecked')  # the exporter cannot see through the checks of shapes
@pytest.mark.slow
def test_the_page_of_models_as_they_come_runs(empty_folder):
    follow('docs/your_model.md')
    assert (empty_folder / 'again.tif').is_file()
    assert not (empty_folder / 'dark.tif.parts').exists()


@pytest.mark.slow
def test_the_page_of_shapes_runs(empty_folder):
    pytest.importorskip('skimage', reason='scikit-image is not installed')
    follow('docs/shapes.md')
    assert {path.stem for path in empty_folder.glob('*.g*')} == {'polygons', 'buildings', 'lines'}


@pytest.mark.slow
def test_the_page_of_datasets_runs(empty_folder):
    follow('docs/datasets.md')
    assert (empty_folder / 'sample.png').is_file()


def test_the_page_of_the_synthetic_earth_runs(empty_folder):
    follow('docs/synthetic.md')
    assert len(list((empty_folder / 'earth' / 'region' / 'train' / 'masks').iterdir())) == 4


@pytest.mark.slow
def test_the_page_of_whole_scenes_runs(empty_folder):
    follow('docs/inference.md')
    assert len(list((empty_folder / 'maps').glob('*.tif'))) == 1
    assert (empty_folder / 'berlin_e.tif').is_file()


@pytest.mark.slow
def test_the_page_of_resolution_runs(empty_folder):
    follow('docs/resolution.md')
    assert len((empty_folder / 'gsd.csv').read_text().splitlines()) == 6


@pytest.mark.slow
def test_the_page_of_adaptation_runs(empty_folder):
    follow('docs/adaptation.md')
    assert (empty_folder / 'report.json').is_file()
    assert (empty_folder / 'map.tif').is_file()


@pytest.mark.usefixtures('unchecked')  # the exporter cannot see through the checks of shapes
@pytest.mark.slow
def test_the_page_of_looking_at_maps_runs(empty_folder):
    follow('docs/view.md')
    assert '<title>map.tif</title>' in (empty_folder / 'map.html').read_text()
    assert (empty_folder / 'model.onnx').is_file()


@pytest.mark.slow
def test_the_page_of_assessments_runs(empty_folder):
    follow('docs/assess.md')
    assert 'Accuracy of map.tif' in (empty_folder / 'report' / 'report.html').read_text()


@pytest.mark.slow
def test_the_page_of_many_maps_runs(empty_folder):
    follow('docs/many_maps.md')
    assert (empty_folder / 'all.vrt').is_file()
    assert (empty_folder / 'maps' / '0_80.tif.stac.json').is_file()


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short trainings without loggers
@pytest.mark.slow
@pytest.mark.slow
def test_the_page_of_training_runs(empty_folder):
    follow('docs/training.md')
    logs = empty_folder / 'logs'
    with (logs / 'version_0' / 'metrics.csv').open() as file:
        assert {'train/loss_mim', 'train/loss_delta', 'val/mIoU'} <= set(
            file.readline()[:-1].split(',')
        )
    assert len(list((logs / 'version_0' / 'pictures').rglob('*.png'))) == 2
    assert list((logs / 'tensorboard').rglob('events.*'))
    assert (empty_folder / 'model.safetensors').is_file()


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short trainings without loggers
@pytest.mark.slow
@pytest.mark.slow
def test_the_page_of_methods_runs(empty_folder):
    follow('docs/methods.md')
    assert (empty_folder / 'model.safetensors').is_file()


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short trainings without loggers
@pytest.mark.slow
@pytest.mark.slow
def test_the_page_of_ones_own_method_runs(empty_folder):
    follow('docs/your_method.md')
    assert (empty_folder / 'half.ckpt').is_file()


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short trainings without loggers
@pytest.mark.slow
def test_the_readme_runs(empty_folder):
    recipe = next(text for language, text in blocks('docs/first_map.md') if language == 'yaml')
    (empty_folder / 'recipe.yaml').write_text(recipe)
    earth = SyntheticEarth(seed=0)
    for name, place in (('source', 'scenes'), ('region', 'elsewhere')):
        ((image, mask),) = earth.write('scenes', EARTH_DOMAINS[name], scenes=1, size_px=512)
        for kind, path in (('images', image), ('masks', mask)):
            (empty_folder / place / kind).mkdir(parents=True)
            (empty_folder / place / kind / 'scene.tif').write_bytes(path.read_bytes())
    earth.write_style('style', images=4, size_px=64)
    (empty_folder / 'scene.tif').write_bytes(image.read_bytes())
    follow('README.md')
    assert (empty_folder / 'map.tif').is_file()


@pytest.mark.parametrize('page', PAGES)
def test_what_a_page_shows_can_be_typed(page):
    """The quick part of the tests above, which run it."""
    for language, text in blocks(page):
        if language == 'python':
            compile(text, page, 'exec')
        elif language == 'yaml':
            assert yaml.safe_load(text), f'{page}: an empty recipe'
        elif language == 'bash':
            for line in text.splitlines():
                words = [word for word in shlex.split(line) if '=' not in word or '-' in word]
                if line.startswith(INSTALLING) or not words:
                    continue
                if words[0] == 'python':  # a script of the repository
                    assert (ROOT / words[1]).is_file(), f'{page}: {line}'
                else:
                    assert words[0] == 'crossearth', f'{page}: {line}'
                    assert words[1] in {*_COMMANDS, *training.HELP}, f'{page}: {line}'


def test_installing_takes_one_line_everywhere_the_same():
    lines = [
        line
        for name in ('README.md', 'docs/install.md')
        for _, text in blocks(name)
        for line in text.splitlines()
        if line.startswith(INSTALLING)
    ]
    demo = f'{INSTALLING}. && .venv/bin/crossearth demo'
    tests = f"{INSTALLING}-e '.[dev]' && .venv/bin/pytest -n 2 --dist loadfile"
    assert lines == [demo, tests, demo, tests]
