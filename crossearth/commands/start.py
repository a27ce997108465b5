"""`crossearth start`: inspects your images and masks, and writes a recipe for them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.commands.seeing import add_alpha
from crossearth.errors import ConfigError

if TYPE_CHECKING:
    from crossearth.survey import Domain

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = (
        'Inspect images and their labels, report what they are, and write a recipe that trains on '
        'them. It asks no questions: it prints each assumption and the line that changes it.'
    )
    parser.add_argument('images', help='folder of the images of one place')
    parser.add_argument(
        'labels',
        nargs='?',
        metavar='MASKS|VECTORS',
        help='folder of the masks, or a vector file (default: look for masks by their names, in '
        'the folder of the images and below)',
    )
    parser.add_argument(
        '--unseen',
        action='append',
        default=[],
        metavar='NAME=IMAGES[:MASKS]',
        help='another place, tested on if it has masks; may be repeated. Never trained on.',
    )
    parser.add_argument(
        '-o', '--output', default='recipe.yaml', help='recipe to write (default: %(default)s)'
    )
    parser.add_argument(
        '--bands', type=int, nargs='+', help='band numbers from 1 (default: all but alpha)'
    )
    add_alpha(parser)
    parser.add_argument(
        '--ignore',
        type=int,
        nargs='+',
        default=[],
        help='mask values that are not a class (default: none)',
    )
    parser.add_argument(
        '--pretrained',
        metavar='FILE',
        help="weights of the backbone (default: crossearth's own copy of ImageNet weights)",
    )
    parser.add_argument('--quiet', action='store_true', help='show no progress')


def run(arguments: argparse.Namespace) -> None:
    """Print the findings, and write the recipe.

    Raises:
        CrossEarthError: If the images cannot be trained on. The message says why.
    """
    from crossearth.survey import Domain, start

    start(
        Domain('source', arguments.images, arguments.labels),
        [_domain(word) for word in arguments.unseen],
        recipe=arguments.output,
        bands=arguments.bands,
        alpha=arguments.alpha or 'auto',
        pretrained=arguments.pretrained,
        ignore=arguments.ignore,
        say=lambda text: print(text, flush=True),
        progress=not arguments.quiet,
    )


def _domain(word: str) -> 'Domain':
    from crossearth.survey import Domain

    name, sign, paths = word.partition('=')
    if not sign or not name or not paths or name == 'source':
        raise ConfigError(
            f'--unseen {word}: expected NAME=IMAGES or NAME=IMAGES:MASKS, such as '
            'ottawa=other/images:other/masks, with a NAME other than source'
        )
    images, colon, labels = paths.rpartition(':')
    # a path that exists may itself hold a colon
    if not colon or Path(paths).exists():
        return Domain(name, paths)
    return Domain(name, images, labels)
