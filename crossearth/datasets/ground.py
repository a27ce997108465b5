"""Metres on the ground, whatever the units of a CRS."""

import functools
import math

import numpy as np
from affine import Affine
from jaxtyping import Float64
from pyproj import CRS, Geod, Transformer

from crossearth.geometry import local_projection

__all__ = ['ground_gsd', 'local_metric_crs', 'nearest_turn', 'turn_of']

_WGS84 = CRS.from_epsg(4326)


def local_metric_crs(lon: float | int, lat: float | int, *, span_m: float | int = 0.0) -> CRS:
    """`local_projection` as a CRS."""
    return CRS.from_user_input(local_projection(lon, lat, span_m=span_m))


def ground_gsd(crs: CRS, transform: Affine, *, height: int, width: int) -> tuple[float, float]:
    """Metres on the ellipsoid from one pixel to the next, at the middle of a raster.

    Degrees are no metres, and a metre of Web Mercator is `cos(latitude)` of one.

    Returns:
        Along the columns and along the rows; not finite where the middle is not on the globe.

    Example:
        >>> mercator = Affine(1, 0, 0, 0, -1, 8_399_738)
        >>> [round(m, 2) for m in ground_gsd(CRS.from_epsg(3857), mercator, height=2, width=2)]
        [0.5, 0.5]
    """
    col, row = width / 2, height / 2
    xs, ys = zip(
        *(transform @ p for p in ((col, row), (col + 1, row), (col, row + 1))), strict=True
    )
    lon, lat = Transformer.from_crs(crs, _WGS84, always_xy=True).transform(xs, ys)
    if not np.isfinite([lon, lat]).all():
        return math.inf, math.inf
    _, _, (across, down) = Geod(ellps='WGS84').inv(
        [lon[0], lon[0]], [lat[0], lat[0]], lon[1:], lat[1:]
    )
    return float(across), float(down)


def turn_of(crs: CRS) -> float | None:
    """How far x goes once around the globe, in units of a CRS; None where it does not."""
    return _turn_of(crs.srs)


def nearest_turn(
    x: Float64[np.ndarray, ' n'], around: float | int, *, turn: float | None
) -> Float64[np.ndarray, ' n']:
    """The same places, with x counted so that it is within half a turn of a given one.

    Projections give longitudes from -180 to 180, while rasters run on across the antimeridian, or
    count from 0 to 360.

    Args:
        x: Longitudes, or x of Web Mercator.
        around: Where they are expected.
        turn: As `turn_of` gives it; None leaves `x` as it is.

    Example:
        >>> nearest_turn(np.array([179.9, -179.9]), 179.8, turn=360.0).tolist()
        [179.9, 180.1]
    """
    if turn is None:
        return x
    whole = np.nan_to_num(np.round((x - around) / turn), nan=0, posinf=0, neginf=0)
    return x - turn * whole


@functools.lru_cache(maxsize=256)
def _turn_of(srs: str) -> float | None:
    crs = CRS.from_user_input(srs)
    if crs.is_geographic:
        return 2 * math.pi / crs.axis_info[0].unit_conversion_factor
    operation = crs.coordinate_operation
    web = operation is not None and operation.method_name == 'Popular Visualisation Pseudo Mercator'
    return 2 * math.pi * 6_378_137 if web else None
