"""Options for the pixel size and the values that a model sees of a scene."""

import argparse
import math
from collections.abc import Callable

__all__ = [
    'add_alpha',
    'add_gsd',
    'add_normalisation',
    'add_scales',
    'add_scored_sizes',
    'add_seen_at',
]


def add_alpha(group: argparse._ActionsContainer) -> None:
    """Add `--alpha`, None by default, which decides by the values."""
    group.add_argument(
        '--alpha',
        choices=['auto', 'mask', 'image'],
        help='what a band marked as alpha is: a mask of where there is data, or an image band '
        '(default: decide by its values)',
    )


def add_gsd(group: argparse._ActionsContainer, *, automatic: bool = False) -> None:
    """Add `--gsd` as the argument `scene_gsd_m`; with `automatic`, `--gsd-estimator` too."""
    if automatic:
        group.add_argument(
            '--gsd-estimator',
            metavar='FILE',
            help='for --gsd auto: estimator written by crossearth gsd --fit',
        )
    group.add_argument(
        '--gsd',
        dest='scene_gsd_m',
        type=_metres_or('auto') if automatic else _metres_or(),
        metavar='METRES|auto' if automatic else 'METRES',
        help="metres per pixel of the scene, if it has no georeference or the georeference's "
        'pixel size is wrong; of several scenes, of those without a georeference (default: from '
        'the georeference)'
        + ('; auto estimates it for scenes without a georeference' if automatic else ''),
    )


def add_seen_at(group: argparse._ActionsContainer) -> None:
    """Add `--seen-at` as the argument `gsd_m`."""
    group.add_argument(
        '--seen-at',
        dest='gsd_m',
        type=_metres_or('native'),
        metavar='METRES|native',
        help="metres per pixel at which the model sees the scene, or native for the scene's own "
        'pixels (default: as in training)',
    )


def add_normalisation(group: argparse._ActionsContainer) -> None:
    """Add `--mean` and `--std`."""
    group.add_argument(
        '--mean',
        type=float,
        nargs='+',
        help='value to subtract from each band, in [0, 1] (default: nothing)',
    )
    group.add_argument(
        '--std',
        type=float,
        nargs='+',
        help='value to then divide each band by (default: nothing)',
    )


def add_scales(group: argparse._ActionsContainer) -> None:
    """Add `--scales`, `--merge` and `--merge-class`."""
    group.add_argument(
        '--scales',
        type=_factor,
        nargs='+',
        metavar='FACTOR',
        help='scale factors at which the scene is seen, such as 1 0.5; the predictions are merged '
        '(default: 1)',
    )
    group.add_argument(
        '--merge',
        choices=['mean', 'max', 'top2'],
        help='how predictions of several scales are merged (default: mean)',
    )
    group.add_argument(
        '--merge-class',
        metavar='NAME',
        help='with --merge max or top2: take each pixel from the scale, or the mean of the two '
        'scales, with the highest probability of this class (default: each class separately)',
    )


def add_scored_sizes(group: argparse._ActionsContainer) -> None:
    """Add `--seen-at` and `--scales` for scoring whole images."""
    group.add_argument(
        '--seen-at',
        type=_metres_or('native', 'model'),
        metavar='METRES|native|model',
        help='for whole images: metres per pixel at which the model sees them, native for their '
        'own pixels, or model for that of training, as predict does (default: native; in '
        'experiments model)',
    )
    group.add_argument(
        '--scales',
        type=_factor,
        nargs='+',
        metavar='FACTOR',
        help='for whole images: scale factors at which they are seen, such as 1 0.5; the logits '
        'are averaged (default: 1)',
    )


def _factor(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: expected factors, such as 1 0.5') from error


def _metres_or(*words: str) -> Callable[[str], float | str]:
    """Make a parser for metres, or one of some words."""

    def read(text: str) -> float | str:
        if text in words:
            return text
        try:
            metres = float(text)
        except ValueError:
            metres = math.nan
        # NaN fails this comparison, too
        if not 0 < metres < math.inf:
            others = ''.join(f', or {word}' for word in words)
            raise argparse.ArgumentTypeError(
                f'{text!r}: expected metres above 0, such as 0.21{others}'
            )
        return metres

    return read
