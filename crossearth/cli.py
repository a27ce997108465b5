"""The command line: `crossearth start | demo | fit | validate | test | predict | vectorize | …`.

This module only dispatches. Each command is a module of `crossearth.commands`, which is imported
when the command is used, so that `--help` is instant.
"""

import argparse
import os
import re
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from typing import NoReturn

from crossearth import __version__
from crossearth.commands import training
from crossearth.errors import CrossEarthError
from crossearth.spelling import did_you_mean

__all__ = ['main']

_COMMANDS = {
    'start': 'inspect your images and write a training recipe for them',
    'demo': 'train, compare and map on generated data, end to end',
    'predict': 'map scenes with a trained model',
    'gsd': 'estimate the ground sampling distance of scenes',
    'adapt': 'adapt a model to unlabelled scenes',
    'calibrate': 'measure how far a model can trust its confidence, and save that in its file',
    'sieve': 'merge small regions of a map into their neighbours',
    'mosaic': 'merge overlapping maps into one',
    'catalog': 'describe a folder of maps as a STAC catalogue',
    'vectorize': 'turn a map into polygons, or its roads into lines',
    'view': 'look at a map over its scene, in the browser',
    'export': 'write a model as ONNX, for the QGIS plugin Deepness',
    'assess': 'estimate the accuracy of a map and the areas of its classes from labelled pixels',
    'style': 'fit styles to a folder of pictures, and preview them',
    'data': 'list published archives, and check what a copy lacks',
    'models': 'list every model with its parts and its size',
    'weights': 'convert weights files, or show what they hold',
    'benchmark': 'run the settings of the RSDG benchmark',
    'experiment': 'compare methods over your own domains and several seeds',
    'info': 'print versions and devices, for bug reports',
    'completion': 'print a script that completes commands and options in the shell',
}


_STOPPED_READING = 141  # what shells give for SIGPIPE


class _Parser(argparse.ArgumentParser):
    """A parser whose errors name the nearest of the words that there are.

    Parsers of commands and of their actions are of this class too, as argparse makes them so.
    """

    def error(self, message: str) -> NoReturn:
        given = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if given is not None:
            message += did_you_mean(given[1], re.findall(r"'([^']+)'", given[2]))
        unknown = re.search(r'unrecognized arguments: (--[^ =]+)', message)
        if unknown is not None:
            message += did_you_mean(unknown[1], _options(self))
        super().error(message)


def _options(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a parser and of those below it."""
    found = set(parser._option_string_actions)
    for action in parser._actions:  # argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):
            found.update(*map(_options, action.choices.values()))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Errors of this library become one line and exit status 2.

    Args:
        argv: Words after the program's name; None for those of this process.

    Returns:
        Exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        report = _dispatch(words)
        if report is not None:
            print(report)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _STOPPED_READING
    except (CrossEarthError, OSError) as error:
        print(f'crossearth: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('crossearth: interrupted; files that were not finished are removed', file=sys.stderr)
        return 130
    return 0


def _dispatch(words: list[str]) -> str | None:
    """Run the command that the words name, and return what it wants printed."""
    # Lightning's parser reads these words itself, see `commands.training`
    if words and words[0] in training.HELP:
        training.run(argparse.Namespace(words=words))
        return None
    parser = _parser(words[:1])
    arguments = parser.parse_args(words)
    report: str | None = arguments.run(arguments)
    return report


def _parser(loaded: Collection[str]) -> _Parser:
    """The parser of all commands; only those that are loaded know their arguments."""
    parser = _Parser(
        prog='crossearth',
        description='Segment remote-sensing images in places that have no labels.',
    )
    parser.add_argument('--version', action='version', version=f'crossearth {__version__}')
    choices = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for name, text in training.HELP.items():
        choices.add_parser(name, help=text, add_help=False)
    for name, text in _COMMANDS.items():
        subparser = choices.add_parser(name, help=text, description=f'{text[0].upper()}{text[1:]}.')
        if name in loaded:
            command = import_module(f'crossearth.commands.{name}')
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
            # only completion needs the arguments of all commands, and so imports all of them
            if list(loaded) == ['completion']:
                subparser.set_defaults(parser=_parser(_COMMANDS))
    return parser
