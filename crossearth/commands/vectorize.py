"""The command line of `vectorize` and `trace_lines`: `crossearth vectorize`."""

import argparse

from crossearth.errors import ConfigError
from crossearth.labels import LABEL_SPACES, LabelSpace

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Write the regions of a map as polygons with class names and areas, or its roads as centre '
        'lines.'
    )
    parser.add_argument('map', help='GeoTIFF of class ids')
    parser.add_argument('polygons', help='file to write: .gpkg, .geojson (EPSG:4326) or .fgb')
    parser.add_argument(
        '--labels', choices=sorted(LABEL_SPACES), help='class names, if the map has none'
    )
    parser.add_argument(
        '--min-area-m2',
        type=float,
        default=0.0,
        help='leave out polygons smaller than this, in m² (default: %(default)g)',
    )
    parser.add_argument(
        '--simplify-m',
        type=float,
        metavar='METRES',
        help='simplify borders by up to this many metres; neighbours still share them (default: 0, '
        'or one pixel for centre lines)',
    )
    parser.add_argument(
        '--square-m',
        type=float,
        default=0.0,
        metavar='METRES',
        help='give buildings right angles, moving outlines by up to this many metres; two pixels '
        'are a good start (default: 0, off)',
    )
    parser.add_argument(
        '--squared-classes',
        type=_class,
        nargs='+',
        metavar='CLASS',
        help='classes that get right angles, by name or id (default: building)',
    )
    parser.add_argument(
        '--classes',
        type=_class,
        nargs='+',
        metavar='CLASS',
        help='classes to write, by name or id (default: all but background)',
    )
    parser.add_argument(
        '--background', action='store_true', help='also write a class named background'
    )
    parser.add_argument(
        '--confidence',
        metavar='TIF',
        help='confidence written with the map; each polygon or line gets its mean',
    )

    lines = parser.add_argument_group('centre lines instead of polygons')
    lines.add_argument(
        '--centre-lines',
        type=_class,
        nargs='*',
        metavar='CLASS',
        help='trace these classes, by name or id (default: road); needs crossearth[lines]',
    )
    lines.add_argument(
        '--min-length-m',
        type=float,
        metavar='METRES',
        help='leave out spurs and isolated lines shorter than this, in metres; those shorter than '
        'their road is wide are always left out',
    )


def run(arguments: argparse.Namespace) -> str:
    """Write polygons or centre lines.

    Args:
        arguments: Parsed arguments.

    Returns:
        Text to print.

    Raises:
        CrossEarthError: If the map cannot be read, or the file cannot be written.
    """
    labels = None if arguments.labels is None else LABEL_SPACES[arguments.labels]
    # the bare option gives an empty list, which means roads
    if arguments.centre_lines is not None:
        return _centre_lines(arguments, labels)
    if arguments.min_length_m is not None:
        raise ConfigError('--min-length-m only works with --centre-lines: pass both, or neither')
    from crossearth.inference import vectorize

    made = vectorize(
        arguments.map,
        arguments.polygons,
        labels=labels,
        min_area_m2=arguments.min_area_m2,
        simplify_m=arguments.simplify_m or 0.0,
        square_m=arguments.square_m,
        squared_classes=arguments.squared_classes,
        classes=arguments.classes,
        background=arguments.background,
        confidence=arguments.confidence,
    )
    squared = f'{made.squared} of them with right angles, ' if arguments.square_m else ''
    return (
        f'{made.path}: {made.shapes} polygons, {squared}{made.dropped} smaller ones left out, '
        f'{made.seconds:.1f} s'
    )


def _centre_lines(arguments: argparse.Namespace, labels: LabelSpace | None) -> str:
    of_polygons = {
        '--min-area-m2': arguments.min_area_m2,
        '--square-m': arguments.square_m,
        '--squared-classes': arguments.squared_classes,
        '--classes': arguments.classes,
        '--background': arguments.background,
    }
    given = [name for name, value in of_polygons.items() if value]
    if given:
        raise ConfigError(
            f'{given[0]} is for polygons and cannot go with --centre-lines: leave out one of them'
        )
    from crossearth.inference import trace_lines

    made = trace_lines(
        arguments.map,
        arguments.polygons,
        classes=arguments.centre_lines or ('road',),
        labels=labels,
        simplify_m=arguments.simplify_m,
        min_length_m=arguments.min_length_m or 0.0,
        confidence=arguments.confidence,
    )
    return (
        f'{made.path}: {made.lines} lines, {made.length_m / 1000:.2f} km, {made.dropped} spurs and '
        f'short lines left out, {made.seconds:.1f} s'
    )


def _class(text: str) -> str | int:
    return int(text) if text.isdecimal() else text
