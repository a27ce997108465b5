"""`crossearth benchmark run`: train methods on settings, and score them."""

import argparse
from pathlib import Path

from crossearth.commands.benchmark.arguments import (
    PARTS,
    SETTINGS_HELP,
    add_predictions,
    add_running,
    chosen_settings,
    files_of,
    options_of,
    seeds_of,
)
from crossearth.errors import ConfigError

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.description = (
        'Train each method on the sources of some settings, once for each seed, and score it on '
        'their targets. The same command continues where it was stopped.'
    )
    parser.add_argument('settings', nargs='+', help=SETTINGS_HELP)
    parser.add_argument(
        '--method',
        nargs='+',
        metavar='METHOD',
        help='names from `crossearth benchmark methods` (crossearth)',
    )
    parser.add_argument(
        '--recipe', type=Path, metavar='FILE', help='a recipe of your own, in place of a method'
    )
    add_running(parser)
    parser.add_argument(
        '--oracle-every',
        type=int,
        metavar='STEPS',
        help='score checkpoints that many steps apart too, and report the best on the unseen '
        'domain as oracle, apart from the last',
    )
    add_predictions(parser)


def run(arguments: argparse.Namespace) -> str:
    """Train and score, and report while it runs; a table of the results.

    Raises:
        CrossEarthError: If an argument, a file or an archive is wrong; says what to do.
    """
    from crossearth.benchmark import Variation, run_benchmark
    from crossearth.reports import format_scores, report_data

    if arguments.recipe is not None:
        surplus = [
            f'--{name.replace("_", "-")}'
            for name in ('method', 'steps', 'train_batch_size', *PARTS)
            if getattr(arguments, name) is not None
        ]
        if surplus:
            raise ConfigError(
                f'{", ".join(surplus)} with --recipe: a recipe of your own specifies that; '
                'change it there, or leave one of them out'
            )
    results = run_benchmark(
        chosen_settings(arguments),
        options=options_of(
            arguments,
            checkpoint_every=arguments.checkpoint_every,
            processes=arguments.processes,
            ray=arguments.ray,
            oracle_every=arguments.oracle_every,
            save_predictions=arguments.save_predictions,
        ),
        files=files_of(arguments),
        methods=arguments.method or ['crossearth'],
        seeds=seeds_of(arguments),
        variation=Variation(steps=arguments.steps, batch_size=arguments.train_batch_size),
        recipe=arguments.recipe,
    )
    return format_scores(report_data(results))
