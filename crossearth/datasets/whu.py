"""WHU Building: roofs of Christchurch from the air, and of East Asia from space."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from affine import Affine
from pyproj import CRS

from crossearth.archives.whu import WHU_BUILDING_AERIAL, WHU_BUILDING_SATELLITE, WHU_TILE_PX
from crossearth.datasets.archive import EITHER_BINARY, ArchiveDataset, Layout, chip_layouts
from crossearth.datasets.scene import Scene
from crossearth.datasets.scene_dataset import PixelType
from crossearth.errors import ConfigError
from crossearth.labels import BUILDING

__all__ = ['WHUBuildingAerial', 'WHUBuildingSatellite']

# Columns and rows of each whole image, in tiles. Their sum, 17388, is that of the archive, and the
# counts of its splits show which is which: 186 x 54 + 67 x 54 train, 69 x 54 = 3726 test. They also
# imply that names are image_number, row by row. The first number is an argument.
_GRIDS = {1: (186, 54), 2: (67, 54), 3: (69, 54)}
_WHOLE_CRS = 'EPSG:3395'
_WHOLE_PIXEL = 0.33957  # units of EPSG:3395, of which 1.2 are a metre on the ground there


class WHUBuildingAerial(ArchiveDataset):
    """WHU Building, aerial.

    The benchmark tests on the official `val` (1036 images); `test` has 2416.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'`, `'val'` or `'test'`.
        dtype: See `SceneDataset`.
        download: Whether to fetch it first, if it is not there. No checksum is published: the CRC
            of each file in the archive is checked instead.
    """

    archive = WHU_BUILDING_AERIAL

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'val', 'test'] = 'train',
        dtype: PixelType = 'native',
        download: bool = False,
    ) -> None:
        layouts = [
            Layout(
                name='original',
                images=rf'(?:.*/)?{split}/image/(?P<name>[^/]+)\.(?:tiff?|png)',
                masks=rf'(?:.*/)?{split}/label/(?P<name>[^/]+)\.(?:tiff?|png)',
                codec=EITHER_BINARY,
                choose=_aerial_files,
            ),
            *chip_layouts(folders=('whu_aerial',), split=split, codec=EITHER_BINARY),
        ]
        super().__init__(
            root,
            layouts,
            labels=BUILDING,
            domain='whu_aerial',
            split=split,
            dtype=dtype,
            download=download,
        )


class WHUBuildingSatellite(ArchiveDataset):
    """WHU Building, Satellite dataset II.

    Each split has a folder of tiles with buildings and one without (`train_no`); both are read.
    Tiles were cut row by row from three images in EPSG:3395, and are named after the image and
    their number in it, `1_165` for the 165th of the first. The tiles do not state the corners of
    these images; if you pass them, every tile is georeferenced again.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'` or `'test'`.
        corners_xy: Upper-left corner of the whole images, by their number, in EPSG:3395; None to
            read tiles without coordinates. Take them from the whole images that the archive holds
            next to the tiles.
        first_number: Number of the first tile of an image, if a copy does not count from 1.
        dtype: See `SceneDataset`.
        gsd_m: See `SceneDataset`; needs `corners_xy`.
        download: True raises an error that explains how to get the archive, which has no link.

    Raises:
        ConfigError: If `corners_xy` lacks an image, or a tile's number is outside its image.
    """

    archive = WHU_BUILDING_SATELLITE

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'test'] = 'train',
        corners_xy: Mapping[int, tuple[float, float]] | None = None,
        first_number: Literal[0, 1] = 1,
        dtype: PixelType = 'native',
        gsd_m: float | None = None,
        download: bool = False,
    ) -> None:
        self._corners_xy, self._first_number = corners_xy, first_number
        layouts = [
            Layout(
                name='original',
                images=rf'(?:.*/)?(?P<part>{split}(?:_no)?)/image/(?P<name>[^/]+)\.(?:tiff?|png)',
                masks=rf'(?:.*/)?(?P<part>{split}(?:_no)?)/label/(?P<name>[^/]+)\.(?:tiff?|png)',
                codec=EITHER_BINARY,
                choose=_satellite_files,
            ),
            *chip_layouts(folders=('whu_satellite',), split=split, codec=EITHER_BINARY),
        ]
        super().__init__(
            root,
            layouts,
            labels=BUILDING,
            domain='whu_satellite2',
            split=split,
            dtype=dtype,
            gsd_m=gsd_m,
            download=download,
        )

    def _place(self, scene: Scene) -> Scene:
        if self._corners_xy is None:
            return scene
        image, row, col = tile_place(scene.image, first_number=self._first_number)
        if image not in self._corners_xy:
            raise ConfigError(f'{scene.image}: corners_xy has no image {image}: add its corner')
        x, y = self._corners_xy[image]
        corner = Affine(_WHOLE_PIXEL, 0, x, 0, -_WHOLE_PIXEL, y)
        return scene.at(
            CRS.from_user_input(_WHOLE_CRS),
            corner @ Affine.translation(col * WHU_TILE_PX, row * WHU_TILE_PX),
        )


def _place_of(path: str) -> tuple[str, bool] | None:
    """The folder above the split of a tile, and whether the split is one of tiles without roofs."""
    match = re.fullmatch(r'((?:.*/)?)(?:train|val|test)(_no)?/(?:image|label)/[^/]+', path)
    return None if match is None else (match[1], match[2] is not None)


def _aerial_files(files: Sequence[str]) -> list[str]:
    """Files without the tiles of the satellite archive, which alone has splits without roofs."""
    places = [_place_of(path) for path in files]
    satellite = {place[0] for place in places if place is not None and place[1]}
    return [
        path
        for path, place in zip(files, places, strict=True)
        if place is None or place[0] not in satellite
    ]


def _satellite_files(files: Sequence[str]) -> list[str]:
    """The tiles next to splits without roofs; all of them if a copy has no such split."""
    places = [_place_of(path) for path in files]
    satellite = {place[0] for place in places if place is not None and place[1]}
    return [
        path
        for path, place in zip(files, places, strict=True)
        if not satellite or (place is not None and place[0] in satellite)
    ]


def tile_place(name: str | os.PathLike[str], *, first_number: int = 1) -> tuple[int, int, int]:
    """The whole image that a tile was cut from, and its row and column there, in tiles from 0.

    Args:
        name: Path of the tile.
        first_number: Number of the first tile of an image.

    Raises:
        ConfigError: If the name is not that of a tile, or its number is outside its image.

    Example:
        >>> tile_place('train/image/2_68.tif')
        (2, 1, 0)
    """
    stem = Path(name).stem
    match = re.fullmatch(r'(\d+)_(\d+)', stem)
    image, number = (int(match[1]), int(match[2]) - first_number) if match else (0, 0)
    columns, rows = _GRIDS.get(image, (0, 0))
    if not 0 <= number < columns * rows:
        raise ConfigError(
            f'{os.fspath(name)}: names no place; expected image_number such as 1_165, of images '
            f'{", ".join(f"{i} with {c * r} tiles" for i, (c, r) in _GRIDS.items())}, counted from '
            f'{first_number}: pass first_number if this copy counts differently'
        )
    return image, number // columns, number % columns
