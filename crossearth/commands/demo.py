"""`crossearth demo`: the whole workflow on generated data."""

import argparse

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        '--output', default='crossearth-demo', help='folder for everything (default: %(default)s)'
    )
    parser.add_argument(
        '--quick', action='store_true', help='use fewer steps and scenes, for weaker models'
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='random seed; the same seed gives the same numbers (default: %(default)s)',
    )


def run(arguments: argparse.Namespace) -> None:
    """Run the demo and print its progress.

    Raises:
        ConfigError: If the output is a file, or a folder that holds anything but a demo.
    """
    from tqdm.auto import tqdm

    from crossearth.demo import run_demo

    run_demo(
        arguments.output,
        quick=arguments.quick,
        seed=arguments.seed,
        # tqdm's own writer, so that lines and progress bars do not break each other
        say=lambda line: tqdm.write(line),
    )
