import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import crossearth
from crossearth.inference.predict import predict_scene

STARTERS = [
    'predict_scene',
    'predict_scenes',
    'vectorize',
    'load_model',
    'save_model',
    'FolderDataset',
    'ShiftDataModule',
    'CrossEarthTraining',
    'SourceOnly',
    'TrainingTask',
    'LabelSpace',
    '__version__',
]
LAZY = ['crossearth', 'crossearth.benchmark', 'crossearth.datasets', 'crossearth.models']


def seen_by_type_checkers(package: str) -> set[str]:
    """Names that the package imports under `TYPE_CHECKING`."""
    source = importlib.import_module(package).__file__
    tree = ast.parse(Path(source).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {alias.name for node in block.body for alias in node.names}


def test_the_front_door_offers_what_a_user_starts_with():
    assert set(STARTERS) <= set(crossearth.__all__)
    assert crossearth.predict_scene is predict_scene
    from crossearth import predict_scene as imported

    assert imported is predict_scene


@pytest.mark.parametrize('package', LAZY)
def test_every_lazy_name_resolves_and_is_listed(package):
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize('package', LAZY)
def test_type_checkers_see_the_names_that_python_sees(package):
    offered = set(importlib.import_module(package).__all__) - {'__version__'}
    assert seen_by_type_checkers(package) == offered


@pytest.mark.parametrize('package', LAZY)
def test_an_unknown_name_is_an_attribute_error(package):
    message = f"^module '{package}' has no attribute 'predict_sceen'$"
    with pytest.raises(AttributeError, match=message):
        _ = importlib.import_module(package).predict_sceen
    with pytest.raises(ImportError, match="cannot import name 'predict_sceen'"):
        exec(f'from {package} import predict_sceen')


def test_packages_come_when_they_are_used_and_nothing_heavy_before():
    code = """
import sys, crossearth
heavy = {'torch', 'rasterio', 'numpy', 'lightning', 'timm'}
print(sorted(heavy & set(sys.modules)), 'predict_scene' in dir(crossearth))
print(crossearth.labels.ISPRS.num_classes, sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ['[] True', "6 ['numpy']"]


@pytest.mark.slow
def test_timm_comes_with_its_models_and_not_with_mapping():
    code = """
import sys, crossearth.inference, crossearth.models
print(sorted({'timm', 'torchvision', 'torch._dynamo'} & set(sys.modules)))
from crossearth.models.recording import find_builder
print(find_builder('fpn_timm').__name__, crossearth.models.decoders.FPNDecoder.__name__)
"""
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ['[]', 'fpn_timm FPNDecoder']


def test_settings_of_the_benchmark_are_read_without_pytorch():
    code = """
import sys
from crossearth.benchmark import SETTINGS
print(len(SETTINGS), sorted({'torch', 'rasterio', 'lightning'} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == '29 []'
