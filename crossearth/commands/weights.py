"""`crossearth weights convert | info`: convert released checkpoints, and show what files hold."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossearth.models import ModelInfo

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    convert = actions.add_parser(
        'convert',
        help='turn a released checkpoint into safetensors, without running its code',
        description='Turn a released checkpoint into safetensors, without running its code.',
    )
    convert.add_argument('file', type=Path, help='released checkpoint (.pth)')
    convert.add_argument(
        '--backbone', type=Path, help='backbone that belongs to it (dinov2_converted.pth)'
    )
    convert.add_argument(
        '--output', type=Path, help='file to write (default: FILE with the suffix .safetensors)'
    )
    info = actions.add_parser(
        'info',
        help='show what a weights file holds',
        description='Show the model, the classes and the tensors that a weights file holds.',
    )
    info.add_argument('file', type=Path, help='.safetensors or .pth')


def run(arguments: argparse.Namespace) -> str:
    """Convert a file, or list what it holds.

    Raises:
        CheckpointError: If a file is damaged, or the files do not belong together.
    """
    from crossearth.errors import printable

    lines = _describe(arguments.file) if arguments.action == 'info' else _convert(arguments)
    return '\n'.join(printable(line) for line in lines)  # names in a file may hold control codes


def _convert(arguments: argparse.Namespace) -> list[str]:
    from crossearth.models.weights.release_files import convert_release

    output = arguments.output or arguments.file.with_suffix('.safetensors')
    conversion = convert_release(arguments.file, output, backbone=arguments.backbone)
    return [
        f'{conversion.path}: {conversion.used} tensors',
        f'{len(conversion.unused)} not used',
        *(
            f'  {name}  {"not a tensor" if shape is None else shape}'
            for name, shape in sorted(conversion.unused.items())
        ),
    ]


def _describe(path: Path) -> list[str]:
    from safetensors import safe_open

    from crossearth.errors import CheckpointError
    from crossearth.models import read_model_info
    from crossearth.models.weights.reading import read_entries

    tensors = read_entries(path)[0]
    lines: list[str] = []
    if path.suffix == '.safetensors':
        with safe_open(path, framework='pt') as file:
            ours = (file.metadata() or {}).get('format') is not None
        if ours:
            try:
                lines += _describe_model(read_model_info(path))
            except CheckpointError as error:
                lines.append(str(error))
    total = sum(tensor.numel() for tensor in tensors.values())
    lines.append(f'{len(tensors)} tensors, {total} numbers')
    lines += [
        f'  {name}  {tuple(tensor.shape)}  {str(tensor.dtype).removeprefix("torch.")}'
        for name, tensor in tensors.items()
    ]
    return lines


def _describe_model(info: 'ModelInfo') -> list[str]:
    arguments = ', '.join(f'{k}={v!r}' for k, v in info.blueprint.arguments.items())
    gsd = '' if info.gsd_m is None else f'{info.gsd_m:g} m'
    if info.gsd_range_m is not None:
        low, high = info.gsd_range_m
        gsd = f'{gsd}, trained from {low:g} to {high:g} m'.removeprefix(', ')
    return [
        f'model    {info.blueprint.builder}({arguments})',
        f'classes  {", ".join(info.labels.classes) if info.labels else "unknown"}',
        f'bands    {", ".join(map(str, info.bands or ())) or "unknown"}',
        f'gsd      {gsd or "unknown"}',
        f'complete {"yes" if info.complete else "no: frozen weights are not included"}',
        f'source   {_describe_source(info)}',
        *_describe_adaptation(info),
    ]


def _describe_source(info: 'ModelInfo') -> str:
    if info.source is None:
        return 'not recorded'
    known = info.source.calibration
    looks = f'{info.source.appearance.windows} windows'
    return looks if known is None else f'{looks}, calibrated (temperature {known.temperature:.2f})'


def _describe_adaptation(info: 'ModelInfo') -> list[str]:
    record = info.adaptation
    if record is None:
        return []
    options = ', '.join(f'{name} {value:g}' for name, value in record.options.items())
    scenes = ', '.join(record.scenes[:3]) + (', …' if len(record.scenes) > 3 else '')
    return [
        f'adapted  by {record.method} ({options}) to {len(record.scenes)} scene(s): {scenes}',
        f'         from the model of sha256 {record.model_sha256}',
    ]
