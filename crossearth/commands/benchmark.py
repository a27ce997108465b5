"""The command line of the benchmark: `crossearth benchmark list | show`."""

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from crossearth.errors import ConfigError

if TYPE_CHECKING:
    from crossearth.benchmark import Setting

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to a parser of their own."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    actions.add_parser('list', help='every setting, with what the paper reports')
    show = actions.add_parser('show', help='one setting in full')
    show.add_argument('name', help="abbreviation from the list, such as 'P(i)2V'")


def run(arguments: argparse.Namespace, *, say: Callable[[str], None] = print) -> None:
    """Do what the arguments ask for.

    Args:
        arguments: As parsed.
        say: Where lines go.

    Raises:
        ConfigError: If there is no such setting.
    """
    from crossearth.benchmark import SETTINGS

    if arguments.action == 'list':
        _list(SETTINGS.values(), say)
        return
    if arguments.name not in SETTINGS:
        raise ConfigError(
            f'{arguments.name}: no such setting; expected one of {", ".join(SETTINGS)}'
        )
    _show(SETTINGS[arguments.name], say)


def _list(settings: Iterable['Setting'], say: Callable[[str], None]) -> None:
    say(
        f'{"setting":9} {"gap":16} {"source":18} {"target":18} {"train":>6} {"test":>6}  CrossEarth'
    )
    for setting in settings:
        say(
            f'{setting.name:9} {setting.gap:16} {setting.source.name:18} '
            f'{setting.target.name:18} {setting.n_train:6} {setting.n_test:6}  '
            f'{setting.reported["CrossEarth"].miou:.1f} {setting.metric}'
        )


def _show(setting: 'Setting', say: Callable[[str], None]) -> None:
    labels = setting.source.labels
    say(f'{setting.name}: {setting.source.name} -> {setting.target.name}, gap {setting.gap}')
    say(f'chips of {setting.chip_px}: {setting.n_train} to train, {setting.n_test} images to test')
    say(f'classes of {labels.name}: {", ".join(labels.classes)}; score: {setting.metric}')
    for name, masking in (('styled', setting.styled), ('masked', setting.masked)):
        say(f'{name} image: tau {masking.tau}, patches of {masking.patch_px} px')
    say(f'loss of the masked flow: {setting.mim_loss}')
    say(f'released checkpoints: {", ".join(setting.checkpoints) or "none"}')
    say('published, in percent:')
    for method, result in setting.reported.items():
        classes = ', '.join(f'{name} {iou:.1f}' for name, iou in result.per_class.items())
        say(f'  {method:10} {result.miou:5.1f}  {classes}'.rstrip())
    for note in setting.notes:
        say(f'note: {note}')
