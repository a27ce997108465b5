"""World files: six numbers next to an image that state where its pixels lie."""

import math
import os
from collections.abc import Collection
from pathlib import Path

from affine import Affine

from crossearth.errors import SceneError

__all__ = ['find_world_file', 'read_world_file']


def read_world_file(path: str | os.PathLike[str]) -> Affine:
    r"""The transform that a world file states, `(col, row)` from pixel corners → `(x, y)`.

    GDAL reads world files, too, but not if its directory listing is switched off
    (`GDAL_DISABLE_READDIR_ON_OPEN=EMPTY_DIR`, which torchgeo sets). The file states the *centre* of
    the first pixel; the transform counts from its corner. Numbers are read as float64.

    Args:
        path: Text of six numbers, one per line: A, D, B, E, C, F of the ESRI convention.

    Raises:
        SceneError: If the file does not hold six numbers, or they span no area.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, 'a.tfw')
        ...     _ = path.write_text('0.05\n0\n0\n-0.05\n366676.025\n5808299.975\n')
        ...     read_world_file(path) @ (0, 0)
        (366676.0, 5808300.0)
    """
    # Some writers begin with a byte order mark, or add another line after the six.
    words = Path(path).read_bytes().removeprefix(b'\xef\xbb\xbf').decode('latin-1').split()
    try:
        # some programs write decimal commas
        a, d, b, e, x, y = (float(word.replace(',', '.')) for word in words[:6])
    except ValueError as error:
        raise SceneError(
            f'{os.fspath(path)}: holds {len(words)} words, expected the six numbers of a world '
            'file: fetch it again, or remove it to read the image without coordinates'
        ) from error
    if not all(map(math.isfinite, (a, b, d, e, x, y))) or a * e == b * d:
        raise SceneError(f'{os.fspath(path)}: its pixels have no area; fetch the file again')
    centre = Affine(a, b, x, d, e, y)
    return centre @ Affine.translation(-0.5, -0.5)


def find_world_file(image: str | os.PathLike[str], names: Collection[str]) -> Path | None:
    """The world file of an image among the files of its folder.

    Args:
        image: Path of the image.
        names: Names of the files in its folder.

    Returns:
        `a.tfw`, `a.tifw` or `a.wld` for `a.tif`, by the rule of first and last letter, in lower or
        upper case; None if there is none.
    """
    stem, dot, letters = os.path.basename(image).rpartition('.')  # noqa: PTH119  # called once a file
    if not dot or not letters:
        return None
    letters = letters.lower()
    for ending in (f'{letters[0]}{letters[-1]}w', f'{letters}w', 'wld'):
        for name in (f'{stem}.{ending}', f'{stem}.{ending.upper()}'):
            if name in names:
                return Path(image).with_name(name)
    return None
