"""What `crossearth predict` and `crossearth vectorize` are made of.

The command line gives a parser and prints what `run_…` returns:

    add_predict_arguments(subparsers.add_parser('predict'))
    print(run_predict(arguments))
"""

import argparse
import functools
import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from crossearth.errors import ConfigError, SceneError
from crossearth.inference.estimate import SceneEstimate, estimate_scene
from crossearth.inference.many import Outcome, predict_scenes
from crossearth.inference.predict import predict_scene
from crossearth.inference.sources import find_scenes, tasks_of
from crossearth.inference.vectors import vectorize
from crossearth.labels import BUILDING, ISPRS, ROAD

__all__ = ['add_predict_arguments', 'add_vectorize_arguments', 'run_predict', 'run_vectorize']

_LABELS = {space.name: space for space in (ISPRS, ROAD, BUILDING)}
_AUTOCAST = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `crossearth predict`."""
    parser.description = 'Map scenes: GeoTIFFs of class ids on the grids of the scenes.'
    parser.add_argument(
        'scene', help='raster, folder, .zip, list (.txt, .csv) or STAC items (.json)'
    )
    parser.add_argument('map', help='GeoTIFF to write, or a folder for many scenes')
    parser.add_argument('--weights', required=True, help='model, a safetensors file')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1 (default: %(default)s)')
    parser.add_argument('--threads', type=int, help='of the CPU (default: all)')

    seeing = parser.add_argument_group('what the model sees')
    seeing.add_argument(
        '--bands', type=int, nargs='+', help='counted from 1 (default: those of the weights)'
    )
    seeing.add_argument(
        '--value-range',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='become 0 and 1 (default: those of the weights)',
    )
    seeing.add_argument(
        '--alpha',
        choices=['auto', 'mask', 'image'],
        default='auto',
        help='what a band that the file calls alpha is (default: by its values)',
    )
    seeing.add_argument(
        '--gsd-m',
        type=_gsd,
        help='ground sampling distance that the model sees, metres, or native for the own pixels '
        'of the scene (default: that of the weights)',
    )
    seeing.add_argument(
        '--return-by',
        choices=['nearest', 'bilinear'],
        default='nearest',
        help='how it comes back to the grid of the scene (default: %(default)s)',
    )
    seeing.add_argument('--tile-px', type=int, default=512, help='(default: %(default)s)')
    overlap = seeing.add_mutually_exclusive_group()
    overlap.add_argument('--overlap', type=float, default=1 / 3, help='part of a window')
    overlap.add_argument('--stride-px', type=int)
    seeing.add_argument('--blend', choices=['hann', 'gaussian', 'mean', 'crop'], default='hann')
    seeing.add_argument('--combine', choices=['softmax', 'logits'], default='softmax')
    seeing.add_argument('--augment', choices=['none', 'd4'], default='none')
    seeing.add_argument('--autocast', choices=sorted(_AUTOCAST))

    making = parser.add_argument_group('what is written')
    making.add_argument(
        '--labels',
        choices=sorted(_LABELS),
        help='names and colours of classes (default: those of the weights)',
    )
    making.add_argument('--nodata', type=int, default=255)
    making.add_argument('--probabilities', metavar='TIF', help='a band a class')
    making.add_argument('--confidence', metavar='TIF')
    making.add_argument('--entropy', metavar='TIF')
    making.add_argument('--cog', action='store_true', help='cloud-optimised, with overviews')
    making.add_argument('--qgis-style', action='store_true', help='a .qml beside the map')

    running = parser.add_argument_group('how it runs')
    running.add_argument('--batch-size', type=int)
    running.add_argument('--memory-mb', type=int, help='besides the model')
    running.add_argument('--on-read-error', choices=['raise', 'nodata'], default='raise')
    running.add_argument(
        '--resume', action='store_true', help='keep finished parts, and go on where they end'
    )
    running.add_argument(
        '--shard', type=_shard, metavar='I/N', help='the I-th of N shares: of the parts, or scenes'
    )
    running.add_argument('--shard-px', type=int, default=8192)
    running.add_argument('--dry-run', action='store_true', help='say what it would take, and stop')
    running.add_argument('--quiet', action='store_true', help='no progress')

    many = parser.add_argument_group('many scenes')
    many.add_argument('--workers', type=int, default=1)
    many.add_argument('--engine', choices=['processes', 'ray'], default='processes')
    many.add_argument('--address', help='of a Ray cluster')
    many.add_argument('--max-failures', type=int, default=2, help='then a scene is left alone')
    many.add_argument('--retry', action='store_true', help='scenes that were left alone too')


def run_predict(arguments: argparse.Namespace) -> str:
    """Do what `crossearth predict` was asked for; what to print.

    Raises:
        CrossEarthError: To be printed as one line.
    """
    if arguments.threads is not None:
        if arguments.threads < 1:
            raise ConfigError(f'--threads {arguments.threads}: expected at least 1')
        torch.set_num_threads(arguments.threads)
    load = functools.partial(_load, arguments.weights, arguments.device)
    scenes = find_scenes(arguments.scene)
    suffix = Path(arguments.map).suffix.lower()
    single = scenes == [arguments.scene] and suffix in {'.tif', '.tiff'}
    if suffix and not single and not Path(arguments.map).is_dir():
        raise ConfigError(
            f'{arguments.map}: expected a name that ends in .tif for one scene, or a folder for '
            f'{len(scenes)}'
        )
    if arguments.dry_run:
        return _estimate(load(), scenes, arguments)
    settings = _settings(arguments)
    if single:
        made = predict_scene(
            load(),
            arguments.scene,
            arguments.map,
            **settings,
            probabilities=arguments.probabilities,
            confidence=arguments.confidence,
            entropy=arguments.entropy,
            shard=arguments.shard,
            progress=not arguments.quiet,
        )
        lines = [
            f'{made.path if made.complete else "parts"}: {made.width} × {made.height} px, '
            f'{made.windows_run} windows in {made.seconds:.1f} s'
        ]
        lines += [
            f'could not be read, left without data: rows {window.row} to {window.stop[0] - 1}, '
            f'columns {window.col} to {window.stop[1] - 1}'
            for window in made.lost
        ]
        return '\n'.join(lines)
    if arguments.probabilities or arguments.confidence or arguments.entropy:
        raise ConfigError('further rasters are written for one scene at a time')
    tasks = tasks_of([arguments.scene], arguments.map)
    share = (
        len(tasks)
        if arguments.shard is None
        else len(tasks[arguments.shard[0] - 1 :: arguments.shard[1]])
    )
    with tqdm(total=share, unit='scene', disable=arguments.quiet) as bar:

        def tell(_outcome: Outcome) -> None:
            bar.update()

        summary = predict_scenes(
            load,
            tasks,
            settings=settings,
            model_id=_checksum(arguments.weights),
            workers=arguments.workers,
            engine=arguments.engine,
            address=arguments.address,
            shard=arguments.shard,
            max_failures=arguments.max_failures,
            retry=arguments.retry,
            progress=tell,
        )
    missing = summary.count('failed') + summary.count('quarantined')
    if missing:
        raise SceneError(f'{missing} of {share} scenes have no map\n{summary}')
    return str(summary)


def add_vectorize_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `crossearth vectorize`."""
    parser.description = 'Write the regions of a map as polygons with class names and areas.'
    parser.add_argument('map', help='GeoTIFF of class ids')
    parser.add_argument('polygons', help='.gpkg, .geojson (EPSG:4326) or .fgb')
    parser.add_argument('--labels', choices=sorted(_LABELS), help='names, if the map has none')
    parser.add_argument('--min-area-m2', type=float, default=0.0)
    parser.add_argument('--simplify-px', type=float, default=0.0)
    parser.add_argument('--classes', type=int, nargs='+', help='ids to write (default: all)')


def run_vectorize(arguments: argparse.Namespace) -> str:
    """Do what `crossearth vectorize` was asked for; what to print.

    Raises:
        CrossEarthError: To be printed as one line.
    """
    made = vectorize(
        arguments.map,
        arguments.polygons,
        labels=None if arguments.labels is None else _LABELS[arguments.labels],
        min_area_m2=arguments.min_area_m2,
        simplify_px=arguments.simplify_px,
        classes=arguments.classes,
    )
    return (
        f'{made.path}: {made.polygons} polygons, {made.dropped} smaller ones left out, '
        f'{made.seconds:.1f} s'
    )


def _gsd(text: str) -> float | str:
    if text == 'native':
        return text
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: expected metres, or native') from error


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition('/')
    if not (index.isdigit() and count.isdigit()):
        raise argparse.ArgumentTypeError(f'{text!r} is not of the form I/N, as 3/16')
    if not 1 <= int(index) <= int(count):
        raise argparse.ArgumentTypeError(f'{text!r}: the share must be from 1 to {count}')
    return int(index), int(count)


def _load(weights: str, device: str) -> nn.Module:
    model: nn.Module = _models().load_model(weights)
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'device {device!r} cannot be used ({reason}): try cpu') from error


def _checksum(weights: str) -> str:
    with Path(weights).open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def _models() -> Any:
    # only where it is used: mapping with a model of one's own needs none of its builders
    return import_module('crossearth.models')


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `predict_scene` that hold for one scene and for many.

    What is not given is as the weights file says.
    """
    value_range = arguments.value_range
    return {
        'tile_px': arguments.tile_px,
        'overlap': arguments.overlap,
        'stride_px': arguments.stride_px,
        'blend': arguments.blend,
        'combine': arguments.combine,
        'bands': None if arguments.bands is None else tuple(arguments.bands),
        'alpha': arguments.alpha,
        'value_range': None if value_range is None else tuple(value_range),
        'labels': None if arguments.labels is None else _LABELS[arguments.labels],
        'nodata': arguments.nodata,
        'augment': arguments.augment,
        'cog': arguments.cog,
        'qgis_style': arguments.qgis_style,
        'batch_size': arguments.batch_size,
        'autocast': None if arguments.autocast is None else _AUTOCAST[arguments.autocast],
        'gsd_m': arguments.gsd_m,
        'return_by': arguments.return_by,
        'memory_mb': arguments.memory_mb,
        'on_read_error': arguments.on_read_error,
        'resume': arguments.resume,
        'shard_px': arguments.shard_px,
    }


def _estimate(model: nn.Module, scenes: list[str], arguments: argparse.Namespace) -> str:
    settings = _settings(arguments)
    kept = arguments.resume or arguments.shard is not None
    estimates: list[SceneEstimate] = []
    lines = []
    for scene in scenes:
        estimate = estimate_scene(
            model,
            scene,
            tile_px=settings['tile_px'],
            overlap=settings['overlap'],
            stride_px=settings['stride_px'],
            bands=settings['bands'],
            alpha=settings['alpha'],
            value_range=settings['value_range'],
            labels=settings['labels'],
            augment=settings['augment'],
            batch_size=settings['batch_size'],
            autocast=settings['autocast'],
            gsd_m=settings['gsd_m'],
            return_by=settings['return_by'],
            memory_mb=settings['memory_mb'],
            shard_px=settings['shard_px'] if kept else None,
        )
        estimates.append(estimate)
        seen = ''
        if (estimate.model_width, estimate.model_height) != (estimate.width, estimate.height):
            seen = f' seen as {estimate.model_width} × {estimate.model_height} px'
        lines.append(
            f'{scene}: {estimate.width} × {estimate.height} px{seen}, {estimate.windows} windows, '
            f'{estimate.windows_run - estimate.windows} of them twice, in {estimate.units} '
            f'part(s), {estimate.memory_mb} MiB beside the model, about {estimate.seconds:.0f} s'
        )
    total = sum(estimate.seconds for estimate in estimates)
    if len(scenes) > 1:
        lines.append(f'{len(scenes)} scenes, about {total / arguments.workers:.0f} s')
    return '\n'.join(lines)
