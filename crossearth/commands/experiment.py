"""`crossearth experiment run | report`: your domains x methods x seeds, from one YAML file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.commands.benchmark import report
from crossearth.commands.benchmark.arguments import (
    add_predictions,
    add_processes,
    add_scoring,
    options_of,
)
from crossearth.commands.importing import importable

if TYPE_CHECKING:
    from crossearth.datasets import SceneDataset

__all__ = ['add_arguments', 'run']

_OUTPUTS = Path('experiments')
_BASELINE = 'rein'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    running = actions.add_parser('run', help='train and score whatever is not finished yet')
    running.description = (
        'Train every method of an experiment on every source, once per seed, and score it on the '
        'unseen domains. If you stop it, the same command resumes where it stopped. Several '
        'processes may share one output folder.'
    )
    running.add_argument('file', type=Path, help='experiment file (YAML)')
    only = running.add_argument_group('a part of the experiment', 'by default, all of it is run')
    only.add_argument('--sources', nargs='+', metavar='NAME', help='train on these sources only')
    only.add_argument('--methods', nargs='+', metavar='NAME', help='train these methods only')
    only.add_argument('--seeds', nargs='+', type=int, metavar='N', help='train these seeds only')
    add_scoring(running)
    running.set_defaults(output=None)
    running.add_argument(
        '--checkpoint-every',
        type=int,
        metavar='STEPS',
        help='steps between checkpoints (default: as in the experiment, or 1000)',
    )
    running.add_argument(
        '--oracle-every',
        type=int,
        metavar='STEPS',
        help='also score checkpoints this many steps apart, and report the best one on the unseen '
        'domain separately, as an oracle',
    )
    add_processes(running)
    add_predictions(running)
    reporting = actions.add_parser('report', help='write tables and figures of the results')
    report.add_arguments(reporting)
    reporting.set_defaults(baseline=None)


def run(arguments: argparse.Namespace) -> str:
    """Run an experiment or report on one, and return the text to print.

    Raises:
        CrossEarthError: If the file, a dataset or a run is wrong. The message says what to do.
    """
    from crossearth.benchmark import read_experiment, run_experiment
    from crossearth.reports import format_scores, report_data

    if arguments.action == 'report':
        return _report(arguments)
    if arguments.output is None:
        arguments.output = _OUTPUTS / arguments.file.stem
    baseline = read_experiment(arguments.file).baseline  # the file may be edited meanwhile
    with importable([str(arguments.file.resolve().parent), str(Path.cwd())]):
        results = run_experiment(
            arguments.file,
            options_of(
                arguments,
                checkpoint_every=arguments.checkpoint_every,
                oracle_every=arguments.oracle_every,
                processes=arguments.processes,
                ray=arguments.ray,
                save_predictions=arguments.save_predictions,
            ),
            sources=arguments.sources,
            methods=arguments.methods,
            seeds=arguments.seeds,
        )
    return format_scores(report_data(results, baseline=baseline or _BASELINE))


def _report(arguments: argparse.Namespace) -> str:
    """Report on an experiment, with pictures of the images that its file names."""
    from crossearth.benchmark import read_experiment
    from crossearth.benchmark.cases import open_dataset

    copy = arguments.folder / 'experiment.yaml'
    experiment = read_experiment(copy)
    arguments.baseline = arguments.baseline or experiment.baseline or _BASELINE
    tests = {case.name: case.test for run in experiment.runs() for case in run.cases}

    def open_images(domain: str) -> 'SceneDataset | None':
        return open_dataset(tests[domain]) if domain in tests else None

    with importable([str(Path.cwd())]):
        return report.write(arguments, open_images)
