"""`crossearth info`: versions and devices, for reports of errors."""

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

from crossearth import __version__

__all__ = ['add_arguments', 'run']

_PACKAGES = (
    'torch',
    'torchvision',
    'timm',
    'kornia',
    'lightning',
    'torchgeo',
    'rasterio',
    'xformers',
    'onnx',
    'onnxruntime',
    'ray',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes: nothing."""
    parser.description = 'Show versions and devices. Copy them into reports of errors.'


def run(arguments: argparse.Namespace) -> str:  # noqa: ARG001  # as of every command
    """Versions of this library and of those that it stands on, and the devices."""
    import rasterio
    import torch

    from crossearth.rasters import cache_folder

    devices = [
        f'cuda:{index} {torch.cuda.get_device_name(index)}'
        for index in range(torch.cuda.device_count())
    ]
    lines = {
        'crossearth': __version__,
        'python': platform.python_version(),
        'system': platform.platform(),
        **{name: _version(name) for name in _PACKAGES},
        'GDAL': rasterio.__gdal_version__,
        'devices': ', '.join(['cpu', *devices]),
        'cache': str(cache_folder()),
    }
    return '\n'.join(f'{name:<12} {text}' for name, text in lines.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return 'not installed'
