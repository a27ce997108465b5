"""Images below a folder, found by the endings of their names."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from crossearth.errors import SceneNotFoundError

__all__ = ['RasterFile', 'list_rasters', 'natural_key', 'rasters_below', 'unpacking', 'walk']

_ENDINGS = frozenset({'.tif', '.tiff', '.png', '.jpg', '.jpeg', '.webp', '.jp2', '.vrt'})


class RasterFile(NamedTuple):
    """A file below a folder; plain strings, for a folder may hold a hundred thousand.

    Args:
        below: The folders between.
        stem: Its name without the ending.
        path: Its path.
    """

    below: tuple[str, ...]
    stem: str
    path: str

    @property
    def name(self) -> str:
        """Its path below the folder, with `/`."""
        return '/'.join((*self.below, os.path.basename(self.path)))  # noqa: PTH119  # once a file


def list_rasters(folder: str | os.PathLike[str]) -> list[Path]:
    """Images below a folder, by their endings in any case, in the order of their names.

    Raises:
        SceneNotFoundError: If the folder is missing or holds no image.
    """
    return [Path(file.path) for file in rasters_below(folder)]


def rasters_below(folder: str | os.PathLike[str]) -> list[RasterFile]:
    """The same with the parts of their names.

    Raises:
        SceneNotFoundError: If the folder is missing or holds no image.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SceneNotFoundError(f'{root}: no such folder; check the path{unpacking(root)}')
    files = []
    for below, names in walk(root):
        place = root.joinpath(*below)
        for name in names:
            stem, ending = os.path.splitext(name)  # noqa: PTH122  # called once a file
            if ending.lower() in _ENDINGS:
                files.append(((*below, name), RasterFile(below, stem, f'{place}{os.sep}{name}')))
    if not files:
        raise SceneNotFoundError(
            f'{root}: holds no images; expected files ending in {", ".join(sorted(_ENDINGS))}'
            f'{unpacking(root)}'
        )
    return [file for _, file in sorted(files)]


def unpacking(root: Path) -> str:
    """The command that unpacks a zip given as a folder, or lying in one; empty without a zip."""
    zips = [root] if root.is_file() and root.suffix.lower() == '.zip' else []
    if root.is_dir():
        zips = sorted(path for path in root.iterdir() if path.suffix.lower() == '.zip')
    if not zips:
        return ''
    commands = ' && '.join(f"unzip -q '{path}' -d '{path.with_suffix('')}'" for path in zips)
    return f'. Images are not read inside zip files: {commands}'


def walk(root: Path) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Folders below a root and the names of their files, both sorted, hidden ones left out.

    Links to folders are followed, except those that lead back to a folder above.
    """
    above: dict[str, frozenset[tuple[int, int]]] = {}
    for folder, folders, names in os.walk(root, followlinks=True):
        about = os.stat(folder)  # noqa: PTH116  # os.walk speaks strings
        own = (about.st_dev, about.st_ino)
        before = above.get(os.path.dirname(folder), frozenset())  # noqa: PTH120  # same
        if own in before:
            folders.clear()
            continue
        above[folder] = before | {own}
        folders[:] = sorted(
            name for name in folders if not name.startswith('.') and name != '__MACOSX'
        )
        below = Path(os.path.relpath(folder, root)).parts  # none for the root itself
        yield below, sorted(name for name in names if not name.startswith('.'))


def natural_key(name: str) -> list[tuple[int, str]]:
    """Order in which `area2` comes before `area10`.

    Example:
        >>> sorted(['area10', 'area2'], key=natural_key)
        ['area2', 'area10']
    """
    return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', name)]
