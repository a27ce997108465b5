"""`crossearth assess sample | report`: the accuracy of a map and the areas of its classes."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossearth.errors import ConfigError
from crossearth.labels import LABEL_SPACES

if TYPE_CHECKING:
    from crossearth.assessment import Design

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Estimate the accuracy of a map and the areas of its classes, with 95 % intervals: draw a '
        'random sample of pixels, label them, and write the report.'
    )
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    _add_sample(
        actions.add_parser(
            'sample',
            help='draw pixels of a map for you to label',
            description='Draw a random sample of pixels from a map, in a folder that QGIS opens.',
        )
    )
    _add_report(
        actions.add_parser(
            'report',
            help='estimate accuracy and areas from the labels',
            description='Estimate the accuracy of a map and the areas of its classes from a '
            'labelled sample, with 95 % intervals.',
        )
    )


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('map', help='GeoTIFF of class ids')
    parser.add_argument('-o', '--output', required=True, metavar='FOLDER', help='folder to create')
    number = parser.add_mutually_exclusive_group()
    number.add_argument('--n', type=int, help='number of pixels to draw')
    number.add_argument(
        '--standard-error',
        type=float,
        metavar='SE',
        help='instead, draw enough for this standard error of the overall accuracy (default: 0.02)',
    )
    parser.add_argument(
        '--expected-accuracy',
        nargs='+',
        metavar='A',
        help='share of correct pixels that you expect, 0 to 1, and optionally of single classes, '
        'such as 0.85 road=0.6 (default: 0.8)',
    )
    parser.add_argument('--least', type=int, help='least pixels per stratum (default: 50)')
    parser.add_argument(
        '--confidence', metavar='TIF', help='split each class into strata by this confidence'
    )
    parser.add_argument(
        '--edges',
        type=float,
        nargs='+',
        help='confidences at which strata are split, 0 to 1 (default: 0.8)',
    )
    parser.add_argument('--scene', help='image that was mapped, for chips around the points')
    parser.add_argument('--chip-px', type=int, help='side of a chip in pixels (default: 256)')
    parser.add_argument(
        '--labels', choices=sorted(LABEL_SPACES), help='class names, if the map has none'
    )
    parser.add_argument('--nodata', type=int, help='no-data value, if the map does not name one')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the random draw (default: %(default)s)'
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('sample', help='folder made by `crossearth assess sample`')
    parser.add_argument(
        '-o', '--output', required=True, metavar='FOLDER', help='folder for the report'
    )
    parser.add_argument(
        '--labelled', metavar='FILE', help='labels, .gpkg or .csv (default: SAMPLE/points.gpkg)'
    )
    parser.add_argument(
        '--map', dest='of_map', help='assess another map of the same grid with the same labels'
    )
    parser.add_argument(
        '--allow-unlabelled', action='store_true', help='leave out points that have no label'
    )


def run(arguments: argparse.Namespace) -> str:
    """Draw a sample, or write a report from its labels.

    Args:
        arguments: Parsed arguments.

    Returns:
        Text to print.

    Raises:
        CrossEarthError: Printed by the command line as one line.
    """
    return _sample(arguments) if arguments.action == 'sample' else _report(arguments)


def _sample(arguments: argparse.Namespace) -> str:
    from crossearth.assessment import SampleSize, draw_sample

    size = {
        name: getattr(arguments, name)
        for name in ('n', 'standard_error', 'least')
        if getattr(arguments, name) is not None
    } | _expected(arguments.expected_accuracy or [])
    if arguments.n is not None and arguments.expected_accuracy is not None:
        raise ConfigError(
            '--expected-accuracy and --n cannot go together: --n sets the number of pixels itself; '
            'leave out one of them'
        )
    if arguments.edges is not None and arguments.confidence is None:
        raise ConfigError('--edges splits strata by confidence: pass --confidence with it')
    edges = arguments.edges or [0.8]
    design = draw_sample(
        arguments.map,
        arguments.output,
        size=SampleSize(**size),
        confidence=arguments.confidence,
        edges=edges if arguments.confidence is not None else (),
        scene=arguments.scene,
        labels=None if arguments.labels is None else LABEL_SPACES[arguments.labels],
        nodata=arguments.nodata,
        seed=arguments.seed,
        **({} if arguments.chip_px is None else {'chip_px': arguments.chip_px}),
    )
    drawn = len(design.units)
    raised = arguments.n is not None and drawn > arguments.n
    note = (
        f'--n {arguments.n} was raised to {drawn}, so that no stratum has too few pixels (--least)'
    )
    return '\n'.join([*_table(design), *[note] * raised, *_next_steps(Path(arguments.output))])


def _expected(words: Sequence[str]) -> dict[str, Any]:
    """Turn words such as `0.85 road=0.6` into arguments of `SampleSize`."""
    single: dict[str, float] = {}
    found: dict[str, Any] = {'expected_of': single}
    for word in words:
        # at the last equals sign, because names of classes may hold one
        name, equals, number = word.rpartition('=')
        try:
            value = float(number)
        except ValueError as error:
            raise ConfigError(
                f'--expected-accuracy {word}: expected a number from 0 to 1, such as 0.85 or '
                'road=0.6'
            ) from error
        if equals:
            single[name] = value
        else:
            found['expected_accuracy'] = value
    return found


def _table(design: 'Design') -> list[str]:
    total = sum(stratum.area_m2 for stratum in design.strata)
    width = max(len('stratum'), *(len(stratum.name) for stratum in design.strata))
    return [
        f'{"stratum":{width}}  {"pixels":>15}  {"area km²":>12}  {"share":>7}  {"drawn":>6}',
        *(
            f'{stratum.name:{width}}  {stratum.pixels:15,}  {stratum.area_m2 / 1e6:12,.4f}  '
            f'{stratum.area_m2 / total:7.2%}  {drawn:6}'
            for stratum, drawn in zip(design.strata, design.drawn(), strict=True)
        ),
        f'{"all":{width}}  {sum(stratum.pixels for stratum in design.strata):15,}  '
        f'{total / 1e6:12,.4f}  {1:7.2%}  {len(design.units):6}',
    ]


def _next_steps(folder: Path) -> list[str]:
    return [
        f'open {folder / "labelling.qgz"} in QGIS and label the points, or fill in the column '
        f'label of {folder / "points.gpkg"}',
        f'then: crossearth assess report {folder} -o report',
    ]


def _report(arguments: argparse.Namespace) -> str:
    from crossearth.assessment import assess_map, format_assessment, write_report

    found = assess_map(
        arguments.sample,
        labelled=arguments.labelled,
        of_map=arguments.of_map,
        allow_unlabelled=arguments.allow_unlabelled,
    )
    page = write_report(found, arguments.output)
    return f'{format_assessment(found)}\n{page}'
