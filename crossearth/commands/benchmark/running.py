"""`crossearth benchmark run`: train methods on settings and score them."""

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
        'Train each method on the sources of the settings, once per seed, and score it on their '
        'targets. If you stop it, the same command resumes where it stopped.'
    )
    parser.add_argument('settings', nargs='+', help=SETTINGS_HELP)
    parser.add_argument(
        '--method',
        nargs='+',
        metavar='METHOD',
        help='names from `crossearth benchmark methods` (default: crossearth)',
    )
    parser.add_argument(
        '--recipe', type=Path, metavar='FILE', help='your own recipe, instead of a method'
    )
    add_running(parser)
    parser.add_argument(
        '--oracle-every',
        type=int,
        metavar='STEPS',
        help='also score checkpoints this many steps apart, and report the best one on the unseen '
        'domain separately, as an oracle',
    )
    add_predictions(parser)


def run(arguments: argparse.Namespace) -> str:
    """Train and score with progress, and return a table of the results.

    Raises:
        CrossEarthError: If an argument, a file or an archive is wrong. The message says what to do.
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
                f'{", ".join(surplus)} cannot go with --recipe, because a recipe sets these '
                'itself: change them there, or leave them out'
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
