"""The command line of `export_onnx`: `crossearth export`."""

import argparse
from pathlib import Path
from typing import Any

from crossearth.commands.loading import add_builders, load_trusted
from crossearth.commands.model_output import add_model_output
from crossearth.commands.seeing import add_seen_at
from crossearth.errors import ConfigError
from crossearth.labels import LABEL_SPACES

__all__ = ['add_arguments', 'run']

_OF_BANDS = ('bands', 'value_range', 'mean', 'std')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Write a model as an ONNX file that the QGIS plugin Deepness runs: classes, resolution, '
        'tile size and overlap are in it.'
    )
    parser.add_argument('weights', help='.safetensors of save_model')
    parser.add_argument('onnx', help='.onnx file to write')
    add_builders(parser)
    parser.add_argument('--tile-px', type=int, help='side of a tile (default: 512)')
    parser.add_argument('--overlap', type=float, help='part of a tile (default: 1/3)')
    parser.add_argument(
        '--labels',
        choices=sorted(LABEL_SPACES),
        help='names of classes (default: those of the weights)',
    )
    group = parser.add_argument_group('what the model sees')
    group.add_argument(
        '--bands',
        type=int,
        nargs='+',
        help='counted from 1, in the order in which the model takes them (default: those of the '
        'weights)',
    )
    group.add_argument(
        '--value-range',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='become 0 and 1 (default: those of the weights, or 0 and 255)',
    )
    add_seen_at(group)
    group.add_argument(
        '--mean', type=float, nargs='+', help='subtracted from each band, which lies in [0, 1]'
    )
    group.add_argument('--std', type=float, nargs='+', help='what each band is divided by then')
    add_model_output(parser.add_argument_group('what the model gives'))


def run(arguments: argparse.Namespace) -> str:
    """Do what the arguments ask for.

    Args:
        arguments: As parsed.

    Returns:
        What to print.

    Raises:
        CrossEarthError: To be printed as one line.
    """
    if Path(arguments.weights).suffix != '.safetensors':
        raise ConfigError(
            f'{arguments.weights}: expected a .safetensors file of save_model. Programs, such as '
            'TorchScript and ONNX, are mapped with as they are: crossearth predict'
        )
    from crossearth.inference import ModelOutput, View, Windows, export_onnx

    model = load_trusted(arguments.weights, 'cpu', tuple(arguments.builders), str(Path.cwd()))
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    seen: dict[str, Any] = {name: tuple(given[name]) for name in _OF_BANDS if name in given}
    windows = {name: given[name] for name in ('tile_px', 'overlap') if name in given}
    made = export_onnx(
        model,
        arguments.onnx,
        labels=None if arguments.labels is None else LABEL_SPACES[arguments.labels],
        windows=Windows(**windows),
        view=View(gsd_m=arguments.gsd_m, **seen),
        model_output=ModelOutput(
            kind=arguments.kind or 'auto',
            key=arguments.key,
            threshold=arguments.threshold,
            num_classes=arguments.num_classes,
        ),
    )
    inputs = ', '.join(f'{place} = {band}' for place, band in enumerate(made.bands))
    return '\n'.join(
        (
            f'{made.path}: {len(made.classes)} classes ({", ".join(made.classes)}), tiles of '
            f'{made.tile_px} px of {100 * made.gsd_m:g} cm, {made.overlap_percent} % overlap',
            f'onnxruntime gives the probabilities of the model, up to {made.difference:.0e}',
            f'bands, in the order of its inputs: {inputs}',
        )
    )
