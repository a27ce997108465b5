"""Options of commands that show scenes to a model: what their pixels measure, and which it sees."""

import argparse

__all__ = ['add_gsd', 'add_seen_at']


def add_gsd(group: argparse._ActionsContainer) -> None:
    """Add `--gsd`, as the argument `scene_gsd_m`."""
    group.add_argument(
        '--gsd',
        dest='scene_gsd_m',
        type=_metres,
        metavar='METRES',
        help="what the scene's own pixels measure on the ground, where nothing ties it to the "
        'ground, or its georeference is wrong about it (default: what the georeference says)',
    )


def add_seen_at(group: argparse._ActionsContainer) -> None:
    """Add `--seen-at`, as the argument `gsd_m`."""
    group.add_argument(
        '--seen-at',
        dest='gsd_m',
        type=_metres_or_native,
        metavar='METRES|native',
        help="what the pixels that the model sees measure on the ground, or native for the scene's "
        'own pixels (default: as the weights were trained)',
    )


def _metres(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: expected metres, such as 0.21') from error


def _metres_or_native(text: str) -> float | str:
    if text == 'native':
        return text
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'{text!r}: expected metres, or native') from error
