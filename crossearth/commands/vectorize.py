"""The command line of `vectorize` and `trace_lines`: `crossearth vectorize`."""

import argparse

from crossearth.errors import ConfigError
from crossearth.labels import LABEL_SPACES, LabelSpace

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Write the regions of a map as polygons with class names and areas, or the centre lines of '
        'its roads.'
    )
    parser.add_argument('map', help='GeoTIFF of class ids')
    parser.add_argument('polygons', help='.gpkg, .geojson (EPSG:4326) or .fgb')
    parser.add_argument('--labels', choices=sorted(LABEL_SPACES), help='names, if the map has none')
    parser.add_argument(
        '--min-area-m2', type=float, default=0.0, help='smaller polygons are left out'
    )
    parser.add_argument(
        '--simplify-m',
        type=float,
        metavar='METRES',
        help='how coarse borders may become; neighbours still share them (default: 0; for centre '
        'lines a pixel)',
    )
    parser.add_argument(
        '--square-m',
        type=float,
        default=0.0,
        metavar='METRES',
        help='how far outlines of buildings may move to get right angles; two pixels are a good '
        'start (default: 0, no right angles)',
    )
    parser.add_argument(
        '--squared-classes',
        type=_class,
        nargs='+',
        metavar='CLASS',
        help='names or ids of classes that get right angles (default: building)',
    )
    parser.add_argument(
        '--classes',
        type=_class,
        nargs='+',
        metavar='CLASS',
        help='names or ids to write (default: all but background)',
    )
    parser.add_argument(
        '--background', action='store_true', help='write a class named background too'
    )
    parser.add_argument(
        '--confidence', metavar='TIF', help='whose mean over its pixels each polygon or line gets'
    )

    lines = parser.add_argument_group('centre lines in place of polygons')
    lines.add_argument(
        '--centre-lines',
        type=_class,
        nargs='*',
        metavar='CLASS',
        help='names or ids of classes (default: road); needs the extra lines',
    )
    lines.add_argument(
        '--min-length-m',
        type=float,
        metavar='METRES',
        help='spurs and single lines below this are left out, as those are that are shorter than '
        'their road is wide',
    )


def run(arguments: argparse.Namespace) -> str:
    """Do what the arguments ask for.

    Args:
        arguments: As parsed.

    Returns:
        What to print.

    Raises:
        CrossEarthError: If the map cannot be read, or the polygons cannot be written.
    """
    labels = None if arguments.labels is None else LABEL_SPACES[arguments.labels]
    if arguments.centre_lines is not None:
        return _centre_lines(arguments, labels)
    if arguments.min_length_m is not None:
        raise ConfigError('--min-length-m is for --centre-lines: give both, or neither')
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
        raise ConfigError(f'{given[0]} is for polygons, not for --centre-lines: leave one out')
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
    return int(text) if text.isdigit() else text
