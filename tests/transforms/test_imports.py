import subprocess
import sys

UNWANTED = ('rasterio', 'fiona', 'pyproj', 'geopandas', 'lightning', 'torchgeo', 'onnx')


def test_transforms_and_style_networks_can_be_dropped_into_any_program() -> None:
    program = (
        'import sys, crossearth.transforms, crossearth.models.style\n'
        f'print(*(set(sys.modules) & set({UNWANTED!r})))'
    )
    answer = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ''


def test_help_of_the_style_commands_does_not_load_torch() -> None:
    program = (
        'import argparse, sys\n'
        'from crossearth.commands import style as style_command\n'
        'style_command.add_arguments(argparse.ArgumentParser())\n'
        'print("torch" in sys.modules)'
    )
    answer = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == 'False'
