"""`crossearth demo`: the whole story on generated data."""

import argparse

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument('--output', default='crossearth-demo', help='folder for everything')
    parser.add_argument(
        '--quick', action='store_true', help='fewer steps and scenes, weaker models'
    )
    parser.add_argument('--seed', type=int, default=0, help='same seed, same numbers')


def run(arguments: argparse.Namespace) -> None:
    """Run the demo, and report while it runs.

    Raises:
        ConfigError: If the output is a file, or a folder that holds other things than a demo.
    """
    from tqdm.auto import tqdm

    from crossearth.demo import run_demo

    run_demo(
        arguments.output,
        quick=arguments.quick,
        seed=arguments.seed,
        say=lambda line: tqdm.write(line),
    )
