"""`crossearth predict`: the command line of `predict_scene` and `predict_scenes`.

Heavy imports happen inside the functions, so that `--help` is instant. Arguments have the names of
the values that they set. If one is not given, the default of that value applies.
"""

import argparse
import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossearth.commands.catalog import describe_catalogue
from crossearth.commands.loading import add_loading, load_runnable, model_id_of
from crossearth.commands.model_output import add_model_output, key_or_number
from crossearth.commands.seeing import (
    add_alpha,
    add_gsd,
    add_normalisation,
    add_scales,
    add_seen_at,
)
from crossearth.describing import plural
from crossearth.errors import ConfigError, CrossEarthError, SceneError
from crossearth.labels import LABEL_SPACES

if TYPE_CHECKING:
    from torch import nn

    from crossearth.inference import Outcome, SceneEstimate, Task

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Map scenes with a trained model: writes GeoTIFFs of class ids on the grids of the scenes.'
    )
    parser.add_argument(
        'scene', help='raster, folder, .zip, list (.txt, .csv) or STAC items (.json)'
    )
    parser.add_argument('map', help='GeoTIFF to write, or a folder for many scenes')
    parser.add_argument(
        '--weights',
        required=True,
        help='model: .safetensors from save_model, TorchScript, .pt2 from torch.export, or .onnx. '
        'All but the first hold programs: use TorchScript and .pt2 only from people you trust.',
    )
    add_loading(parser)
    parser.add_argument('--threads', type=int, help='CPU threads to use (default: all)')
    _add_view(parser.add_argument_group('what the model sees'))
    add_model_output(parser.add_argument_group('what the model returns'))
    _add_outputs(parser.add_argument_group('what is written'))
    _add_running(parser.add_argument_group('how it runs'))

    many = parser.add_argument_group('many scenes')
    many.add_argument(
        '--workers', type=int, default=1, help='worker processes (default: %(default)s)'
    )
    many.add_argument(
        '--engine',
        choices=['processes', 'ray'],
        default='processes',
        help='run workers on this machine or on a Ray cluster (default: %(default)s)',
    )
    many.add_argument('--address', help='address of a Ray cluster (default: start a local one)')
    many.add_argument(
        '--max-failures',
        type=int,
        default=2,
        help='failures after which a scene is skipped (default: %(default)s)',
    )
    many.add_argument('--retry', action='store_true', help='also retry scenes that were skipped')


def _add_view(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--bands', type=int, nargs='+', help='band numbers from 1 (default: from the weights)'
    )
    group.add_argument(
        '--value-range',
        type=float,
        nargs=2,
        metavar=('LOW', 'HIGH'),
        help='pixel values that become 0 and 1 (default: from the weights)',
    )
    add_alpha(group)
    add_gsd(group, automatic=True)
    add_seen_at(group)
    group.add_argument(
        '--return-by',
        choices=['nearest', 'bilinear'],
        help='how to resample the map back to the grid of the scene (default: nearest)',
    )
    add_normalisation(group)
    group.add_argument('--tile-px', type=int, help='side of a window in pixels (default: 512)')
    overlap = group.add_mutually_exclusive_group()
    overlap.add_argument(
        '--overlap', type=float, help='share of a window that the next one repeats (default: 1/3)'
    )
    overlap.add_argument('--stride-px', type=int, help='pixels from one window to the next')
    group.add_argument(
        '--blend',
        choices=['hann', 'gaussian', 'mean', 'crop'],
        help='how windows are weighted where they overlap (default: hann)',
    )
    group.add_argument(
        '--combine',
        choices=['softmax', 'logits'],
        help='what is averaged where windows overlap (default: softmax)',
    )
    group.add_argument(
        '--augment',
        choices=['none', 'd4'],
        help='d4 averages 8 flips and turns of each window, at 8 times the cost (default: none)',
    )
    add_scales(group)


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--labels',
        choices=sorted(LABEL_SPACES),
        help='class names and colours (default: from the weights)',
    )
    group.add_argument(
        '--nodata', type=int, help='value of pixels without data in the map (default: 255)'
    )
    group.add_argument(
        '--probabilities',
        metavar='TIF',
        help='also write the probability of each class, one band per class; for many scenes, this '
        'and the next two are folders',
    )
    group.add_argument(
        '--confidence', metavar='TIF', help='also write the probability of the chosen class'
    )
    group.add_argument(
        '--entropy', metavar='TIF', help='also write the entropy: high where the model is unsure'
    )
    group.add_argument(
        '--class-thresholds',
        type=_class_threshold,
        nargs='+',
        metavar='CLASS=P',
        help='probability that a class needs to be chosen, such as road=0.7',
    )
    group.add_argument(
        '--cog', action='store_true', help='write cloud-optimised GeoTIFFs, with overviews'
    )
    group.add_argument(
        '--stac',
        action='store_true',
        help='also describe the map as a STAC item, or many maps as a catalogue, see crossearth '
        'catalog',
    )
    group.add_argument(
        '--estimate-accuracy',
        action='store_true',
        help="print the map's accuracy as estimated from the model's confidence; needs a model "
        'file from crossearth calibrate',
    )
    group.add_argument(
        '--no-qgis-style',
        dest='qgis_style',
        action='store_false',
        default=None,
        help='write no .qml style and no attribute table for QGIS',
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        '--batch-size', type=int, help='windows per batch (default: 1 on the CPU, 4 on a GPU)'
    )
    group.add_argument(
        '--autocast',
        choices=['bfloat16', 'float16'],
        help='compute in this half-precision type (default: full precision)',
    )
    group.add_argument(
        '--memory-mb', type=int, help='memory in MiB, not counting the model (default: about 208)'
    )
    group.add_argument(
        '--on-read-error',
        choices=['raise', 'nodata'],
        help='stop at a block that cannot be read, or map it as no-data (default: raise)',
    )
    group.add_argument(
        '--resume',
        action='store_true',
        help='keep finished parts of the map, and resume from those of an interrupted run',
    )
    group.add_argument(
        '--shard',
        type=_shard,
        metavar='I/N',
        help='map only share I of N: of the parts of one scene, or of the scenes',
    )
    group.add_argument(
        '--shard-px',
        type=int,
        help='side of a part in pixels, a multiple of 512 (default: 8192)',
    )
    group.add_argument(
        '--dry-run', action='store_true', help='print how much time and memory it takes, and stop'
    )
    group.add_argument('--quiet', action='store_true', help='show no progress')


def run(arguments: argparse.Namespace) -> str:
    """Map one scene or many.

    Args:
        arguments: Parsed arguments.

    Returns:
        Text to print.

    Raises:
        CrossEarthError: Printed by the command line as one line.
    """
    import torch

    from crossearth.inference import find_scenes
    from crossearth.inference.scene_sources import RASTER_SUFFIXES

    if arguments.threads is not None:
        if arguments.threads < 1:
            raise ConfigError(f'--threads {arguments.threads}: expected at least 1')
        torch.set_num_threads(arguments.threads)
    values = _values(arguments)
    load = functools.partial(
        load_runnable,
        arguments.weights,
        arguments.device,
        tuple(arguments.builders),
        str(Path.cwd()),
        arguments.pretrained,
    )
    scenes = find_scenes(arguments.scene)
    suffix = Path(arguments.map).suffix.lower()
    # as paths, because `./scene.tif` and `scene.tif` are one scene
    is_scene = [Path(scene) for scene in scenes] == [Path(arguments.scene)]
    single = is_scene and suffix in {'.tif', '.tiff'}
    # other names with a dot, such as maps_0.5m, are new folders
    if suffix in RASTER_SUFFIXES and not single and not Path(arguments.map).is_dir():
        raise ConfigError(
            f'{arguments.map}: expected a name that ends in .tif for one scene, or a folder for '
            f'{len(scenes)}'
        )
    if arguments.dry_run:
        if not single:
            scenes = [task.scene for task in _tasks(arguments, values)]
            values['view'] = values['view'].for_many()
        return _estimate(load(), scenes, values, workers=arguments.workers)
    if single:
        return _map_one(load(), arguments, values)
    return _map_many(load, arguments, values)


def _values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments that `predict_scene`, `predict_scenes` and `estimate_scene` share."""
    import torch

    from crossearth.inference import ModelOutput, Outputs, Running, View, Windows

    if arguments.autocast is not None:
        arguments.autocast = getattr(torch, arguments.autocast)

    if arguments.scene_gsd_m == 'auto':
        if arguments.gsd_estimator is None:
            raise ConfigError(
                '--gsd auto needs --gsd-estimator FILE: train one on images of known ground '
                'sampling distance with crossearth gsd FOLDER=METRES --fit FILE'
            )
        from crossearth.resolution import AutomaticGsd

        arguments.scene_gsd_m = AutomaticGsd(arguments.gsd_estimator)
    elif arguments.gsd_estimator is not None:
        raise ConfigError('--gsd-estimator only works with --gsd auto: pass both, or neither')

    if arguments.merge is not None and arguments.scales is None:
        raise ConfigError('--merge is for several scales: add --scales 1 0.5, or leave --merge out')

    def given(kind: Any) -> Any:
        told = {field.name: getattr(arguments, field.name) for field in fields(kind)}
        return kind(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in told.items()
                if value is not None
            }
        )

    return {
        'labels': None if arguments.labels is None else LABEL_SPACES[arguments.labels],
        'windows': given(Windows),
        'view': given(View),
        'outputs': given(Outputs),
        'running': given(Running),
        'model_output': given(ModelOutput),
    }


def _map_one(model: 'nn.Module', arguments: argparse.Namespace, values: dict[str, Any]) -> str:
    from crossearth.commands.accuracy import describe_accuracy
    from crossearth.imagery import imagery_of
    from crossearth.inference import predict_scene, summarise_map
    from crossearth.models import read_model_info

    if arguments.stac:
        from crossearth.catalog.items import require_addressable

        require_addressable(Path(arguments.map).name)
    model_id = None
    if values['running'].keeps_parts or arguments.stac:  # hashing large files takes time
        model_id = model_id_of(arguments.weights, arguments.builders, str(Path.cwd()))
    made = predict_scene(
        model,
        arguments.scene,
        arguments.map,
        **values,
        model_id=model_id,
        progress=not arguments.quiet,
    )
    lines = [
        f'{made.path if made.complete else "parts"}: {made.width} × {made.height} px, '
        f'{plural(made.windows_run, "window")} in {made.seconds:.1f} s'
    ]
    lines.append(f'scene: {made.seen}')
    lines += [
        f'could not be read and has no data: rows {window.row} to {window.stop[0] - 1}, '
        f'columns {window.col} to {window.stop[1] - 1}'
        for window in made.lost
    ]
    if made.complete and arguments.stac:
        from crossearth.catalog import write_item

        item = write_item(made.path, scene=arguments.scene, model_id=model_id or '', seen=made.seen)
        lines.append(f'STAC item: {item}')
    if made.complete:
        summary = summarise_map(made.path, confidence=values['outputs'].confidence)
        lines.append(str(summary))
        if summary.nodata == made.width * made.height:
            lines.append(
                'the map is empty: no pixel of the scene has data in the bands that are read'
            )
        stated = isinstance(values['view'].scene_gsd_m, int | float)
        if stated and any(one.area_m2 for one in summary.classes):
            lines.append("areas are those of the scene's georeference, which the map keeps")
    if made.accuracy is not None:
        labels = values['labels'] or imagery_of(model).labels
        record = read_model_info(arguments.weights).adaptation
        adapted = record is not None and not record.calibrated
        lines.append(describe_accuracy(made.accuracy, labels, adapted=adapted))
    elif values['outputs'].estimate_accuracy:
        lines.append('no accuracy was estimated, because no pixel of the scene has data')
    return '\n'.join(lines)


def _map_many(
    load: Callable[[], 'nn.Module'], arguments: argparse.Namespace, values: dict[str, Any]
) -> str:
    from crossearth.inference import Workers, predict_scenes
    from crossearth.progress import progress_bar

    tasks = _tasks(arguments, values)
    items = arguments.scene if arguments.scene.endswith('json') else None
    if arguments.stac:  # fail before hours of mapping if the maps could not be described
        from crossearth.catalog.items import require_addressable
        from crossearth.catalog.times import times_of_items

        for task in tasks:
            require_addressable(task.destination.relative_to(arguments.map))
        if items is not None:
            times_of_items(items)
    share = len(values['running'].share_of(tasks))
    with progress_bar(total=share, unit='scene', shown=not arguments.quiet) as bar:

        def tell(_outcome: 'Outcome') -> None:
            bar.update()

        summary = predict_scenes(
            load,
            tasks,
            **values,
            workers=Workers(arguments.workers, arguments.engine, arguments.address),
            # from the files: otherwise this process would load the model once more to identify it
            model_id=model_id_of(arguments.weights, arguments.builders, str(Path.cwd())),
            max_failures=arguments.max_failures,
            retry=arguments.retry,
            progress=tell,
        )
    catalogue = ''
    if arguments.stac and summary.count('done') + summary.count('present'):
        catalogue = '\n' + describe_catalogue(arguments.map, items=items)
    missing = summary.count('failed') + summary.count('quarantined')
    if missing:
        raise SceneError(f'{missing} of {share} scenes have no map\n{summary}{catalogue}')
    return f'{summary}{catalogue}'


def _tasks(arguments: argparse.Namespace, values: dict[str, Any]) -> list['Task']:
    from crossearth.inference import tasks_of

    return tasks_of([arguments.scene], arguments.map, further=values['outputs'].further.values())


def _estimate(
    model: 'nn.Module', scenes: Sequence[str], values: dict[str, Any], *, workers: int
) -> str:
    from crossearth.inference import estimate_scene

    lines, total, refused = [], 0.0, 0
    for scene in scenes:
        try:
            estimate = estimate_scene(model, scene, **values)
        except CrossEarthError as error:
            if len(scenes) == 1:
                raise
            lines.append(f'no map: {error}')
            refused += 1
            continue
        total += estimate.seconds
        twice = estimate.windows_run - estimate.windows
        lines.append(
            f'{scene}: {_size(estimate)}, {plural(estimate.windows, "window")}'
            f'{f", {twice} of them run twice" if twice else ""}, in '
            f'{plural(estimate.units, "part")}, {estimate.memory_mb} MiB plus the model, about '
            f'{estimate.seconds:.0f} s; {estimate.seen}'
        )
    if len(scenes) > 1:
        lines.append(f'{plural(len(scenes) - refused, "scene")}, about {total / workers:.0f} s')
    if refused:
        lines.insert(0, f'{refused} of {len(scenes)} scenes cannot be mapped')
        raise SceneError('\n'.join(lines))
    return '\n'.join(lines)


def _size(estimate: 'SceneEstimate') -> str:
    size = f'{estimate.width} × {estimate.height} px'
    if (estimate.model_width, estimate.model_height) == (estimate.width, estimate.height):
        return size
    return f'{size} seen as {estimate.model_width} × {estimate.model_height} px'


def _class_threshold(text: str) -> tuple[str | int, float]:
    # at the last equals sign, because names of classes may hold one
    name, _, number = text.rpartition('=')
    try:
        return key_or_number(name), float(number)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: expected CLASS=P, such as road=0.7') from error


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition('/')
    if not (index.isdecimal() and count.isdecimal()):
        raise argparse.ArgumentTypeError(f'{text!r}: expected I/N, such as 3/16')
    if not 1 <= int(index) <= int(count):
        raise argparse.ArgumentTypeError(f'{text!r}: expected a share from 1 to {count}')
    return int(index), int(count)
