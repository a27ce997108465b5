"""Pictures in folders, as a source of styles."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from crossearth.describing import arguments_of, plural
from crossearth.errors import ConfigError, SceneError, SceneNotFoundError
from crossearth.folders import walk

__all__ = ['StyleImageFolder', 'read_picture']

# Pillow's limit of pixels is global, so threads must not restore it for one another.
_ONE_AT_A_TIME = threading.Lock()
_SUFFIXES = frozenset({'.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'})


class StyleImageFolder(Dataset[Tensor]):
    """The pictures under a folder, all resized to one size, as a source of styles.

    Args:
        folder: Searched with all its subfolders, also linked ones, for bmp, jpeg, png, tiff and
            webp files of 8 bits. Hidden files and what macOS adds to zip files are left out.
        side_px: The shorter side is resized to this, with antialiasing, and the middle square is
            cut out. The scale of textures is part of a style; the style networks were trained at
            256.

    Raises:
        SceneNotFoundError: If the folder does not exist or holds no pictures.
        ConfigError: If `side_px` is not positive.
        SceneError: When an item is read, if it is damaged or has more than 8 bits per band.
    """

    def __init__(self, folder: Path | str, *, side_px: int = 256) -> None:
        _check_side(side_px)
        self.folder = Path(folder)
        self.side_px = side_px
        self.paths = sorted(
            path
            for below, names in walk(self.folder)
            for path in (self.folder.joinpath(*below, name) for name in names)
            if path.suffix.lower() in _SUFFIXES
        )
        if not self.paths:
            raise SceneNotFoundError(
                f'{folder} does not exist or holds no pictures: expected a folder with '
                f'{", ".join(sorted(_SUFFIXES))} files'
            )

    def __repr__(self) -> str:
        return f'{type(self).__name__}({arguments_of(self)}: {plural(len(self), "picture")})'

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> UInt8[Tensor, '3 s s']:
        """A picture in red, green, blue."""
        return read_picture(self.paths[index], side_px=self.side_px)


def read_picture(path: Path, *, side_px: int) -> UInt8[Tensor, '3 s s']:
    """The middle square of a picture, resized with antialiasing, in red, green, blue.

    Args:
        path: A file of 8 bits per band that Pillow reads.
        side_px: Side of the square, to which the picture's shorter side is resized.

    Raises:
        SceneNotFoundError: If the file does not exist.
        ConfigError: If `side_px` is not positive.
        SceneError: If it is damaged or has more than 8 bits per band.
    """
    _check_side(side_px)
    try:
        with _opened(path) as picture:
            if picture.mode.startswith(('I', 'F')):
                raise SceneError(
                    f'{path} has more than 8 bits per band ({picture.mode}): scale it to 8 bits '
                    'first, as for display'
                )
            width, height = picture.size
            factor = side_px / min(width, height)
            size = (max(round(width * factor), 1), max(round(height * factor), 1))
            # JPEG is decoded at a half, quarter or eighth if that leaves detail to average
            picture.draft(None, (2 * size[0], 2 * size[1]))
            resized = picture.convert('RGB').resize(size, Image.Resampling.BILINEAR)
    except FileNotFoundError as error:
        raise SceneNotFoundError(f'{path} is not there') from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise SceneError(
            f'{path} is damaged or not a picture ({error}): replace or remove it'
        ) from error
    left, top = ((length - side_px) // 2 for length in resized.size)
    square = resized.crop((left, top, left + side_px, top + side_px))
    # Copied, because Pillow's own memory is read-only.
    return torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)


def _check_side(side_px: int) -> None:
    if side_px < 1:
        raise ConfigError(f'side_px is {side_px}: expected at least 1 pixel')


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture of any size.

    Pillow rejects more than 179 megapixels as a possible attack. Scenes of the Earth have more
    (Million-AID up to 1003), and the folder is the user's own.
    """
    with _ONE_AT_A_TIME:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with picture:
        yield picture
