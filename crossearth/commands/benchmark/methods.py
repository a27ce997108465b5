"""`crossearth benchmark methods`: list what can be trained."""

import argparse

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:  # every action has this function
    """Declare no arguments; the action takes none."""


def run(arguments: argparse.Namespace) -> str:  # noqa: ARG001  # every action has this signature
    """One line per method."""
    from crossearth.benchmark import METHODS

    return '\n'.join(f'{method.name:21} {method.title}' for method in METHODS.values())
