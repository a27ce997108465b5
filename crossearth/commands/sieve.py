"""The command line of `sieve_map`: `crossearth sieve`."""

import argparse
from collections.abc import Sequence

from crossearth.errors import ConfigError

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Write a map without regions below a minimum mapping unit. Small regions take the class of '
        'their largest neighbour.'
    )
    parser.add_argument('map', help='GeoTIFF of class ids')
    parser.add_argument('sieved', help='GeoTIFF to write')
    unit = parser.add_mutually_exclusive_group(required=True)
    for name, what in (
        ('--min-area-m2', 'square metres on the ground'),
        ('--min-pixels', 'pixels'),
    ):
        unit.add_argument(
            name,
            type=_unit,
            nargs='+',
            metavar='UNIT',
            help=f'least size of a region in {what}: one number, or one per class by name or id, '
            'such as building=20 road=50; other classes keep all regions',
        )
    parser.add_argument(
        '--connectivity',
        type=int,
        choices=[4, 8],
        default=4,
        help='8 also joins pixels that touch only at a corner (default: %(default)s)',
    )


def run(arguments: argparse.Namespace) -> str:
    """Sieve the map.

    Args:
        arguments: Parsed arguments.

    Returns:
        Text to print.

    Raises:
        CrossEarthError: If the map cannot be read, or the new one cannot be written.
    """
    from crossearth.inference import sieve_map

    made = sieve_map(
        arguments.map,
        arguments.sieved,
        min_area_m2=_units(arguments.min_area_m2),
        min_pixels=_units(arguments.min_pixels),
        connectivity=arguments.connectivity,
    )
    return (
        f'{made.path}: {made.merged} small regions took the class of a neighbour, {made.left} kept '
        f'theirs because no neighbour is large enough, {made.seconds:.1f} s'
    )


def _unit(text: str) -> tuple[str | int | None, float]:
    # at the last equals sign, because names of classes may hold one
    name, sign, number = text.rpartition('=')
    try:
        value = float(number)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f'{text!r}: expected a number, or CLASS=NUMBER such as road=50'
        ) from error
    if not sign:
        return None, value
    return int(name) if name.isdecimal() else name, value


def _units(
    given: Sequence[tuple[str | int | None, float]] | None,
) -> float | dict[str | int, float] | None:
    if given is None:
        return None
    if len(given) == 1 and given[0][0] is None:
        return given[0][1]
    units = {name: value for name, value in given if name is not None}
    if len(units) < len(given):
        raise ConfigError(
            'the minimum mapping unit is given more than once: pass one number, or each class '
            'once, such as building=20 road=50'
        )
    return units
