"""The command line of `adapt_file`: `crossearth adapt`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossearth.commands.loading import add_loading, trusted_builder
from crossearth.commands.seeing import add_gsd, add_seen_at
from crossearth.errors import ConfigError, WriteError

if TYPE_CHECKING:
    from crossearth.adaptation import AdaptationMethod

__all__ = ['add_arguments', 'run']

_OPTIONS = {
    'norms': {'alpha'},
    'tent': {'alpha', 'steps', 'lr'},
    'self-training': {'alpha', 'steps', 'lr', 'share', 'decay'},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Adapt a model to unlabelled scenes that it will map, and write the adapted model. Prints '
        'how far the scenes are from the training data, what changed, and whether we recommend '
        'using the result.'
    )
    parser.add_argument('weights', help='model to adapt, a .safetensors file')
    parser.add_argument('scenes', nargs='+', help='rasters, folders, .zip, lists or STAC items')
    parser.add_argument('-o', '--output', required=True, help='adapted model (.safetensors)')
    parser.add_argument(
        '--method',
        choices=sorted(_OPTIONS),
        default='norms',
        help='norms: new batch-norm statistics; tent: also train the norm weights to lower the '
        "entropy; self-training: also train on the model's own confident predictions "
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--alpha',
        type=float,
        help='weight of the scenes in the batch-norm statistics, 0 to 1 (default: 0.5)',
    )
    parser.add_argument(
        '--steps', type=int, help='training steps (default: tent 10, self-training 20)'
    )
    parser.add_argument(
        '--lr', type=float, help='learning rate of tent and self-training (default: 1e-4)'
    )
    parser.add_argument(
        '--share',
        type=float,
        help='share of the pixels of each class that become labels in self-training (default: 0.5)',
    )
    parser.add_argument(
        '--decay',
        type=float,
        help='decay of the moving average that is the teacher in self-training (default: 0.95)',
    )
    parser.add_argument(
        '--bands',
        type=_band,
        nargs='+',
        help='bands that the model takes, as numbers from 1 or names (default: from the weights)',
    )
    parser.add_argument(
        '--value-range',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='pixel values that become 0 and 1 (default: from the weights)',
    )
    parser.add_argument(
        '--alpha-band',
        choices=['auto', 'mask', 'image'],
        default='auto',
        help='treat a band marked as alpha as a mask or as image data (default: decide by its '
        'values)',
    )
    add_gsd(parser)
    add_seen_at(parser)
    parser.add_argument(
        '--tile-px', type=int, default=512, help='side of a window in pixels (default: %(default)s)'
    )
    parser.add_argument(
        '--max-windows',
        type=int,
        default=64,
        help='windows to read from all scenes together (default: %(default)s)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of all random choices (default: %(default)s)'
    )
    add_loading(parser)
    parser.add_argument('--json', metavar='FILE', help='also write the report to this file')


def run(arguments: argparse.Namespace) -> str:
    """Adapt the model, write it, and return the report.

    Raises:
        CrossEarthError: Printed by the command line as one line.
    """
    from crossearth.adaptation import adapt_file
    from crossearth.inference import View, find_scenes

    method = _method(arguments)
    view: dict[str, Any] = {
        'bands': arguments.bands,
        'gsd_m': arguments.gsd_m,
        'scene_gsd_m': arguments.scene_gsd_m,
    }
    if arguments.value_range is not None:
        view['value_range'] = tuple(arguments.value_range)
    report = adapt_file(
        arguments.weights,
        [scene for source in arguments.scenes for scene in find_scenes(source)],
        arguments.output,
        method,
        view=View(alpha=arguments.alpha_band, **view),
        tile_px=arguments.tile_px,
        max_windows=arguments.max_windows,
        seed=arguments.seed,
        device=arguments.device,
        pretrained=arguments.pretrained,
        builders=[trusted_builder(name, str(Path.cwd())) for name in arguments.builders],
    )
    if arguments.json is not None:
        _write_json(Path(arguments.json), report.to_json())
    return f'{report}\n\n{arguments.output}: adapted by {report.method}'


def _write_json(path: Path, report: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1), encoding='utf-8')
    except OSError as error:
        raise WriteError(
            f'--json {path} cannot be written ({error.strerror}), but the adapted model was: '
            'choose another name'
        ) from error


def _method(arguments: argparse.Namespace) -> 'AdaptationMethod':
    from crossearth.adaptation import Norms, PseudoLabels, Tent

    names = sorted(set().union(*_OPTIONS.values()))
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    unknown = sorted(set(given) - _OPTIONS[arguments.method])
    if unknown:
        raise ConfigError(
            f'--method {arguments.method} does not use --{", --".join(unknown)}: expected only '
            f'--{", --".join(sorted(_OPTIONS[arguments.method]))}'
        )
    kinds: dict[str, Any] = {'norms': Norms, 'tent': Tent, 'self-training': PseudoLabels}
    method: AdaptationMethod = kinds[arguments.method](**given)
    return method


def _band(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
