import re
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import rasterio

from crossearth.cli import main
from crossearth.labels import LabelSpace
from crossearth.models import fpn_timm, save_model

COMMANDS = (
    'demo', 'view', 'export', 'assess', 'style', 'data', 'models', 'weights', 'benchmark', 'info',
)  # fmt: skip


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
    lines = capsys.readouterr().out.splitlines()
    assert 'map.tif: 90 × 70 px' in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ['scene:', 'class', 'dark', 'bright', 'no']
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
    for command in (*COMMANDS, 'fit', 'validate', 'test', 'predict', 'vectorize'):
        assert re.search(rf'\n    {command}\s', text)


def loaded(code: str, heavy: set[str]) -> str:
    """Which modules a program of one line has loaded."""
    code = f'import sys; {code}; print(sorted({heavy} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def test_importing_the_command_line_loads_nothing_heavy():
    assert loaded('import crossearth.cli', {'torch', 'rasterio', 'numpy'}) == '[]'


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_declares_its_arguments_without_pytorch(command):
    module = import_module(f'crossearth.commands.{command}')
    assert module.__all__ == ['add_arguments', 'run']
    code = (
        f'import argparse, crossearth.commands.{command} as c; '
        'c.add_arguments(argparse.ArgumentParser())'
    )
    assert loaded(code, {'torch', 'rasterio', 'lightning'}) == '[]'


@pytest.mark.parametrize('words', [['data', 'info', 'Potsdam'], ['benchmark', 'list']])
def test_tables_of_values_are_printed_without_pytorch(words):
    code = f'from crossearth.cli import main; main({words})'
    assert loaded(code, {'torch', 'rasterio', 'lightning', 'pandas'}) == '[]'


@pytest.mark.parametrize('package', ['crossearth.models', 'crossearth.transforms'])
def test_models_and_transforms_need_neither_rasters_nor_lightning(package):
    heavy = '("rasterio", "fiona", "pyproj", "geopandas", "lightning", "torchgeo")'
    code = f'import sys, {package}; print([name for name in {heavy} if name in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == '[]'


def test_a_reader_that_has_read_enough_gets_no_complaint():
    command = f'set -o pipefail; {sys.executable} -m crossearth benchmark list | true'
    done = subprocess.run(['bash', '-c', command], capture_output=True, text=True, check=False)
    assert done.returncode == 141  # as of a program that the signal has ended
    assert done.stderr == ''
