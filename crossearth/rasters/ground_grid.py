"""The grid on which a raster is seen at a ground sampling distance, decided only here.

Rasters whose pixels are alike on the ground keep their own rows and columns, only larger or
smaller. No pixel is rotated, none is lost at the border, and the seams of projections do not
matter. Other rasters, such as swaths with ground control points or countries in degrees, are
resampled to a local projection, where pixels are square.
"""

import dataclasses
import math

import numpy as np
from affine import Affine
from jaxtyping import Float64
from pyproj import CRS

from crossearth.errors import ConfigError
from crossearth.geometry import SAME_SIZE
from crossearth.rasters.georeference import PixelsToGround, ground_pixels
from crossearth.rasters.raster import Raster
from crossearth.rasters.scaled_grid import FINEST, scaled

__all__ = ['has_even_pixels', 'local_metric_crs', 'on_local_projection', 'resampled']

_WGS84 = CRS.from_epsg(4326)
_EVEN = 0.01  # pixels are even if they differ by less, which no model can notice
_LARGEST_SPAN_M = 8e6  # beyond, no projection keeps the scale everywhere in a scene
_EDGE_POINTS = 65
_MEASURED_POINTS = 7  # along each side of a raster; projections change smoothly
_FAIR_SPAN_M = 300_000


def resampled(raster: Raster, gsd_m: float | int) -> Raster:
    """A raster seen in square pixels of a given size on the ground.

    If its own pixels are alike on the ground (`has_even_pixels`), or their size was stated, it is
    scaled along its own rows and columns, each by the factor that this takes, see `scaled`. Its
    grid then begins at its own upper-left corner, in its own CRS. Otherwise it is resampled to a
    local projection, see `on_local_projection`.

    Args:
        raster: On its file's own grid; tied to the ground by a transform, ground control points or
            rational polynomials, or with a stated ground sampling distance.
        gsd_m: Side of a pixel, in metres on the ground.

    Returns:
        The view; the raster itself if its pixels have that size along both axes, within 2 %.

    Raises:
        ConfigError: If `gsd_m` is not positive, far too fine or too coarse, the raster is not
            georeferenced, or it covers more of the globe than one projection can show fairly.
    """
    name = raster.path
    if not (math.isfinite(gsd_m) and gsd_m > 0):
        raise ConfigError(f'gsd_m is {gsd_m}: expected metres, more than 0')
    if raster.pixel_m is None:
        # raises for what is not tied to the globe
        PixelsToGround(raster.georeference, _WGS84, name=name)
    own_m = raster.gsd_m()
    if own_m is None:
        raise ConfigError(
            f'{name}: its CRS and transform put its middle off the globe: correct them '
            '(gdal_edit.py -a_srs or -a_ullr), state the size of its pixels (native_gsd_m=0.21 for '
            'a dataset, --gsd 0.21 for a map), or leave gsd_m out'
        )
    across, down = own_m
    if all(abs(size / gsd_m - 1) <= SAME_SIZE for size in own_m):
        return raster
    if gsd_m < max(own_m) / FINEST:
        raise ConfigError(
            f'the pixels of {name} are {across:g} by {down:g} m, more than {FINEST} times as large '
            f'as the {gsd_m:g} m at which they should be seen, which would show nothing new: '
            'choose larger ones'
        )
    if raster.pixel_m is not None or has_even_pixels(raster):
        along_axes = scaled(raster, (gsd_m / down, gsd_m / across))
        return dataclasses.replace(along_axes, pixel_m=float(gsd_m))
    return on_local_projection(raster, gsd_m)


def has_even_pixels(raster: Raster) -> bool:
    """Whether the pixels of a raster are alike on the ground, and rectangular.

    This is so if it is georeferenced by a transform, and the sides of its pixels are everywhere
    within 1 % of those in its middle, at an angle within 0.6° of a right angle. Pixels need not be
    square: degrees are even over a hundred kilometres at middle latitudes, as is Web Mercator. Nor
    need they point north: a rotated or mirrored raster is even, a sheared one is not.

    Args:
        raster: On its file's own grid.
    """
    own_m = raster.gsd_m()
    if raster.georeference.tie != 'transform' or own_m is None:
        return False
    cols, rows = np.meshgrid(
        np.linspace(0, raster.width - 1, _MEASURED_POINTS),
        np.linspace(0, raster.height - 1, _MEASURED_POINTS),
    )
    across, down, skew = ground_pixels(
        raster.georeference, cols.ravel(), rows.ravel(), name=raster.path
    )
    off = np.abs(np.stack([across / own_m[0] - 1, down / own_m[1] - 1, skew]))
    return bool(off.max() <= _EVEN)


def on_local_projection(raster: Raster, gsd_m: float | int) -> Raster:
    """A raster seen on a grid of square pixels in a local projection.

    The grid is in the UTM zone of the raster's middle (UPS near the poles, Lambert's equal-area
    projection for more than 300 km), its edges at multiples of the pixel, around the whole raster.
    Corners that the raster does not fill, because it is rotated against the grid, hold no data.

    Args:
        raster: On its file's own grid; tied to the ground, its middle on the globe.
        gsd_m: Side of a pixel, in metres on the ground.

    Raises:
        ConfigError: If the raster reaches beyond the globe, or covers more of it than one
            projection can show fairly.
    """
    name, place = raster.path, raster.georeference
    own_m = raster.gsd_m()
    assert own_m is not None
    span_m = max(own_m[0] * raster.width, own_m[1] * raster.height)
    if span_m > _LARGEST_SPAN_M:
        raise ConfigError(
            f'{name}: spans {span_m / 1000:.0f} km, where no grid has square pixels: cut it into '
            f'pieces below {_LARGEST_SPAN_M / 1000:.0f} km, or leave gsd_m out'
        )
    middle = np.array([raster.width / 2]), np.array([raster.height / 2])
    (lon,), (lat,) = PixelsToGround(place, _WGS84, name=name)(*middle)
    crs = local_metric_crs(float(lon), float(lat), span_m=span_m)
    x, y = PixelsToGround(place, crs, name=name)(*_border(raster.height, raster.width))
    if not np.isfinite([x, y]).all():
        raise ConfigError(f'{name}: reaches beyond the globe; leave gsd_m out')
    if min(np.ptp(x), np.ptp(y)) < gsd_m:
        raise ConfigError(
            f'{name}: covers {np.ptp(x):.3g} by {np.ptp(y):.3g} m, less than a pixel of {gsd_m:g} '
            'm: choose a smaller gsd_m, or leave it out'
        )
    left, top = math.floor(x.min() / gsd_m) * gsd_m, math.ceil(y.max() / gsd_m) * gsd_m
    return dataclasses.replace(
        raster,
        crs=crs,
        transform=Affine(gsd_m, 0, left, 0, -gsd_m, top),
        height=max(math.ceil((top - y.min()) / gsd_m), 1),
        width=max(math.ceil((x.max() - left) / gsd_m), 1),
        native=raster,
        pixel_m=float(gsd_m),
    )


def local_metric_crs(lon: float | int, lat: float | int, *, span_m: float | int = 0.0) -> CRS:
    """A projection whose metres are true to a thousandth around a place.

    Args:
        lon: Longitude of the middle, in degrees.
        lat: Latitude of the middle, in degrees.
        span_m: Extent around it, in metres.

    Returns:
        The UTM zone, or UPS near a pole, for up to 300 km; otherwise Lambert's azimuthal equal-area
        projection around the place.

    Example:
        >>> places = (13.4, 52.5), (-179.9, -16.5), (0, 87)
        >>> [local_metric_crs(*place).to_epsg() for place in places]
        [32633, 32701, 32661]
    """
    if span_m > _FAIR_SPAN_M:
        return CRS.from_user_input(f'+proj=laea +lat_0={lat} +lon_0={lon} +datum=WGS84 +units=m')
    # UTM is defined from 80° S to 84° N
    if lat >= 84 or lat <= -80:
        return CRS.from_epsg(32661 if lat > 0 else 32761)
    # the remainder also serves longitudes from 0 to 360, and puts 180° into zone 1
    zone = int((lon + 180) % 360 // 6) + 1
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def _border(height: int, width: int) -> tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]:
    steps = np.linspace(0, 1, _EDGE_POINTS)
    zero, one = np.zeros_like(steps), np.ones_like(steps)
    cols = np.concatenate([steps, steps, zero, one]) * width
    rows = np.concatenate([zero, one, steps, steps]) * height
    return cols, rows
