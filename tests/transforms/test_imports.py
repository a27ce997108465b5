import subprocess
import sys

import pytest

UNWANTED = ('rasterio', 'fiona', 'pyproj', 'geopandas', 'lightning', 'torchgeo', 'onnx')


@pytest.mark.parametrize('package', ['crossearth.transforms', 'crossearth.models.style'])
def test_the_package_can_be_dropped_into_any_program(package: str) -> None:
    program = f'import sys, {package}; print(*(set(sys.modules) & set({UNWANTED!r})))'
    answer = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ''


def test_help_of_the_style_commands_does_not_load_torch() -> None:
    program = (
        'import argparse, sys\n'
        'from crossearth import style_command\n'
        'style_command.add_arguments(argparse.ArgumentParser())\n'
        'print("torch" in sys.modules)'
    )
    answer = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == 'False'
