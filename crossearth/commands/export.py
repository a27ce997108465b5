"""The command line of `export_onnx`: `crossearth export`."""

import argparse
from pathlib import Path
from typing import Any

from crossearth.commands.loading import add_builders, load_trusted
from crossearth.commands.model_output import add_model_output
from crossearth.commands.seeing import add_normalisation, add_seen_at
from crossearth.errors import ConfigError
from crossearth.labels import LABEL_SPACES

__all__ = ['add_arguments', 'run']

_OF_BANDS = ('bands', 'value_range', 'mean', 'std')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Write a model as an ONNX file for the QGIS plugin Deepness. The file holds its classes, '
        'resolution, tile size and overlap.'
    )
    parser.add_argument('weights', help='model to export, a .safetensors file from save_model')
    parser.add_argument('onnx', help='file to write (.onnx)')
    add_builders(parser)
    parser.add_argument('--tile-px', type=int, help='side of a tile in pixels (default: 512)')
    parser.add_argument(
        '--overlap', type=float, help='share of a tile that the next one repeats (default: 1/3)'
    )
    parser.add_argument(
        '--labels',
        choices=sorted(LABEL_SPACES),
        help='class names (default: from the weights)',
    )
    group = parser.add_argument_group('what the model sees')
    group.add_argument(
        '--bands',
        type=int,
        nargs='+',
        help='band numbers from 1, in the order that the model takes (default: from the weights)',
    )
    group.add_argument(
        '--value-range',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='pixel values that become 0 and 1 (default: from the weights, or 0 and 255)',
    )
    add_seen_at(group)
    add_normalisation(group)
    add_model_output(parser.add_argument_group('what the model returns'))


def run(arguments: argparse.Namespace) -> str:
    """Export the model.

    Args:
        arguments: Parsed arguments.

    Returns:
        Text to print.

    Raises:
        CrossEarthError: Printed by the command line as one line.
    """
    if Path(arguments.weights).suffix != '.safetensors':
        raise ConfigError(
            f'{arguments.weights}: expected a .safetensors file from save_model. Programs such as '
            'TorchScript and ONNX need no export: map with them through crossearth predict'
        )
    from crossearth.inference import ModelOutput, View, Windows, export_onnx

    model = load_trusted(
        arguments.weights, 'cpu', arguments.builders, str(Path.cwd()), arguments.pretrained
    )
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
            f'onnxruntime reproduces the probabilities of the model to within '
            f'{made.difference:.0e}',
            f'bands, in the order of its inputs: {inputs}',
        )
    )
