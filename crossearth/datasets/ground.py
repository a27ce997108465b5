"""Metres on the ground, whatever the units of a CRS."""

import math

import numpy as np
from affine import Affine
from pyproj import CRS, Geod, Transformer

from crossearth.geometry import local_projection

__all__ = ['ground_gsd', 'local_metric_crs']

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
