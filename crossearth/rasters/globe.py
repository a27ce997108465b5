"""Coordinate systems that go once around the globe, and places on both sides of their seam.

Longitudes, and x of Mercator and its like, begin anew somewhere, mostly at 180°. Rasters run on
across that seam, or count from 0° to 360°, and projections do not.
"""

import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Float64
from pyproj import CRS, Transformer
from pyproj.crs import DerivedGeographicCRS
from pyproj.crs.coordinate_operation import RotatedLatitudeLongitudeConversion

__all__ = ['centred', 'nearest_turn', 'seam_of', 'turn_of']

_LON_OF_ORIGIN = 8802  # EPSG's code of the parameter


def turn_of(crs: CRS) -> float | None:
    """How far x goes once around the globe, in units of a CRS; None where it does not.

    Example:
        >>> turn_of(CRS.from_epsg(4326)), turn_of(CRS.from_epsg(32633))
        (360.0, None)
        >>> round(turn_of(CRS.from_epsg(3857)))
        40075017
    """
    around = _around(crs.srs)
    return None if around is None else around[0]


def seam_of(crs: CRS) -> tuple[float, float] | None:
    """The x at which a CRS begins and ends; None where there is no such x.

    Example:
        >>> seam_of(CRS.from_epsg(4326))
        (-180.0, 180.0)
    """
    around = _around(crs.srs)
    if around is None:
        return None
    turn, middle, _ = around
    return middle - turn / 2, middle + turn / 2


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


def centred(crs: CRS, x: float) -> tuple[CRS, float]:
    """The same coordinate system with its seam on the other side of the globe.

    The datum is that of before, so steps to other datums are the same.

    Args:
        crs: Of which `turn_of` is not None.
        x: What is to be near its middle.

    Returns:
        The CRS, and how much less its x are; as it was, and 0, for angles that are no degrees.

    Example:
        >>> moved, shift = centred(CRS.from_epsg(4326), 230.2)
        >>> to_moved = Transformer.from_crs(4326, moved, always_xy=True)
        >>> x, y = to_moved.transform(-129.5, 45)
        >>> shift, round(x, 6), round(y, 6)
        (230.0, 0.5, 45.0)
    """
    around = _around(crs.srs)
    assert around is not None
    turn, middle, lon = around
    if _horizontal(crs).is_geographic and not math.isclose(turn, 360):
        return crs, 0.0  # in gon: those of France, far from the seam
    degrees = round((x - middle) / turn * 360)
    shift = degrees * turn / 360
    lon = (lon + degrees + 180) % 360 - 180
    crs = _horizontal(crs)
    if crs.is_geographic:
        return DerivedGeographicCRS(crs, RotatedLatitudeLongitudeConversion(90, 0, lon)), shift
    content = crs.to_json_dict()
    content.pop('id', None)
    content['conversion'].pop('id', None)
    content['name'] = content['conversion']['name'] = 'moved'
    origin = _origin(content)
    assert origin is not None
    origin['value'] = lon
    return CRS.from_json_dict(content), shift


@functools.lru_cache(maxsize=256)
def _around(srs: str) -> tuple[float, float, float] | None:
    """One turn of a CRS, its middle, and the longitude of that in degrees."""
    crs = _horizontal(CRS.from_user_input(srs))
    if crs.is_geographic:
        return 2 * math.pi / crs.axis_info[0].unit_conversion_factor, 0.0, 0.0
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
    step = (low[4] - low[0]) / 4
    expected = low[2] + step * np.arange(-2, 3)
    if not (np.isfinite(step) and step > 0 and np.allclose([low, high], expected, 0, 1e-8 * step)):
        return None
    return float(6 * step), float(low[2]), float(origin['value'])


def _horizontal(crs: CRS) -> CRS:
    """Without heights, and without a step to WGS 84 of its own."""
    if crs.is_bound and crs.source_crs is not None:
        return _horizontal(crs.source_crs)
    return crs.sub_crs_list[0] if crs.is_compound else crs


def _origin(content: dict[str, Any]) -> dict[str, Any] | None:
    parameters: list[dict[str, Any]] = content.get('conversion', {}).get('parameters', [])
    for parameter in parameters:
        if parameter.get('id', {}).get('code') == _LON_OF_ORIGIN:
            return parameter
    return None
