"""Folders of a user's files: which of them count, and in which order."""

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ['walk']


def walk(root: Path) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Folders below a root and the names of their files, both sorted, without hidden ones.

    Links to folders are followed, except those that lead back to a parent folder.
    """
    above: dict[str, frozenset[tuple[int, int]]] = {}
    for folder, folders, names in os.walk(root, followlinks=True):
        # device and inode identify a folder, whatever links led to it
        about = os.stat(folder)  # noqa: PTH116  # os.walk speaks strings
        own = (about.st_dev, about.st_ino)
        before = above.get(os.path.dirname(folder), frozenset())  # noqa: PTH120  # same
        if own in before:
            folders.clear()
            continue
        above[folder] = before | {own}
        # this folder of zip files from macOS holds metadata under the names of the images
        folders[:] = sorted(
            name for name in folders if not name.startswith('.') and name != '__MACOSX'
        )
        below = Path(os.path.relpath(folder, root)).parts  # empty for the root itself
        yield below, sorted(name for name in names if not name.startswith('.'))
