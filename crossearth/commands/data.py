"""The command line of the archives: `crossearth data list | info | check`."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from crossearth.errors import ConfigError, SceneError

if TYPE_CHECKING:
    from crossearth.datasets.archive import Archive

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to a parser of their own."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    actions.add_parser('list', help='every archive that can be read')
    info = actions.add_parser('info', help='what one holds, its terms, and how to get it')
    info.add_argument('name', help='name from the list')
    check = actions.add_parser('check', help='what a copy lacks, or has wrong')
    check.add_argument('name', help='name from the list')
    check.add_argument('root', help='folder of the copy')
    check.add_argument(
        '--set',
        dest='options',
        metavar='NAME=VALUE',
        action='append',
        default=[],
        help='argument of the class, such as bands=irrg or label_decode=exact',
    )
    check.add_argument('--no-masks', action='store_true', help='do not read the labels: seconds')


def run(arguments: argparse.Namespace, *, say: Callable[[str], None] = print) -> None:
    """Do what the arguments ask for.

    Args:
        arguments: As parsed.
        say: Where lines go.

    Raises:
        ConfigError: If there is no such archive, or an option is none of it.
        SceneError: If a copy needs mending; after every finding was told.
    """
    from crossearth.datasets.check import ARCHIVES, check_archive

    by_name = {dataset.archive.name: dataset for dataset in ARCHIVES}
    if arguments.action == 'list':
        for archive in (dataset.archive for dataset in ARCHIVES):
            say(f'{archive.name:21} {archive.title}')
        return
    if arguments.name not in by_name:
        raise ConfigError(
            f'{arguments.name}: no such archive; expected one of {", ".join(by_name)}'
        )
    dataset = by_name[arguments.name]
    if arguments.action == 'info':
        _tell(dataset.archive, say)
        return
    findings = check_archive(
        dataset,
        arguments.root,
        options=dict(_option(word) for word in arguments.options),
        read_masks=not arguments.no_masks,
        progress=True,
    )
    for finding in findings:
        say(f'{"!" if finding.wrong else " "} {finding.part}: {finding.text}')
    wrong = sum(finding.wrong for finding in findings)
    if wrong:
        raise SceneError(f'{arguments.root}: {wrong} finding(s) to mend, marked !')


def _tell(archive: 'Archive', say: Callable[[str], None]) -> None:
    say(f'{archive.name}: {archive.title}')
    for part in archive.parts:
        options = ', '.join(f'{name}={value}' for name, value in part.options.items())
        count = f'{part.images} images' if part.images else 'images'
        chips = f', {part.chips(archive.chip_px)} chips of {archive.chip_px}' if part.images else ''
        say(f'  {options}: {count}{chips}{"" if part.labelled else ", no labels"}')
    pixel = 'varies' if archive.gsd_m is None else f'{archive.gsd_m} m'
    for name, text in (
        ('pixel', pixel),
        ('georeferencing', archive.georeferencing),
        ('licence', archive.licence),
        ('cite', archive.citation),
        ('page', archive.url),
        ('to get it', archive.how_to_get),
    ):
        say(f'{name}: {text}')


def _option(word: str) -> tuple[str, str]:
    name, sign, value = word.partition('=')
    if not sign:
        raise ConfigError(f'--set {word}: expected NAME=VALUE, such as bands=irrg')
    return name, value
