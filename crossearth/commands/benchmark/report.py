"""`crossearth benchmark report`: a page, tables and figures of what was run."""

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
        'Write a page that opens without a network, and its tables (CSV, LaTeX) and figures (PDF, '
        'PNG) as files. Pictures need the archives and label maps: keep maps with '
        '--save-predictions when you run or score.'
    )
    parser.add_argument(
        'folder', type=Path, nargs='?', default=OUTPUT, help=f'output of run ({OUTPUT})'
    )
    parser.add_argument(
        '-o', '--output', type=Path, default=_REPORT, metavar='DIR', help=f'folder ({_REPORT})'
    )
    parser.add_argument('--title', default='Benchmark report', help='heading of the page')
    parser.add_argument('--baseline', default='rein', help='method to compare with (rein)')
    parser.add_argument(
        '--predictions',
        type=Path,
        metavar='DIR',
        help='folder that was given to --save-predictions (predictions in the output of run)',
    )
    add_root(parser, required=False)


def run(arguments: argparse.Namespace) -> str:
    """The scores, and where the report was written.

    Raises:
        CrossEarthError: If there are no results, or the folder holds something else.
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
    """As `run`, with the images of domains from `open_images`; None where it knows none."""
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
