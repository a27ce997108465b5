"""`crossearth calibrate`: measures a model on labelled scenes and saves that in its file."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.commands.loading import add_loading, load_trusted
from crossearth.commands.seeing import add_gsd
from crossearth.errors import ConfigError

if TYPE_CHECKING:
    from crossearth.calibration import Calibration
    from crossearth.datasets import SceneDataset
    from crossearth.survey.mask_values import Value

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Measure a model on labelled, held-out scenes of its source, and write a model file that '
        'stores the result. predict --estimate-accuracy and adapt use it.'
    )
    parser.add_argument('weights', help='model to measure, a .safetensors file')
    parser.add_argument('images', help='folder of labelled images of the source')
    parser.add_argument('masks', help='folder of their masks, with the same file names')
    parser.add_argument('-o', '--output', required=True, help='model file to write')
    parser.add_argument(
        '--threshold',
        type=int,
        help='for masks of two classes: values from this one up are class 1 (default: masks hold '
        'class ids)',
    )
    parser.add_argument(
        '--bands',
        type=int,
        nargs='+',
        help='bands of the images, counted from 1 (default: from the weights, if they are numbers)',
    )
    add_gsd(parser)
    parser.add_argument(
        '--tile-px', type=int, default=512, help='side of a window in pixels (default: %(default)s)'
    )
    parser.add_argument(
        '--max-windows', type=int, default=64, help='windows to measure (default: %(default)s)'
    )
    add_loading(parser)


def run(arguments: argparse.Namespace) -> str:
    """Measure the model, write it, and return a summary.

    Raises:
        CrossEarthError: Printed by the command line as one line.
    """
    from crossearth.datasets import FolderDataset
    from crossearth.datasets.seen import describe_pixels, seen_scenes
    from crossearth.labels import ThresholdCodec
    from crossearth.models import read_model_info, save_model
    from crossearth.models.weights.checkpoint import require_model_name
    from crossearth.trainers.source import measure_source

    require_model_name(arguments.output)
    info = read_model_info(arguments.weights)
    if info.labels is None:
        raise ConfigError(
            f'{arguments.weights} does not name its classes: write it with '
            'save_model(…, labels=…) first'
        )
    threshold = arguments.threshold
    if threshold is not None and info.labels.num_classes != 2:
        raise ConfigError(
            f'--threshold is for two classes, but {arguments.weights} has '
            f'{info.labels.num_classes}: leave it out, and pass masks of class ids'
        )
    numbers = [band for band in info.bands or () if isinstance(band, int)]
    labelled = FolderDataset(
        arguments.images,
        arguments.masks,
        labels=info.labels,
        codec=None if threshold is None else ThresholdCodec(threshold),
        bands=arguments.bands or numbers or None,
        native_gsd_m=arguments.scene_gsd_m,
    )
    for scene in labelled.scenes:  # a size that is not known is refused, as predict does
        try:
            info.imagery.gsd_for(scene.raster.gsd_m())
        except ConfigError as error:
            raise ConfigError(f'{scene.image}: {error}') from error
    if threshold is None and info.labels.num_classes == 2 and _are_black_and_white(labelled):
        raise ConfigError(
            f'{arguments.masks}: the masks hold 0 and 255, and 255 means no label, so class 1 '
            'would never be measured: pass --threshold 128'
        )
    scenes = seen_scenes(labelled, info.imagery)
    model = load_trusted(
        arguments.weights,
        arguments.device,
        arguments.builders,
        str(Path.cwd()),
        arguments.pretrained,
    )
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
            f'{arguments.masks}: no pixel of the windows has a label: pass scenes with labels'
        )
    if info.source is not None:  # statistics of the training data say more than a few test scenes
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
    seen = f'scenes are seen at {describe_pixels(labelled, scenes)}'
    described = _described(measured.calibration, info.labels.classes)
    return f'{seen}\n{arguments.output}: {described}'


def _are_black_and_white(labelled: 'SceneDataset') -> bool:
    """Whether masks hold 255, and nothing else but 0. Reading ends at a mask with other values."""
    from crossearth.rasters import Mask
    from crossearth.survey.mask_values import read_mask_values

    found: set[Value] = set()
    for mask in (scene.labels for scene in labelled.scenes):
        if isinstance(mask, Mask):
            found |= read_mask_values(mask.path, most_px=mask.height * mask.width).counts().keys()
        if not found <= {0, 255}:
            return False
    return 255 in found


def _described(known: 'Calibration', classes: tuple[str, ...]) -> str:
    lines = [
        f'temperature {known.temperature:.2f}, {100 * known.accuracy:.1f} % of {known.pixels} '
        f'pixels are correct, mean confidence {100 * known.confidence:.1f} %'
    ]
    for name, one in zip(classes, known.classes, strict=True):
        iou = 'does not occur' if one.iou is None else f'IoU {100 * one.iou:.1f} %'
        lines.append(f'  {name}: {iou}, expected {100 * one.expected_iou:.1f} %')
    return '\n'.join(lines)
