"""`crossearth weights convert` and `crossearth weights info`."""

import argparse
import sys
from pathlib import Path

from safetensors import safe_open

from crossearth.errors import CheckpointError, printable
from crossearth.models.weights.checkpoint import ModelInfo, read_model_info
from crossearth.models.weights.reading import read_entries
from crossearth.models.weights.release_files import convert_release

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `crossearth weights`.

    Args:
        parser: Parser to add the two commands to.
    """
    commands = parser.add_subparsers(dest='weights_command', required=True)
    convert = commands.add_parser(
        'convert', help='turn a released checkpoint into safetensors, without running its code'
    )
    convert.add_argument('file', type=Path, help='released .pth')
    convert.add_argument(
        '--backbone', type=Path, help='the backbone that goes with it (dinov2_converted.pth)'
    )
    convert.add_argument(
        '--output', type=Path, help='file to write; by default FILE with .safetensors'
    )
    info = commands.add_parser('info', help='show what a weights file holds')
    info.add_argument('file', type=Path, help='.safetensors or .pth')


def run(arguments: argparse.Namespace) -> int:
    """Run one of the two commands.

    Args:
        arguments: Parsed by a parser that `add_arguments` filled.

    Returns:
        0; errors are raised.

    Raises:
        CheckpointError: If a file is damaged or does not fit.
    """
    if arguments.weights_command == 'info':
        _show(arguments.file)
        return 0
    output = arguments.output or arguments.file.with_suffix('.safetensors')
    conversion = convert_release(arguments.file, output, backbone=arguments.backbone)
    _say(f'{conversion.path}: {conversion.used} tensors')
    _say(f'{len(conversion.unused)} not used')
    for name, shape in sorted(conversion.unused.items()):
        _say(f'  {name}  {"not a tensor" if shape is None else shape}')
    return 0


def _show(path: Path) -> None:
    tensors = read_entries(path)[0]
    if path.suffix == '.safetensors':
        with safe_open(path, framework='pt') as file:
            ours = (file.metadata() or {}).get('format') is not None
        if ours:
            try:
                _show_model(read_model_info(path))
            except CheckpointError as error:
                _say(str(error))
    total = sum(tensor.numel() for tensor in tensors.values())
    _say(f'{len(tensors)} tensors, {total} numbers')
    for name, tensor in tensors.items():
        _say(f'  {name}  {tuple(tensor.shape)}  {str(tensor.dtype).removeprefix("torch.")}')


def _show_model(info: ModelInfo) -> None:
    arguments = ', '.join(f'{k}={v!r}' for k, v in info.blueprint.arguments.items())
    gsd = '' if info.gsd_m is None else f'{info.gsd_m:g} m'
    if info.gsd_range_m is not None:
        low, high = info.gsd_range_m
        gsd = f'{gsd}, trained from {low:g} to {high:g} m'.removeprefix(', ')
    _say(f'model    {info.blueprint.builder}({arguments})')
    _say(f'classes  {", ".join(info.labels.classes) if info.labels else "not given"}')
    _say(f'bands    {", ".join(info.bands or ()) or "not given"}')
    _say(f'gsd      {gsd or "not given"}')
    _say(f'complete {"yes" if info.complete else "no: frozen weights are not in it"}')


def _say(line: str) -> None:
    """Print a line of which parts come from a file."""
    sys.stdout.write(f'{printable(line)}\n')
