"""`crossearth benchmark list`: one line per setting."""

import argparse

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:  # every action has this function
    """Declare no arguments; the action takes none."""


def run(arguments: argparse.Namespace) -> str:  # noqa: ARG001  # every action has this signature
    """One line per setting."""
    from crossearth.benchmark import SETTINGS

    head = (
        f'{"setting":9} {"gap":16} {"source":18} {"target":18} {"train":>6} {"test":>6}  CrossEarth'
    )
    lines = [
        f'{setting.name:9} {setting.gap:16} {setting.source.name:18} '
        f'{setting.target.name:18} {setting.n_train:6} {setting.n_test:6}  '
        f'{setting.reported["CrossEarth"].miou:.1f} {setting.metric}'
        for setting in SETTINGS.values()
    ]
    return '\n'.join([head, *lines])
