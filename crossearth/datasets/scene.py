"""A scene on disk, described by its header."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import shapely
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from crossearth.datasets.headers import Header, HeaderCache, open_raster
from crossearth.datasets.vector_labels import VectorLabels
from crossearth.datasets.world_file import find_world_file, read_world_file
from crossearth.errors import (
    BandError,
    ConfigError,
    CrossEarthError,
    LabelError,
    SceneError,
    SceneNotFoundError,
)
from crossearth.labels import LabelCodec

__all__ = ['Scene', 'open_raster', 'read_scene', 'read_scenes']

_NAMED = 20  # in one message
_NOWHERE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

type Pair = tuple[str | os.PathLike[str], str | os.PathLike[str] | VectorLabels | None]


@dataclass(frozen=True, slots=True)
class Scene:
    """One image, its labels if it has any, and where it lies.

    Args:
        image: Path of the image.
        mask: Path of its mask, of the same size; None without.
        crs: CRS of the pixels; None without georeferencing, coordinates are never invented.
        transform: `(col, row)` → `(x, y)` in the CRS, float64; the identity without georeferencing.
        height: Rows.
        width: Columns.
        bands: 1-based numbers of the bands to read, in the order that samples have them.
        dtype: Type of the pixels, by numpy's name.
        nodata: Value of pixels without data, in every band; None where the file names none.
        domain: Name of the domain that the scene belongs to.
        split: `'train'`, `'val'`, `'test'`, or empty.
        codec: How its mask encodes the classes; None for the way of its dataset.
        vectors: Labels drawn as polygons or lines, for scenes without a mask.
        value_range: Values of black and white; None for those of the pixels' type.
        reads_alpha: Whether a mask or alpha band of the file says where there are data; off where
            what is called alpha is infrared.
        native: The scene in the file's own pixels, where this one is a resampled view of it.
        time: When it was taken; None if that is not known, and it counts as taken at any time.
        whole: The scene that this one is a part of, see `cut_scene`; None if it is whole.
        origin_px: Row and column of its first pixel in the whole scene.
        area: The part, in columns and rows of the whole scene, where it is not the rectangle.
    """

    image: str
    mask: str | None
    crs: CRS | None
    transform: Affine
    height: int
    width: int
    bands: tuple[int, ...]
    dtype: str
    nodata: float | None
    domain: str = ''
    split: str = ''
    codec: LabelCodec | None = None
    vectors: VectorLabels | None = None
    value_range: tuple[float, float] | None = None
    reads_alpha: bool = True
    native: 'Scene | None' = None
    time: pd.Interval | None = None
    whole: 'Scene | None' = None
    origin_px: tuple[int, int] = (0, 0)
    area: shapely.Geometry | None = None

    @property
    def labelled(self) -> bool:
        """Whether samples of it have a mask."""
        return self.mask is not None or self.vectors is not None

    @property
    def bounds_xy(self) -> tuple[float, float, float, float]:
        """Least x, least y, greatest x, greatest y of the outer pixel edges, in the CRS's units."""
        corners = [
            self.transform @ corner
            for corner in ((0, 0), (self.width, 0), (0, self.height), (self.width, self.height))
        ]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def read_scene(
    image: str | os.PathLike[str],
    mask: str | os.PathLike[str] | VectorLabels | None = None,
    *,
    bands: tuple[int, ...] | None = None,
    domain: str = '',
    split: str = '',
    crs: CRS | str | None = None,
) -> Scene:
    """A scene from the headers of its files; no pixel is read.

    Args:
        image: Path of the image, in any format that GDAL reads; a world file beside it is used
            where the image itself has no transform.
        mask: Path of its mask, or vector labels.
        bands: 1-based bands to read, in order; None for all but alpha.
        domain: Name of the domain.
        split: Name of the split.
        crs: CRS of an image that has a transform and names none.

    Raises:
        SceneNotFoundError: If a file is missing.
        SceneError: If a file is no raster, or a world file holds no transform.
        BandError: If the image lacks one of the bands.
        LabelError: If the mask is of another size than the image, or of another place.
        ConfigError: If `crs` is no CRS.
    """
    return read_scenes([(image, mask)], bands=bands, domain=domain, split=split, crs=crs)[0]


def read_scenes(
    pairs: Iterable[Pair],
    *,
    folder: str | os.PathLike[str] = '.',
    bands: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    domain: str = '',
    split: str = '',
    crs: CRS | str | None = None,
) -> list[Scene]:
    """Scenes from the headers of many files, which are remembered from one opening to the next.

    Args:
        pairs: Image and mask of each scene.
        folder: Folder of the dataset; its headers are kept together, see `HeaderCache`.
        bands: 1-based bands to read, in order, for all images or by a pattern of their names, of
            which the first that fits counts (`{'*_ir.tif': (4, 1, 2), '*': (1, 2, 3)}`); None for
            all but alpha.
        domain: Name of the domain.
        split: Name of the split.
        crs: CRS of images that have a transform and name none.

    Raises:
        SceneNotFoundError: If a file is missing.
        SceneError: If a file is no raster, or a world file holds no transform.
        BandError: If an image lacks one of the bands, or fits no pattern.
        LabelError: If a mask is of another size than its image, or of another place.
        ConfigError: If `crs` is no CRS.
    """
    assigned = None if crs is None else _parse_crs(crs)
    cache = HeaderCache(folder)
    scenes, faults = [], []
    for image, mask in pairs:
        try:
            scene = _scene(image, mask, cache=cache, bands=bands, assigned=assigned)
        except (SceneNotFoundError, SceneError, LabelError) as error:
            faults.append((os.fspath(image), error))
        else:
            scenes.append(dataclasses.replace(scene, domain=domain, split=split))
    cache.save()
    if faults:
        raise _together(faults)
    return scenes


def _scene(
    image: str | os.PathLike[str],
    mask: str | os.PathLike[str] | VectorLabels | None,
    *,
    cache: HeaderCache,
    bands: Sequence[int] | Mapping[str, Sequence[int]] | None,
    assigned: CRS | None,
) -> Scene:
    name = os.fspath(image)
    header = cache.get(name)
    transform, own_crs = Affine(*header.transform), header.crs_wkt
    placed = header.transform != _NOWHERE
    if not placed:
        world = find_world_file(name, cache.names_beside(name))
        if world is not None:
            transform, placed = read_world_file(world), True
    chosen = _bands_of(name, bands, header)
    drawn = mask if isinstance(mask, VectorLabels) else None
    mask_name = None if mask is None or isinstance(mask, VectorLabels) else os.fspath(mask)
    scene = Scene(
        image=name,
        mask=mask_name,
        crs=None if not placed else assigned if own_crs is None else _known_crs(own_crs),
        transform=transform,
        height=header.height,
        width=header.width,
        bands=chosen,
        dtype=header.dtypes[chosen[0] - 1],
        nodata=header.nodata,
        vectors=drawn,
    )
    if mask_name is not None:
        _check_mask(scene, cache.get(mask_name))
    return scene


def _together(faults: Sequence[tuple[str, CrossEarthError]]) -> CrossEarthError:
    """The first error, with the names of the other files that have one."""
    _, first = faults[0]
    if len(faults) == 1:
        return first
    names = [Path(name).name for name, _ in faults[1:]]
    more = ', …' if len(names) > _NAMED else ''
    together = type(first)(
        f'{first} - nor can {len(names)} others be used: {", ".join(names[:_NAMED])}{more}'
    )
    together.__cause__ = first
    return together


def _bands_of(
    name: str, bands: Sequence[int] | Mapping[str, Sequence[int]] | None, header: Header
) -> tuple[int, ...]:
    count = len(header.dtypes)
    if isinstance(bands, Mapping):
        fitting = [chosen for pattern, chosen in bands.items() if Path(name).match(pattern)]
        if not fitting:
            raise BandError(f'{name}: fits none of the patterns {list(bands)}; add one for it')
        bands = fitting[0]
    if bands is None:
        chosen = tuple(i for i in range(1, count + 1) if i not in header.alpha)
    else:
        chosen = tuple(bands)
    if not chosen or any(not 1 <= band <= count for band in chosen):
        raise BandError(
            f'{name}: has {count} band(s), but bands {chosen} were asked for: choose from 1 to '
            f'{count}'
        )
    return chosen


def _check_mask(scene: Scene, mask: Header) -> None:
    if (mask.height, mask.width) != (scene.height, scene.width):
        raise LabelError(
            f'{scene.mask}: the mask is {mask.height}x{mask.width} pixels, but its image '
            f'{scene.image} is {scene.height}x{scene.width}: pair each image with the mask that '
            'was drawn on it'
        )
    if mask.transform == _NOWHERE or mask.crs_wkt is None or _known_crs(mask.crs_wkt) != scene.crs:
        return
    left, low, right, high = scene.bounds_xy
    there = dataclasses.replace(scene, transform=Affine(*mask.transform)).bounds_xy
    if there[0] >= right or there[2] <= left or there[1] >= high or there[3] <= low:
        raise LabelError(
            f'{scene.mask}: lies at {there}, but its image {scene.image} at {scene.bounds_xy}: '
            'pair each image with the mask that was drawn on it'
        )


@functools.lru_cache(maxsize=1024)
def _known_crs(wkt: str) -> CRS:
    return CRS.from_wkt(wkt)


def _parse_crs(crs: CRS | str) -> CRS:
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise ConfigError(f"crs={crs!r} is no CRS: expected one such as 'EPSG:32633'") from error
