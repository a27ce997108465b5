"""Makes the user's modules importable, next to a file that names them or in the working folder."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ['importable']


@contextmanager
def importable(folders: Sequence[str]) -> Iterator[Sequence[str]]:
    """Makes modules in the folders importable; installed packages of the same name come first."""
    added = [folder for folder in folders if folder not in sys.path]
    sys.path.extend(added)
    try:
        yield folders
    finally:
        for folder in added:
            sys.path.remove(folder)
