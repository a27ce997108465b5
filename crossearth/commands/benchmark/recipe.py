"""`crossearth benchmark recipe`: the complete recipe of a training run, as YAML."""

import argparse
from pathlib import Path

from crossearth.commands.benchmark.arguments import add_casid, add_files, files_of, tell_or_write
from crossearth.errors import ConfigError

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument('source', nargs='?', help='domain to train on, such as potsdam_irrg')
    parser.add_argument(
        '--method', default='crossearth', help='method to train (default: %(default)s)'
    )
    parser.add_argument(
        '--steps', type=int, help='training steps; the schedule shrinks or grows with them'
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed (default: %(default)s)')
    parser.add_argument(
        '--root', default='data', help='folder of the archives (default: %(default)s)'
    )
    add_files(parser)
    add_casid(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        '--output', type=Path, metavar='FILE', help='file to write (default: print the recipe)'
    )
    where.add_argument(
        '--all', type=Path, metavar='DIR', help='write all published recipes to this folder'
    )


def run(arguments: argparse.Namespace) -> str:
    """The recipe, or a line that says where it was written.

    Raises:
        ConfigError: If no source domain is named, or it does not exist.
    """
    from crossearth.benchmark import Variation, format_recipe, recipe_files, write_whole

    if arguments.all is not None:
        texts = recipe_files()
        for name, text in texts.items():
            write_whole(arguments.all / name, text)
        return f'{arguments.all}: {len(texts)} recipes'
    if arguments.source is None:
        raise ConfigError(
            'no domain to train on was named: name one, such as potsdam_irrg, or write all recipes '
            'with --all DIR'
        )
    text = format_recipe(
        arguments.source,
        arguments.method,
        files=files_of(arguments),
        variation=Variation(steps=arguments.steps),
        seed=arguments.seed,
    )
    return tell_or_write(text, arguments.output)
