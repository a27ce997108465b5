"""Images below a folder, found by their file extensions."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from crossearth.errors import SceneNotFoundError
from crossearth.folders import walk

__all__ = ['RasterFile', 'list_rasters', 'natural_key', 'rasters_below', 'unpacking']

_ENDINGS = frozenset({'.tif', '.tiff', '.png', '.jpg', '.jpeg', '.webp', '.jp2', '.vrt'})


class RasterFile(NamedTuple):
    """A file below a folder; plain strings, because there may be a hundred thousand of them.

    Args:
        below: The folders in between.
        stem: Name without the extension.
        path: Path of the file.
    """

    below: tuple[str, ...]
    stem: str
    path: str

    @property
    def name(self) -> str:
        """Path below the folder, with `/`."""
        return '/'.join((*self.below, os.path.basename(self.path)))  # noqa: PTH119  # once a file


def list_rasters(folder: str | os.PathLike[str]) -> list[Path]:
    """Images below a folder, by their extensions in any case, in the order of their names.

    Raises:
        SceneNotFoundError: If the folder is missing or holds no images.
    """
    return [Path(file.path) for file in rasters_below(folder)]


def rasters_below(folder: str | os.PathLike[str]) -> list[RasterFile]:
    """The same as `list_rasters`, with the parts of their names.

    Raises:
        SceneNotFoundError: If the folder is missing or holds no images.
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
    """The command that unpacks a zip given as a folder, or inside one; empty without a zip."""
    zips = [root] if root.is_file() and root.suffix.lower() == '.zip' else []
    if root.is_dir():
        zips = sorted(path for path in root.iterdir() if path.suffix.lower() == '.zip')
    if not zips:
        return ''
    commands = ' && '.join(f"unzip -q '{path}' -d '{path.with_suffix('')}'" for path in zips)
    return f'. Images are not read inside zip files: {commands}'


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts `area2` before `area10`.

    Example:
        >>> sorted(['area10', 'area2'], key=natural_key)
        ['area2', 'area10']
        >>> natural_key('5²10')  # int() does not read superscripts
        [(-1, ''), (5, ''), (-1, '²'), (10, ''), (-1, '')]
    """
    return [
        (int(part), '') if part.isdecimal() else (-1, part) for part in re.split(r'(\d+)', name)
    ]
