"""`crossearth gsd`: estimates the ground sampling distance of scenes from their pixels."""

import argparse
import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.columns import align_columns
from crossearth.errors import ConfigError, CrossEarthError, WriteError

if TYPE_CHECKING:
    from crossearth.resolution import GsdEstimate, KnownScene

__all__ = ['add_arguments', 'run']

_ENCODER = 'tf_efficientnet_lite0'
_COLUMNS = ('scene', 'header_m', 'estimate_m', 'low_m', 'high_m', 'windows', 'note')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Estimate the ground sampling distance (metres per pixel) of scenes from their pixels, and '
        'compare it with their headers. With --fit, train such an estimator on images of known '
        'distance; no labels are needed.'
    )
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='SCENE',
        help='rasters, folders, .zip, lists or STAC items; with --fit, each one is a domain, and '
        'FOLDER=METRES sets the distance of images without a georeference',
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--estimator', metavar='FILE', help='estimator to use, written by --fit')
    what.add_argument(
        '--fit', metavar='FILE', help='train an estimator and write it (.safetensors)'
    )
    parser.add_argument(
        '--bands',
        type=int,
        nargs='+',
        help='bands whose mean is measured, counted from 1 (default: all but alpha)',
    )
    parser.add_argument(
        '--value-range',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='pixel values that become 0 and 1 (default: the range of the data type; with '
        '--estimator, as it was fitted)',
    )
    parser.add_argument(
        '--max-windows',
        type=int,
        help='blocks of 2048 px to read per scene (default: 16), or per domain with --fit '
        '(default: 64)',
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    parser.add_argument('--csv', metavar='FILE', help='also write the table to this file')
    fitting = parser.add_argument_group('with --fit')
    fitting.add_argument('--encoder', help=f'CNN from timm (default: {_ENCODER})')
    fitting.add_argument(
        '--pretrained',
        metavar='FILE',
        help=f"encoder weights (default: ImageNet's; those of {_ENCODER} are installed, others "
        'come from the Hugging Face hub)',
    )


def run(arguments: argparse.Namespace) -> str:
    """Estimate distances, or train an estimator.

    Raises:
        CrossEarthError: Printed by the command line as one line.
    """
    return _estimate(arguments) if arguments.fit is None else _fit(arguments)


def _estimate(arguments: argparse.Namespace) -> str:
    if arguments.encoder is not None or arguments.pretrained is not None:
        raise ConfigError(
            '--encoder and --pretrained are for --fit, since an estimator brings its own encoder: '
            'leave them out'
        )
    from crossearth.inference import find_scenes
    from crossearth.rasters import describe_raster
    from crossearth.resolution import estimate_gsd, load_gsd_estimator

    for source in arguments.sources:
        folder, equals, _ = source.rpartition('=')
        if equals and Path(folder).exists() and not Path(source).exists():
            raise ConfigError(f'{source}: =METRES is for --fit: pass {folder} alone')
    network = load_gsd_estimator(arguments.estimator)
    limits = None if arguments.value_range is None else tuple(arguments.value_range)
    rows: list[tuple[str, ...]] = [_COLUMNS]
    scenes = [found for source in arguments.sources for found in find_scenes(source)]
    refused = 0
    for scene in scenes:
        try:
            header_m = describe_raster(scene, bands=arguments.bands).mean_gsd_m()
            estimate = estimate_gsd(
                network,
                scene,
                bands=arguments.bands,
                value_range=limits,
                max_windows=16 if arguments.max_windows is None else arguments.max_windows,
                seed=arguments.seed,
            )
        except CrossEarthError as error:
            refused += 1
            if refused == len(scenes):
                raise
            rows.append((scene, '', '', '', '', '0', f'not estimated: {error}'))
        else:
            rows.append(_row(scene, header_m, estimate))
    if arguments.csv is not None:
        _write_csv(Path(arguments.csv), rows)
    return align_columns(rows, left=len(_COLUMNS))


def _row(scene: str, header_m: float | None, estimate: 'GsdEstimate') -> tuple[str, ...]:
    notes = [estimate.note] if estimate.note else []
    low_m = None if estimate.note else estimate.low_m  # a note says that the interval is too narrow
    if header_m is not None and low_m is not None and header_m < low_m:
        notes.append('shows less detail than its pixels could: enlarged, or blurred')
    metres = (header_m, estimate.gsd_m, estimate.low_m, estimate.high_m)
    cells = ['' if value is None else f'{value:.3g}' for value in metres]
    return (scene, *cells, str(estimate.windows), '; '.join(notes))


def _write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    from crossearth.inference.writer import whole_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as draft, draft.open('w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows(rows)
    except OSError as error:
        raise WriteError(
            f'--csv {path} cannot be written ({error.strerror}): choose another name'
        ) from error


def _fit(arguments: argparse.Namespace) -> str:
    if arguments.csv is not None:
        raise ConfigError('--csv is for estimates: leave it out with --fit')
    from crossearth.models.weights.installed import INSTALLED
    from crossearth.resolution import fit_gsd_estimator, gsd_network, save_gsd_estimator

    domains = dict(map(_domain, arguments.sources))
    if len(domains) < len(arguments.sources):
        raise ConfigError('a domain is named twice: name each folder only once')
    encoder = arguments.encoder or _ENCODER
    usual = INSTALLED if encoder == _ENCODER else True
    network = gsd_network(encoder, pretrained=arguments.pretrained or usual)
    report = fit_gsd_estimator(
        network,
        domains,
        bands=arguments.bands,
        value_range=None if arguments.value_range is None else tuple(arguments.value_range),
        max_blocks=64 if arguments.max_windows is None else arguments.max_windows,
        seed=arguments.seed,
    )
    save_gsd_estimator(network, arguments.fit)
    return f'{report}\n\n{arguments.fit}: fitted on {", ".join(domains)}'


def _domain(text: str) -> 'tuple[str, list[KnownScene]]':
    """Name and scenes of `FOLDER` or `FOLDER=METRES`."""
    from crossearth.inference import find_scenes
    from crossearth.resolution import KnownScene

    # at the last equals sign, because names of folders may hold one
    name, equals, metres = text.rpartition('=')
    if not equals:
        return text, [KnownScene(scene) for scene in find_scenes(text)]
    try:
        gsd_m = float(metres)
    except ValueError as error:
        raise ConfigError(f'{text}: expected FOLDER=METRES, such as images=0.3') from error
    if not (math.isfinite(gsd_m) and gsd_m > 0):
        raise ConfigError(f'{text}: expected metres above 0, such as images=0.3')
    return name, [KnownScene(scene, gsd_m) for scene in find_scenes(name)]
