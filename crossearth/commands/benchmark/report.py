"""`crossearth benchmark report`: a page, tables and figures of the results."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.commands.benchmark.arguments import OUTPUT, add_root

if TYPE_CHECKING:
    from crossearth.datasets import SceneDataset

__all__ = ['add_arguments', 'run', 'write']

_REPORT = Path('report')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.description = (
        'Write a page of results that opens without a network, with its tables (CSV, LaTeX) and '
        'figures (PDF, PNG) as files. Pictures need the archives and the label maps, which run and '
        'score keep with --save-predictions.'
    )
    parser.add_argument(
        'folder',
        type=Path,
        nargs='?',
        default=OUTPUT,
        help='output folder of benchmark run (default: %(default)s)',
    )
    parser.add_argument(
        '-o',
        '--output',
        type=Path,
        default=_REPORT,
        metavar='DIR',
        help='folder for the report (default: %(default)s)',
    )
    parser.add_argument(
        '--title', default='Benchmark report', help='heading of the page (default: %(default)s)'
    )
    parser.add_argument(
        '--baseline', default='rein', help='method to compare with (default: %(default)s)'
    )
    parser.add_argument(
        '--predictions',
        type=Path,
        metavar='DIR',
        help='folder of label maps, as given to --save-predictions (default: predictions in the '
        'output folder)',
    )
    add_root(parser, required=False)


def run(arguments: argparse.Namespace) -> str:
    """Write the report, and return the scores and its path.

    Raises:
        CrossEarthError: If there are no results, or the folder holds other files.
    """
    from crossearth.benchmark import Files
    from crossearth.reports import published_images

    files = None
    if arguments.root is not None:
        files = Files(data=arguments.root, casid_labels=arguments.casid_labels)
    return write(arguments, published_images(files))


def write(
    arguments: argparse.Namespace, open_images: 'Callable[[str], SceneDataset | None]'
) -> str:
    """Do what `run` does, with the images of each domain from `open_images`; None if unknown."""
    from crossearth.benchmark import load_results
    from crossearth.reports import find_pictures, format_scores, report_data, write_report

    results = load_results(arguments.folder)
    data = report_data(results, baseline=arguments.baseline)
    pictures = find_pictures(
        results,
        data,
        predictions=arguments.predictions or arguments.folder / 'predictions',
        open_images=open_images,
    )
    page = write_report(data, arguments.output, pictures=pictures, title=arguments.title)
    return f'{format_scores(data)}\n{page}: written'
