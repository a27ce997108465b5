"""`crossearth data list | info | check`: published archives, and copies of them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from crossearth.archives import ARCHIVES, Archive
from crossearth.commands.importing import importable
from crossearth.errors import ConfigError, SceneError
from crossearth.imports import import_named
from crossearth.spelling import did_you_mean

if TYPE_CHECKING:
    from crossearth.datasets import ArchiveDataset

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    actions.add_parser(
        'list',
        help='list every archive that can be read',
        description='List every archive that can be read.',
    )
    info = actions.add_parser(
        'info',
        help='show the content and terms of one, and how to get it',
        description='Show the content and terms of an archive, and how to get it.',
    )
    info.add_argument('name', help='name from the list, or module:Class of your own')
    check = actions.add_parser(
        'check',
        help='check a copy for missing or damaged files',
        description='Check a copy of an archive for missing or damaged files.',
    )
    check.add_argument('name', help='name from the list, or module:Class of your own')
    check.add_argument('root', help='folder of the copy')
    check.add_argument(
        '--set',
        dest='options',
        metavar='NAME=VALUE',
        action='append',
        default=[],
        help='option of the archive, with a value in YAML, such as bands=irrg or gsd_m=0.5',
    )
    check.add_argument(
        '--headers-only',
        action='store_true',
        help='read only the headers, which takes seconds, and no pixels or labels',
    )


def run(arguments: argparse.Namespace) -> str | None:
    """List archives, describe one, or check a copy.

    Raises:
        ConfigError: If the archive does not exist, or its class does not have the option.
        SceneError: If the copy has errors; raised after all findings were printed.
    """
    if arguments.action == 'list':
        return '\n'.join(f'{archive.name:21} {archive.title}' for archive in ARCHIVES.values())
    if ':' in arguments.name:
        with importable([str(Path.cwd())]):
            dataset = _own_class(arguments.name)
            if arguments.action == 'info':
                return _describe(dataset.archive)
            _check(arguments, dataset)
            return None
    if arguments.name not in ARCHIVES:
        raise ConfigError(
            f'no archive is named {arguments.name!r}: expected one of {", ".join(ARCHIVES)}, or '
            f'module:Class of your own{did_you_mean(arguments.name, ARCHIVES)}'
        )
    if arguments.action == 'info':
        return _describe(ARCHIVES[arguments.name])
    from crossearth.datasets import ARCHIVE_DATASETS

    _check(arguments, ARCHIVE_DATASETS[arguments.name])
    return None


def _own_class(name: str) -> 'type[ArchiveDataset]':
    from crossearth.datasets import ArchiveDataset

    found = import_named(name)
    if not isinstance(found, type) or not issubclass(found, ArchiveDataset):
        raise ConfigError(f'{name}: expected a class that inherits ArchiveDataset')
    return found


def _check(arguments: argparse.Namespace, dataset: 'type[ArchiveDataset]') -> None:
    from crossearth.datasets import check_archive

    findings = check_archive(
        dataset,
        arguments.root,
        options=dict(_option(word) for word in arguments.options),
        headers_only=arguments.headers_only,
        progress=True,
    )
    for finding in findings:
        print(f'{"!" if finding.wrong else " "} {finding.part}: {finding.text}')
    wrong = sum(finding.wrong for finding in findings)
    if wrong:
        raise SceneError(f'{arguments.root}: {wrong} finding(s) to fix, marked !')


def _describe(archive: Archive) -> str:
    lines = [f'{archive.name}: {archive.title}']
    for part in archive.parts:
        options = ', '.join(f'{name}={value}' for name, value in part.options.items())
        count = f'{part.images} images' if part.images else 'images'
        chips = f', {part.chips(archive.chip_px)} chips of {archive.chip_px}' if part.images else ''
        labels = '' if part.labelled else ', no labels'
        lines.append(f'  {options or "whole archive"}: {count}{chips}{labels}')
    pixel = 'varies' if archive.gsd_m is None else f'{archive.gsd_m} m'
    lines += [
        f'{name}: {text}'
        for name, text in (
            ('pixel', pixel),
            ('georeferencing', archive.georeferencing),
            ('licence', archive.licence),
            ('cite', archive.citation),
            ('page', archive.url),
            ('to get it', archive.how_to_get),
        )
    ]
    return '\n'.join(lines)


def _option(word: str) -> tuple[str, Any]:
    name, sign, value = word.partition('=')
    if not sign:
        raise ConfigError(f'--set {word}: expected NAME=VALUE, such as bands=irrg')
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(
            f'--set {word}: the value is not YAML, such as irrg, 0.5, false or [1, 2]'
        ) from error
