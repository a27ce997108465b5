"""`crossearth weights convert` and `crossearth weights inspect`."""

import argparse
import sys
from pathlib import Path

from safetensors import safe_open

from crossearth.errors import CheckpointError
from crossearth.models.checkpoint import read_model_info
from crossearth.models.pretrained import read_weights
from crossearth.models.release_files import convert_release, read_pickle

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
    inspect = commands.add_parser('inspect', help='say what a weights file holds')
    inspect.add_argument('file', type=Path, help='.safetensors or .pth')


def run(arguments: argparse.Namespace) -> int:
    """Run one of the two commands.

    Args:
        arguments: Parsed by a parser that `add_arguments` filled.

    Returns:
        0; errors are raised.

    Raises:
        CheckpointError: If a file is damaged or does not fit.
    """
    if arguments.weights_command == 'inspect':
        _inspect(arguments.file)
        return 0
    output = arguments.output or arguments.file.with_suffix('.safetensors')
    conversion = convert_release(arguments.file, output, backbone=arguments.backbone)
    sys.stdout.write(f'{conversion.path}: {conversion.used} tensors\n')
    sys.stdout.write(f'{len(conversion.unused)} not used\n')
    for name, shape in sorted(conversion.unused.items()):
        sys.stdout.write(f'  {name}  {"no tensor" if shape is None else shape}\n')
    return 0


def _inspect(path: Path) -> None:
    if path.suffix == '.safetensors':
        tensors = read_weights(path)
        with safe_open(path, framework='pt') as file:
            ours = (file.metadata() or {}).get('format') is not None
        if ours:
            try:
                info = read_model_info(path)
            except CheckpointError as error:
                sys.stdout.write(f'{error}\n')
            else:
                arguments = ', '.join(f'{k}={v!r}' for k, v in info.recipe.arguments.items())
                sys.stdout.write(f'model    {info.recipe.builder}({arguments})\n')
                names = None if info.labels is None else ', '.join(info.labels.classes)
                sys.stdout.write(f'classes  {names or "not given"}\n')
                sys.stdout.write(f'bands    {", ".join(info.bands or ()) or "not given"}\n')
                sys.stdout.write(f'gsd      {info.gsd_m or "not given"}\n')
                whole = 'yes' if info.complete else 'no: frozen weights are not in it'
                sys.stdout.write(f'complete {whole}\n')
    else:
        tensors = read_pickle(path)
    total = sum(tensor.numel() for tensor in tensors.values())
    sys.stdout.write(f'{len(tensors)} tensors, {total} numbers\n')
    for name, tensor in tensors.items():
        sys.stdout.write(
            f'  {name}  {tuple(tensor.shape)}  {str(tensor.dtype).removeprefix("torch.")}\n'
        )
