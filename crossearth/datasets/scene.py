"""A scene on disk: an image, its labels, and what a dataset knows about them."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import shapely
from affine import Affine
from pyproj import CRS

from crossearth.describing import plural
from crossearth.errors import (
    BandError,
    ConfigError,
    CrossEarthError,
    LabelError,
    SceneError,
    SceneNotFoundError,
)
from crossearth.geometry import bounds_of, window_transform
from crossearth.labels import LabelCodec
from crossearth.rasters import (
    Alpha,
    Georeference,
    HeaderCache,
    Mask,
    Raster,
    VectorLabels,
    describe_mask,
    describe_raster,
)

__all__ = ['Part', 'Scene', 'read_scene', 'read_scenes']

_NAMED = 20  # files named in one message
_TYPES = (
    'uint8', 'uint16', 'uint32', 'uint64', 'int8', 'int16', 'int32', 'int64', 'float16', 'float32',
    'float64',
)  # fmt: skip

type Pair = tuple[str | os.PathLike[str], str | os.PathLike[str] | VectorLabels | None]
type ValueRange = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Part:
    """The rectangle of an image that remains after a split, see `crossearth.datasets.cut`.

    Args:
        row: First row, counted in the image.
        col: First column.
        height: Rows.
        width: Columns.
        area: What remains inside it, in columns and rows of the image; None for all of it.
    """

    row: int
    col: int
    height: int
    width: int
    area: shapely.Geometry | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """One image, its labels if it has any, and its place on the ground.

    Args:
        raster: The image: its path, grid, bands and values.
        labels: Its mask, or the vectors that its labels are drawn from; None for no labels.
        domain: Name of the domain that the scene belongs to.
        split: `'train'`, `'val'`, `'test'`, or empty.
        codec: How its mask encodes the classes; None for the codec of its dataset.
        time: When it was taken; None if that is not known, so that it counts as taken at any time.
        part: The part of the image that the scene is; None for all of it.
    """

    raster: Raster
    labels: Mask | VectorLabels | None = None
    domain: str = ''
    split: str = ''
    codec: LabelCodec | None = None
    time: pd.Interval | None = None
    part: Part | None = None

    @property
    def image(self) -> str:
        """Path of the image."""
        return self.raster.path

    @property
    def mask(self) -> str | None:
        """Path of the mask; None for labels from vectors and for no labels."""
        return self.labels.path if isinstance(self.labels, Mask) else None

    @property
    def labelled(self) -> bool:
        """Whether its samples have a mask."""
        return self.labels is not None

    @property
    def height(self) -> int:
        """Rows."""
        return self.raster.height if self.part is None else self.part.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.raster.width if self.part is None else self.part.width

    @property
    def crs(self) -> CRS | None:
        """CRS of the pixels; None without georeferencing, because coordinates are never guessed."""
        return self.raster.crs

    @property
    def transform(self) -> Affine:
        """`(col, row)` → `(x, y)` in the CRS, float64; the identity without georeferencing."""
        if self.part is None:
            return self.raster.transform
        return window_transform(self.raster.transform, self.part.row, self.part.col)

    @property
    def bounds_xy(self) -> tuple[float, float, float, float]:
        """Smallest x, y and largest x, y of the outer pixel edges, in the CRS's units."""
        return bounds_of(self.transform, height=self.height, width=self.width)

    def at(self, crs: CRS, transform: Affine) -> 'Scene':
        """The scene with a place that its files do not state; its mask keeps its pixels."""
        raster = dataclasses.replace(
            self.raster,
            crs=crs,
            transform=transform,
            georeference=Georeference(crs.to_wkt(), transform),
        )
        return dataclasses.replace(self, raster=raster)


def read_scene(
    image: str | os.PathLike[str],
    mask: str | os.PathLike[str] | VectorLabels | None = None,
    *,
    bands: Sequence[int] | None = None,
    alpha: Alpha = 'auto',
    value_range: ValueRange | None = None,
    domain: str = '',
    split: str = '',
    crs: CRS | str | None = None,
    native_gsd_m: float | None = None,
) -> Scene:
    """A scene from the headers of its files.

    Arguments and errors are those of `read_scenes`, for one image.
    """
    return read_scenes(
        [(image, mask)],
        bands=bands,
        alpha=alpha,
        value_range=value_range,
        domain=domain,
        split=split,
        crs=crs,
        native_gsd_m=native_gsd_m,
    )[0]


def read_scenes(
    pairs: Iterable[Pair],
    *,
    folder: str | os.PathLike[str] = '.',
    bands: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    alpha: Alpha = 'auto',
    value_range: ValueRange | Mapping[str, ValueRange] | None = None,
    domain: str = '',
    split: str = '',
    crs: CRS | str | None = None,
    native_gsd_m: float | None = None,
) -> list[Scene]:
    """Scenes from the headers of many files, which are cached for the next time.

    Args:
        pairs: Image and mask of each scene; images in any format that GDAL reads.
        folder: Folder of the dataset; its headers are cached together, see `HeaderCache`.
        bands: 1-based bands to read, in order, for all images or by pattern of their names
            (`{'*_ir.tif': (4, 1, 2), '*': (1, 2, 3)}`), of which the first match counts; None for
            all except an alpha band.
        alpha: What a band that a file calls alpha is. `'mask'`: it marks where there is data.
            `'image'`: it is a band like others, such as near infrared. `'auto'` decides by its
            values.
        value_range: Values of black and white, for all images or by pixel type (`{'uint16': (0,
            3000)}`); None for those of the type.
        domain: Name of the domain.
        split: Name of the split.
        crs: CRS of images that have a transform, or ground control points, but name no CRS.
        native_gsd_m: Metres on the ground from one pixel of the files to the next, for images
            without a georeference or with a wrong one; None for what the georeference says.

    Raises:
        SceneNotFoundError: If a file is missing.
        SceneError: If a file is not a raster, or a world file holds no transform.
        BandError: If an image lacks one of the bands, or matches no pattern.
        LabelError: If a mask lies elsewhere than its image, or has another size and no place.
        ConfigError: If `crs`, `value_range` or `native_gsd_m` is invalid, or it is unclear what
            an alpha band is.
    """
    for key in value_range if isinstance(value_range, Mapping) else ():
        if key not in _TYPES:
            raise ConfigError(
                f'value_range: {key!r} is not a pixel type: expected some of {", ".join(_TYPES)}'
            )
    cache = HeaderCache(folder)
    scenes: list[Scene] = []
    faults: list[tuple[str, CrossEarthError]] = []
    for image, mask in pairs:
        try:
            raster = describe_raster(
                image,
                bands=_bands_of(image, bands),
                alpha=alpha,
                crs=crs,
                native_gsd_m=native_gsd_m,
                cache=cache,
            )
            raster = _ranged(raster, value_range)
            labels = (
                mask
                if mask is None or isinstance(mask, VectorLabels)
                else describe_mask(mask, raster, cache=cache)
            )
        except (SceneNotFoundError, SceneError, LabelError) as error:
            # all files are looked at before an error is raised, so that it can name every bad one
            faults.append((os.fspath(image), error))
        else:
            scenes.append(Scene(raster, labels, domain=domain, split=split))
    # also before an error, because the next attempt reads the same headers
    cache.save()
    if faults:
        raise _together(faults)
    return scenes


def _together(faults: Sequence[tuple[str, CrossEarthError]]) -> CrossEarthError:
    """The first error, with the names of the other files that also have one."""
    _, first = faults[0]
    if len(faults) == 1:
        return first
    names = [Path(name).name for name, _ in faults[1:]]
    more = ', …' if len(names) > _NAMED else ''
    together = type(first)(
        f'{first} - {plural(len(names), "other")} cannot be used either: '
        f'{", ".join(names[:_NAMED])}{more}'
    )
    together.__cause__ = first
    return together


def _bands_of(
    image: str | os.PathLike[str], bands: Sequence[int] | Mapping[str, Sequence[int]] | None
) -> Sequence[int] | None:
    if not isinstance(bands, Mapping):
        return bands
    for pattern, chosen in bands.items():
        if Path(image).match(pattern):
            return chosen
    raise BandError(f'{os.fspath(image)}: matches none of the patterns {list(bands)}; add one')


def _ranged(raster: Raster, value_range: ValueRange | Mapping[str, ValueRange] | None) -> Raster:
    chosen = value_range.get(raster.dtype) if isinstance(value_range, Mapping) else value_range
    if chosen is None:
        return raster
    return dataclasses.replace(raster, value_range=(float(chosen[0]), float(chosen[1])))
