"""Options of commands that show scenes to a model: what their pixels measure, and which it sees."""

import argparse
import math
from collections.abc import Callable

__all__ = ['add_gsd', 'add_scales', 'add_scored_sizes', 'add_seen_at']


def add_gsd(group: argparse._ActionsContainer, *, automatic: bool = False) -> None:
    """Add `--gsd`, as the argument `scene_gsd_m`; with `automatic`, `--gsd-estimator` too."""
    if automatic:
        group.add_argument(
            '--gsd-estimator',
            metavar='FILE',
            help='for --gsd auto: what crossearth gsd --fit wrote',
        )
    group.add_argument(
        '--gsd',
        dest='scene_gsd_m',
        type=_metres_or('auto') if automatic else _metres_or(),
        metavar='METRES|auto' if automatic else 'METRES',
        help="what the scene's own pixels measure on the ground, where nothing ties it to the "
        'ground, or its georeference is wrong about it (default: what the georeference says)'
        + ('; auto estimates it where nothing says it' if automatic else ''),
    )


def add_seen_at(group: argparse._ActionsContainer) -> None:
    """Add `--seen-at`, as the argument `gsd_m`."""
    group.add_argument(
        '--seen-at',
        dest='gsd_m',
        type=_metres_or('native'),
        metavar='METRES|native',
        help="what the pixels that the model sees measure on the ground, or native for the scene's "
        'own pixels (default: as the weights were trained)',
    )


def add_scales(group: argparse._ActionsContainer) -> None:
    """Add `--scales`, `--merge` and `--merge-class`."""
    group.add_argument(
        '--scales',
        type=_factors,
        metavar='1,0.5',
        help='sizes at which the scene is seen, as factors of its sides; several are merged '
        '(default: 1)',
    )
    group.add_argument(
        '--merge', choices=['mean', 'max'], help='what several scales become (default: mean)'
    )
    group.add_argument(
        '--merge-class',
        metavar='NAME',
        help='with --merge max: a pixel takes the scale that is surest of this class (default: the '
        'greatest score of each class)',
    )


def add_scored_sizes(group: argparse._ActionsContainer) -> None:
    """Add `--seen-at` and `--scales` of whole images that are scored."""
    group.add_argument(
        '--seen-at',
        type=_metres_or('native', 'model'),
        metavar='METRES|native|model',
        help='score whole images, whose pixels the model sees at this size: model as it was '
        'trained, which is how predict shows it a scene (native; of experiments model)',
    )
    group.add_argument(
        '--scales',
        type=_factors,
        metavar='1,0.5',
        help='score whole images, seen at these factors of their sides; logits of several are '
        'averaged (1)',
    )


def _factors(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(',')]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: expected factors, such as 1,0.5') from error


def _metres_or(*words: str) -> Callable[[str], float | str]:
    """What reads metres, or one of some words."""

    def read(text: str) -> float | str:
        if text in words:
            return text
        try:
            metres = float(text)
        except ValueError:
            metres = math.nan
        if not 0 < metres < math.inf:
            others = ''.join(f', or {word}' for word in words)
            raise argparse.ArgumentTypeError(
                f'{text!r}: expected metres, more than 0, such as 0.21{others}'
            )
        return metres

    return read
