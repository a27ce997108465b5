"""What is read of a raster: its bands, its georeference, and which pixels hold data."""

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from crossearth.describing import plural
from crossearth.errors import BandError, ConfigError, SceneError
from crossearth.rasters.alpha import Alpha, hides_pixels
from crossearth.rasters.georeference import Georeference, ground_gsd
from crossearth.rasters.headers import Header, HeaderCache, read_header

__all__ = ['Raster', 'describe_raster']

type Bands = Sequence[int] | Sequence[str]


# many arguments: all that reading depends on, so that equal values read equal pixels
@dataclass(frozen=True, slots=True)
class Raster:
    """Bands of a file, on the file's own grid or resampled to another.

    Args:
        path: Path of the file, or another name that GDAL opens.
        height: Rows.
        width: Columns.
        crs: CRS of the transform; None without georeferencing, because none is ever guessed.
        transform: `(col, row)` → `(x, y)` in the CRS, float64; the identity without georeferencing.
        bands: 1-based numbers of the bands to read, in the order in which samples have them.
        dtypes: Type of each of `bands`, by numpy's name.
        dtype: Type of the pixels, which holds those of all bands.
        nodata: No-data value of each of `bands`; None if it has none.
        masks: 1-based bands whose masks, stored next to the bands, mark where there is data.
        alpha: 1-based number of a band that marks the same; None without one.
        value_range: Values of black and white; None for those of the pixels' type.
        georeference: Georeference of the file, even if that is not a transform.
        native: The raster on its file's own grid, if this one is resampled.
        steps_px: Rows and columns of the file from one pixel to the next, if this one is resampled
            along the file's own axes; None on a grid on the ground.
        pixel_m: Side of a pixel on the ground, in metres, if it was stated or requested; None for
            what the georeference says.
    """

    path: str
    height: int
    width: int
    crs: CRS | None
    transform: Affine
    bands: tuple[int, ...]
    dtypes: tuple[str, ...]
    dtype: str
    nodata: tuple[float | None, ...]
    masks: tuple[int, ...]
    alpha: int | None
    value_range: tuple[float, float] | None
    georeference: Georeference
    native: 'Raster | None' = None
    steps_px: tuple[float, float] | None = None
    pixel_m: float | None = None

    def __post_init__(self) -> None:
        if self.value_range is not None:
            low, high = self.value_range
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise ConfigError(
                    f'value_range is {self.value_range}: expected (low, high), low < high'
                )
        if self.pixel_m is not None and not (np.isfinite(self.pixel_m) and self.pixel_m > 0):
            raise ConfigError(
                f'{self.path}: native_gsd_m is {self.pixel_m}: expected metres on the ground from '
                'one pixel of the file to the next, more than 0'
            )

    @property
    def black(self) -> float:
        """The value of pixels without data, the one that becomes 0 or the nearest to it."""
        if self.value_range is None:
            return 0.0
        low = self.value_range[0]
        kind = np.dtype(self.dtype)
        if kind.kind == 'f':
            return low
        # rounded down, because any value up to the lower end becomes 0
        limits = np.iinfo(kind)
        return float(np.clip(np.floor(low), limits.min, limits.max))

    def gsd_m(self) -> tuple[float, float] | None:
        """Metres on the ground from one pixel to the next, along columns and rows.

        A stated size has priority over the georeference. None without either, and if the CRS is a
        local one, the transform degenerate, or the middle of the raster not on the globe.
        """
        if self.pixel_m is not None:
            return self.pixel_m, self.pixel_m
        if self.native is not None and self.steps_px is not None:
            own_m, (down, across) = self.native.gsd_m(), self.steps_px
            return None if own_m is None else (own_m[0] * across, own_m[1] * down)
        if not self.georeference.has_size:
            return None
        return ground_gsd(self.georeference, height=self.height, width=self.width, name=self.path)

    def mean_gsd_m(self) -> float | None:
        """The root of the area of a pixel on the ground, in metres; None if it is not known."""
        sides_m = self.gsd_m()
        return None if sides_m is None else math.sqrt(sides_m[0] * sides_m[1])


def describe_raster(
    path: str | os.PathLike[str],
    *,
    bands: Bands | None = None,
    alpha: Alpha = 'auto',
    value_range: tuple[float, float] | None = None,
    crs: CRS | str | None = None,
    native_gsd_m: float | int | None = None,
    cache: HeaderCache | None = None,
) -> Raster:
    """A raster from its header.

    No pixel is read, except of files that call a band alpha, see `hides_pixels`.

    Args:
        path: A path, or anything else that GDAL opens; a world file next to it is used if the
            file itself has no transform.
        bands: Bands to read, in order: 1-based numbers, or names (descriptions or colours, in any
            case). A file whose bands have none of these names, but are as many, is read as it is.
            None for all except an alpha band.
        alpha: What a band that the file calls alpha is. `'mask'`: it marks where there is data.
            `'image'`: it is a band like others, such as near infrared. `'auto'` decides by its
            values.
        value_range: Values of black and white; None for those of the pixels' type.
        crs: CRS of a file that has a transform or ground control points but names no CRS.
        native_gsd_m: Metres on the ground from one pixel of the file to the next, for files without
            a georeference or with a wrong one; None for what the georeference says.
        cache: Cache of headers.

    Raises:
        SceneNotFoundError: If the file is missing.
        SceneError: If the file is not a raster, its values are complex, or its bands hold numbers
            of a palette.
        BandError: If a band is missing.
        ConfigError: If `crs`, `value_range` or `native_gsd_m` is invalid, or it is unclear what an
            alpha band is.
    """
    name = os.fspath(path)
    header = read_header(name) if cache is None else cache.get(name)
    hiding = None
    if header.alpha and not _all_numbers_hold(bands, header.alpha):
        verdict = (
            hides_pixels(name, header.alpha[0], alpha)
            if cache is None
            else cache.hides_pixels(name, header.alpha[0], alpha)
        )
        hiding = header.alpha[0] if verdict else None
    chosen = _choose(name, header, bands, hiding)
    dtypes = tuple(header.dtypes[band - 1] for band in chosen)
    if any(kind.startswith('complex') for kind in dtypes):
        raise SceneError(
            f'{name}: expected real values, got {", ".join(sorted(set(dtypes)))}: write the '
            'amplitude or another real quantity first'
        )
    place = _placed(header.georeference, crs)
    return Raster(
        path=name,
        height=header.height,
        width=header.width,
        crs=place.crs,
        transform=place.transform,
        bands=chosen,
        dtypes=dtypes,
        dtype=np.result_type(*set(dtypes)).name,
        nodata=tuple(header.nodata[band - 1] for band in chosen),
        masks=_masks_of(header, chosen),
        alpha=None if hiding in chosen else hiding,
        value_range=None if value_range is None else (float(value_range[0]), float(value_range[1])),
        georeference=place,
        pixel_m=None if native_gsd_m is None else float(native_gsd_m),
    )


def _all_numbers_hold(bands: Bands | None, alpha: tuple[int, ...]) -> bool:
    """Whether a band that is called alpha is requested by number, so that it is an image band."""
    return bands is not None and alpha[0] in bands


def _choose(name: str, header: Header, bands: Bands | None, hiding: int | None) -> tuple[int, ...]:
    count = len(header.dtypes)
    everything = tuple(i for i in range(1, count + 1) if i != hiding)
    if bands is None:
        if not everything:
            raise SceneError(f'{name}: has no band but alpha; expected an image')
        if any(header.colours[band - 1] == 'palette' for band in everything):
            raise SceneError(
                f'{name}: holds numbers of a palette, not colours: expand it first '
                '(gdal_translate -expand rgb), or pass bands=(1,) to read the numbers'
            )
        return everything
    if any(isinstance(band, str) for band in bands):
        return _named(name, header, [str(band) for band in bands], everything)
    chosen = tuple(int(band) for band in bands)
    if not chosen or any(not 1 <= band <= count for band in chosen):
        if 'palette' in header.colours:
            raise BandError(
                f'{name}: has {plural(count, "band")}, numbers of a palette, but bands {chosen} '
                'were asked for: expand it to colours first (gdal_translate -expand rgb)'
            )
        what = 'only band 1' if count == 1 else f'bands 1 to {count}'
        raise BandError(f'{name}: has {what}, but bands {chosen} were asked for')
    return chosen


def _masks_of(header: Header, chosen: tuple[int, ...]) -> tuple[int, ...]:
    """Bands whose masks are used: one of those that share a mask, and the chosen with their own."""
    own = [band for band in dict.fromkeys(chosen) if header.masks[band - 1] == 'own']
    shared = [band for band, mask in enumerate(header.masks, start=1) if mask == 'shared'][:1]
    return (*shared, *own)


def _named(
    name: str, header: Header, names: list[str], everything: tuple[int, ...]
) -> tuple[int, ...]:
    numbers = {colour: band for band, colour in enumerate(header.colours, start=1)}
    numbers |= {title.lower(): band for band, title in enumerate(header.names, start=1) if title}
    found = [numbers.get(wanted.lower()) for wanted in names]
    known = tuple(band for band in found if band is not None)
    if len(known) == len(names):
        return known
    if not known and len(everything) == len(names):
        return everything
    raise BandError(
        f'{name}: has the bands {", ".join(numbers)}, but {", ".join(names)} were asked for: '
        'choose them by number, bands=(1, 2, …)'
    )


def _placed(place: Georeference, crs: CRS | str | None) -> Georeference:
    if crs is None:
        return place
    try:
        wkt = CRS.from_user_input(crs).to_wkt()
    except CRSError as error:
        raise ConfigError(f"crs={crs!r} is not a CRS: expected one such as 'EPSG:32633'") from error
    if place.crs_wkt is None and place.has_transform:
        place = dataclasses.replace(place, crs_wkt=wkt)
    if place.gcps_crs_wkt is None and place.gcps:
        place = dataclasses.replace(place, gcps_crs_wkt=wkt)
    return place
