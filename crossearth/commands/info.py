"""`crossearth info`: versions and devices, for bug reports."""

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
    """Declare no arguments; the command takes none."""
    parser.description = 'Print versions and devices. Paste them into bug reports.'


def run(arguments: argparse.Namespace) -> str:  # noqa: ARG001  # every command has this signature
    """Versions of this library and of its dependencies, and the devices."""
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
