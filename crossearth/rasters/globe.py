"""Coordinate systems that go once around the globe, and places on both sides of their seam.

Longitudes, and x of Mercator and similar projections, start again somewhere, mostly at 180°.
Rasters continue across that seam, or count from 0° to 360°; projections do not.
"""

import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Float64
from pyproj import CRS, Transformer

__all__ = ['nearest_turn', 'turn_of']

_LON_OF_ORIGIN = 8802  # EPSG's code of the parameter


def turn_of(crs: CRS) -> float | None:
    """The length of x once around the globe, in units of a CRS; None if x does not go around it.

    Example:
        >>> turn_of(CRS.from_epsg(4326)), turn_of(CRS.from_epsg(32633))
        (360.0, None)
        >>> round(turn_of(CRS.from_epsg(3857)))
        40075017
    """
    return _turn(crs.srs)


def nearest_turn(
    x: Float64[np.ndarray, ' n'], around: float | int, *, turn: float | None
) -> Float64[np.ndarray, ' n']:
    """The same places, with x shifted by whole turns to within half a turn of a given x.

    Projections give longitudes from -180 to 180, while rasters continue across the antimeridian, or
    count from 0 to 360.

    Args:
        x: Longitudes, or x of Web Mercator.
        around: The given x.
        turn: Result of `turn_of`; None leaves `x` unchanged.

    Example:
        >>> nearest_turn(np.array([179.9, -179.9]), 179.8, turn=360.0).tolist()
        [179.9, 180.1]
    """
    if turn is None:
        return x
    # points outside the globe are not finite; no turn is subtracted, so they stay so
    whole = np.nan_to_num(np.round((x - around) / turn), nan=0, posinf=0, neginf=0)
    return x - turn * whole


@functools.lru_cache(maxsize=256)
def _turn(srs: str) -> float | None:
    crs = _horizontal(CRS.from_user_input(srs))
    if crs.is_geographic:
        return float(2 * math.pi / crs.axis_info[0].unit_conversion_factor)
    if not crs.is_projected or crs.geodetic_crs is None:
        return None
    origin = _origin(crs.to_json_dict())
    if origin is None or origin['unit'] != 'degree':
        return None
    # cylindrical, if x depends on the longitude alone, and is a multiple of it
    lon = origin['value'] + np.array([-120.0, -60.0, 0.0, 60.0, 120.0])
    project = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    low, _ = project.transform((lon + 180) % 360 - 180, np.zeros(5))
    high, _ = project.transform((lon + 180) % 360 - 180, np.full(5, 40.0))
    # x per 60 degrees, a sixth of a turn
    step = (low[4] - low[0]) / 4
    expected = low[2] + step * np.arange(-2, 3)
    if not (np.isfinite(step) and step > 0 and np.allclose([low, high], expected, 0, 1e-8 * step)):
        return None
    return float(6 * step)


def _horizontal(crs: CRS) -> CRS:
    """The CRS without heights, and without a transformation to WGS 84."""
    if crs.is_bound and crs.source_crs is not None:
        return _horizontal(crs.source_crs)
    return crs.sub_crs_list[0] if crs.is_compound else crs


def _origin(content: dict[str, Any]) -> dict[str, Any] | None:
    parameters: list[dict[str, Any]] = content.get('conversion', {}).get('parameters', [])
    for parameter in parameters:
        if parameter.get('id', {}).get('code') == _LON_OF_ORIGIN:
            return parameter
    return None
