"""`crossearth benchmark methods`: what can be trained."""

import argparse

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:  # as of every action
    """Declare what the action takes: nothing."""


def run(arguments: argparse.Namespace) -> str:  # noqa: ARG001  # as of every action
    """A line for each method."""
    from crossearth.benchmark import METHODS

    return '\n'.join(f'{method.name:21} {method.title}' for method in METHODS.values())
