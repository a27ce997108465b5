"""The command line of `vectorize`: `crossearth vectorize`."""

import argparse

from crossearth.labels import LABEL_SPACES

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = 'Write the regions of a map as polygons with class names and areas.'
    parser.add_argument('map', help='GeoTIFF of class ids')
    parser.add_argument('polygons', help='.gpkg, .geojson (EPSG:4326) or .fgb')
    parser.add_argument('--labels', choices=sorted(LABEL_SPACES), help='names, if the map has none')
    parser.add_argument('--min-area-m2', type=float, default=0.0)
    parser.add_argument(
        '--simplify-m',
        type=float,
        default=0.0,
        metavar='METRES',
        help='how coarse borders may become; neighbours still share them',
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
        '--confidence', metavar='TIF', help='whose mean over its pixels each polygon gets'
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
    from crossearth.inference import vectorize

    made = vectorize(
        arguments.map,
        arguments.polygons,
        labels=None if arguments.labels is None else LABEL_SPACES[arguments.labels],
        min_area_m2=arguments.min_area_m2,
        simplify_m=arguments.simplify_m,
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


def _class(text: str) -> str | int:
    return int(text) if text.isdigit() else text
