"""`crossearth benchmark score`: score an existing model."""

import argparse
from pathlib import Path

from crossearth.commands.benchmark.arguments import (
    SETTINGS_HELP,
    add_predictions,
    add_root,
    add_scoring,
    chosen_settings,
    options_of,
)

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.description = (
        'Score a weights file on the targets of settings. The results appear in the same report as '
        'those of benchmark run.'
    )
    parser.add_argument(
        'weights', type=Path, help='.safetensors file from fit, benchmark run or weights convert'
    )
    parser.add_argument('settings', nargs='+', help=SETTINGS_HELP)
    parser.add_argument(
        '--method',
        help='name in the report; crossearth or rein are compared with the paper (default: file '
        'name)',
    )
    add_root(parser)
    add_scoring(parser)
    add_predictions(parser)


def run(arguments: argparse.Namespace) -> str:
    """Score a weights file, and return a table of the results.

    Raises:
        CrossEarthError: If an argument, a file or an archive is wrong. The message says what to do.
    """
    from crossearth.benchmark import Files, score_model
    from crossearth.reports import format_scores, report_data

    results = score_model(
        arguments.weights,
        chosen_settings(arguments),
        options=options_of(arguments, save_predictions=arguments.save_predictions),
        files=Files(data=arguments.root, casid_labels=arguments.casid_labels),
        method=arguments.method,
    )
    return format_scores(report_data(results))
