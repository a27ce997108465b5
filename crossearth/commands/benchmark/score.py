"""`crossearth benchmark score`: score a model that is there."""

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
        'Score a weights file on the targets of settings. The results stand in the same report as '
        'those of run.'
    )
    parser.add_argument('weights', type=Path, help='.safetensors, of fit, run or weights convert')
    parser.add_argument('settings', nargs='+', help=SETTINGS_HELP)
    parser.add_argument(
        '--method', help='what to call it; crossearth or rein to compare with the paper (file name)'
    )
    add_root(parser)
    add_scoring(parser)
    add_predictions(parser)


def run(arguments: argparse.Namespace) -> str:
    """Score a weights file; a table of the results.

    Raises:
        CrossEarthError: If an argument, a file or an archive is wrong; says what to do.
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
