"""What `crossearth benchmark` can do, one module for each action."""

import argparse

from crossearth.commands.benchmark import (
    listing,
    methods,
    recipe,
    report,
    running,
    score,
    show,
    sweep,
)
from crossearth.commands.benchmark.arguments import module_folders
from crossearth.commands.importing import importable

__all__ = ['add_arguments', 'run']

_ACTIONS = {
    'list': (listing, 'every setting, with what the paper reports'),
    'show': (show, 'one setting in full'),
    'methods': (methods, 'what can be trained: the paper, baselines, ablations'),
    'recipe': (recipe, 'the complete recipe of a training run, as YAML'),
    'run': (running, 'train and score settings'),
    'score': (score, 'score a model that is there, such as a converted release'),
    'report': (report, 'a table of what was run, compared with the paper'),
    'sweep': (sweep, 'vary the share and side of masked patches, as Tables 11 and 12 do'),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what each action takes."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    for name, (action, text) in _ACTIONS.items():
        action.add_arguments(actions.add_parser(name, help=text))


def run(arguments: argparse.Namespace) -> str | None:
    """Do what the arguments ask for, and return what is to be printed.

    Raises:
        CrossEarthError: If an argument, a file or an archive is wrong; says what to do.
    """
    action, _ = _ACTIONS[arguments.action]
    with importable(module_folders(arguments)):
        answer: str | None = action.run(arguments)
    return answer
