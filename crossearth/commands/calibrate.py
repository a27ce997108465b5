"""The command line of `crossearth calibrate`: what a model's file remembers of its source."""

import argparse
import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.commands.loading import add_loading, load_trusted
from crossearth.commands.seeing import add_gsd
from crossearth.errors import ConfigError

if TYPE_CHECKING:
    from crossearth.calibration import Calibration

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Measure a model on labelled scenes of its source that it was not trained on, and write a '
        'file that remembers it, for predict --estimate-accuracy and adapt.'
    )
    parser.add_argument('weights', help='model, a safetensors file')
    parser.add_argument('images', help='folder of labelled images of the source')
    parser.add_argument('masks', help='folder of their masks, of the same names')
    parser.add_argument('-o', '--output', required=True, help='model file to write')
    parser.add_argument(
        '--threshold',
        type=int,
        help='masks of two classes: values from there up are class 1 (default: masks hold ids)',
    )
    parser.add_argument(
        '--bands',
        type=int,
        nargs='+',
        help='of the images, counted from 1 (default: those of the weights, if they are numbers)',
    )
    add_gsd(parser)
    parser.add_argument('--tile-px', type=int, default=512, help='(default: %(default)s)')
    parser.add_argument('--max-windows', type=int, default=64, help='(default: %(default)s)')
    add_loading(parser)


def run(arguments: argparse.Namespace) -> str:
    """Measure the model, write it, and say what came out.

    Raises:
        CrossEarthError: To be printed as one line.
    """
    from crossearth.datasets import FolderDataset
    from crossearth.labels import ThresholdCodec
    from crossearth.models import read_model_info, save_model
    from crossearth.trainers.source import measure_source

    info = read_model_info(arguments.weights)
    if info.labels is None:
        raise ConfigError(
            f'{arguments.weights} does not name its classes: write it with '
            'save_model(…, labels=…) first'
        )
    threshold = arguments.threshold
    numbers = [band for band in info.bands or () if isinstance(band, int)]
    read = functools.partial(
        FolderDataset,
        arguments.images,
        arguments.masks,
        labels=info.labels,
        codec=None if threshold is None else ThresholdCodec(threshold),
        bands=arguments.bands or numbers or None,
        native_gsd_m=arguments.scene_gsd_m,
    )
    scenes = read()
    if scenes.gsd_range_m is not None:  # images that nothing ties to the ground keep their pixels
        gsd_m = info.imagery.gsd_for(scenes.gsd_range_m)
        scenes = scenes if gsd_m is None else read(gsd_m=gsd_m)
    model = load_trusted(arguments.weights, arguments.device, arguments.builders, str(Path.cwd()))
    measured = measure_source(
        model,
        scenes,
        scenes,
        size_px=arguments.tile_px,
        value_range=info.value_range,
        max_windows=arguments.max_windows,
    )
    if measured.calibration is None:
        raise ConfigError(
            f'{arguments.masks}: no pixel of the windows has a label: give labelled scenes'
        )
    if info.source is not None:  # training data say more of the source than what is left of it
        features = info.source.features or measured.features
        measured = replace(info.source, features=features, calibration=measured.calibration)
    assert measured.calibration is not None
    save_model(
        model,
        arguments.output,
        labels=info.labels,
        bands=info.bands,
        gsd_m=info.gsd_m,
        gsd_range_m=info.gsd_range_m,
        value_range=info.value_range,
        source=measured,
        adaptation=info.adaptation and replace(info.adaptation, calibrated=True),
        trainable_only=not info.complete,
    )
    return f'{arguments.output}: {_described(measured.calibration, info.labels.classes)}'


def _described(known: 'Calibration', classes: tuple[str, ...]) -> str:
    lines = [
        f'temperature {known.temperature:.2f}, {100 * known.accuracy:.1f} % of {known.pixels} '
        f'pixels are right, mean confidence {100 * known.confidence:.1f} %'
    ]
    for name, one in zip(classes, known.classes, strict=True):
        iou = 'does not occur' if one.iou is None else f'IoU {100 * one.iou:.1f} %'
        lines.append(f'  {name}: {iou}, expected {100 * one.expected_iou:.1f} %')
    return '\n'.join(lines)
