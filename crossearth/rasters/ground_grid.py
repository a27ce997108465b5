"""The grid of square pixels on the ground that a raster is seen on at a given GSD."""

import dataclasses
import math

import numpy as np
from affine import Affine
from jaxtyping import Float64
from pyproj import CRS

from crossearth.errors import ConfigError
from crossearth.rasters.georeference import PixelsToGround
from crossearth.rasters.raster import Raster
from crossearth.rasters.scaled_grid import FINEST, scaled

__all__ = ['local_metric_crs', 'resampled']

_WGS84 = CRS.from_epsg(4326)
_SAME_GSD = 0.02  # rasters this close to the asked ground sampling distance are not resampled
_LARGEST_SPAN_M = 8e6  # beyond, no projection is fair to all of a scene
_EDGE_POINTS = 65
_FAIR_SPAN_M = 300_000


def resampled(raster: Raster, gsd_m: float | int) -> Raster:
    """A raster seen on a grid of square pixels of a given size on the ground.

    The grid lies in the UTM zone of the raster's middle (UPS near the poles, Lambert's equal-area
    projection for more than 300 km), its edges at multiples of the pixel, around the whole raster.
    Corners that a rotated raster does not fill hold no data. A raster whose ground sampling
    distance was stated is resampled along its own axes instead, see `scaled`.

    Args:
        raster: On its file's own grid; tied to the ground by a transform, ground control points or
            rational polynomials, or with a stated ground sampling distance.
        gsd_m: Side of a pixel, in metres on the ground.

    Returns:
        The view; the raster itself if its pixels are that large along both axes, to 2 %.

    Raises:
        ConfigError: If `gsd_m` is not positive or far too fine, nothing ties the raster to the
            ground, or it covers more of the globe than one projection is fair to.
    """
    name, place = raster.path, raster.georeference
    if not (math.isfinite(gsd_m) and gsd_m > 0):
        raise ConfigError(f'gsd_m is {gsd_m}: expected metres, more than 0')
    if raster.pixel_m is None:
        PixelsToGround(place, _WGS84, name=name)  # refuses what has no place on the globe
    own_m = raster.gsd_m()
    assert own_m is not None
    across, down = own_m
    if not (math.isfinite(across) and math.isfinite(down)):
        raise ConfigError(f'{name}: the middle of the scene is not on the globe; leave gsd_m out')
    if all(abs(size / gsd_m - 1) <= _SAME_GSD for size in (across, down)):
        return raster
    if gsd_m < max(across, down) / FINEST:
        raise ConfigError(
            f'gsd_m is {gsd_m:g}, but the pixels of {name} are {across:g} by {down:g} m: more than '
            f'{FINEST} times finer shows nothing new; is gsd_m in metres?'
        )
    if raster.pixel_m is not None:
        return scaled(raster, gsd_m / raster.pixel_m)
    span_m = max(across * raster.width, down * raster.height)
    if span_m > _LARGEST_SPAN_M:
        raise ConfigError(
            f'{name}: spans {span_m / 1000:.0f} km, where no grid has square pixels: cut it into '
            f'pieces below {_LARGEST_SPAN_M / 1000:.0f} km, or leave gsd_m out'
        )
    width_m, height_m = across * raster.width, down * raster.height
    if min(width_m, height_m) < gsd_m:
        raise ConfigError(
            f'{name}: covers {width_m:.3g} by {height_m:.3g} m, less than a pixel of {gsd_m:g} m: '
            'choose a smaller gsd_m, or leave it out'
        )
    middle = np.array([raster.width / 2]), np.array([raster.height / 2])
    (lon,), (lat,) = PixelsToGround(place, _WGS84, name=name)(*middle)
    crs = local_metric_crs(float(lon), float(lat), span_m=span_m)
    x, y = PixelsToGround(place, crs, name=name)(*_border(raster.height, raster.width))
    if not np.isfinite([x, y]).all():
        raise ConfigError(f'{name}: reaches beyond the globe; leave gsd_m out')
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
    if lat >= 84 or lat <= -80:
        return CRS.from_epsg(32661 if lat > 0 else 32761)
    zone = int((lon + 180) % 360 // 6) + 1
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def _border(height: int, width: int) -> tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]:
    steps = np.linspace(0, 1, _EDGE_POINTS)
    zero, one = np.zeros_like(steps), np.ones_like(steps)
    cols = np.concatenate([steps, steps, zero, one]) * width
    rows = np.concatenate([zero, one, steps, steps]) * height
    return cols, rows
