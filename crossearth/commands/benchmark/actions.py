"""The actions of `crossearth benchmark`, one module each."""

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
    'list': (listing, 'list every setting with the scores of the paper'),
    'show': (show, 'show one setting in full'),
    'methods': (methods, 'list what can be trained: the paper, baselines, ablations'),
    'recipe': (recipe, 'print the complete recipe of a training run, as YAML'),
    'run': (running, 'train and score on settings'),
    'score': (score, 'score an existing model, such as a converted release'),
    'report': (report, 'tabulate results and compare them with the paper'),
    'sweep': (sweep, 'vary the share and side of masked patches, as in Tables 11 and 12'),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of each action."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    for name, (action, text) in _ACTIONS.items():
        sentence = f'{text[0].upper()}{text[1:]}.'
        action.add_arguments(actions.add_parser(name, help=text, description=sentence))


def run(arguments: argparse.Namespace) -> str | None:
    """Run the action and return the text to print.

    Raises:
        CrossEarthError: If an argument, a file or an archive is wrong. The message says what to do.
    """
    action, _ = _ACTIONS[arguments.action]
    with importable(module_folders(arguments)):
        answer: str | None = action.run(arguments)
    return answer
