"""Areas of pixels on the ground.

A pixel of a map in degrees covers less ground towards the poles, and a pixel of Web Mercator covers
more ground towards the equator. Areas here are those of the cells' corners in a cylindrical
equal-area projection of WGS 84, in which parallels and meridians are straight lines. In degrees
they are exact. In projected CRSs, sides are assumed to be straight in it, and areas vary smoothly
between 17 columns of a row. Over a UTM zone, both matter by less than a part in a million. Around a
pole they matter more: in EPSG:3413 at 25 km, the median error is 0.04 %, and it reaches 29 % in the
rows next to the pole.
"""

import numpy as np
from jaxtyping import Float64
from pyproj import CRS

from crossearth.rasters.georeference import Georeference, PixelsToGround
from crossearth.rasters.globe import nearest_turn, turn_of

__all__ = ['CellAreas']

_EQUAL_AREA = CRS.from_epsg(6933)
_MOST_COLUMNS = 17  # areas are computed there, because they vary smoothly in between


class CellAreas:
    """Areas of the pixels of a raster, in square metres on the ellipsoid.

    Args:
        georeference: Georeference of the raster.
        width: Columns of the raster.
        name: Name of the raster, for messages.

    Raises:
        ConfigError: If the raster is not georeferenced.

    Example:
        >>> from affine import Affine
        >>> degrees = Georeference(CRS.from_epsg(4326).to_wkt(), Affine(1, 0, 10, 0, -1, 61))
        >>> (CellAreas(degrees, width=2, name='a.tif').rows(0, 2) / 1e6).round(1).tolist()
        [[6123.1, 6123.1], [6309.8, 6309.8]]
    """

    def __init__(self, georeference: Georeference, *, width: int, name: str) -> None:
        self._to_ground = PixelsToGround(georeference, _EQUAL_AREA, name=name)
        self._turn = turn_of(_EQUAL_AREA)
        nodes = np.unique(np.linspace(0, width - 1, min(width, _MOST_COLUMNS)).round())
        self._nodes = nodes
        # hat functions interpolate columns between two nodes
        self._between = np.stack(
            [np.interp(np.arange(width), nodes, unit) for unit in np.eye(len(nodes))]
        )

    def rows(self, first: int, stop: int) -> Float64[np.ndarray, 'h w']:
        """Areas of the pixels of some rows; not finite outside the globe.

        Args:
            first: First row.
            stop: End row (exclusive).
        """
        rows = np.arange(first, stop, dtype=np.float64)
        row, col = (grid.ravel() for grid in np.meshgrid(rows, self._nodes, indexing='ij'))
        cells = self.cells(row, col).reshape(len(rows), -1)
        # north-up rasters in degrees have equal areas along a row, which saves the interpolation
        if np.isfinite(cells).all() and (
            np.ptp(cells, axis=1).max(initial=0) <= 1e-9 * cells.max(initial=0)
        ):
            return np.broadcast_to(cells[:, :1], (len(rows), self._between.shape[1]))
        with np.errstate(invalid='ignore'):  # infinity times 0, outside the globe
            areas: Float64[np.ndarray, 'h w'] = cells @ self._between
        width = areas.shape[1]
        for index in np.flatnonzero(~np.isfinite(cells).all(axis=1)):
            # the globe ends somewhere in between
            areas[index] = self.cells(np.full(width, rows[index]), np.arange(width, dtype=float))
        return areas

    def cells(
        self, rows: Float64[np.ndarray, ' n'], cols: Float64[np.ndarray, ' n']
    ) -> Float64[np.ndarray, ' n']:
        """Areas of single pixels."""
        corners = [
            self._to_ground(cols + right, rows + down)
            for right, down in ((0, 0), (1, 0), (1, 1), (0, 1))
        ]
        first_x, first_y = corners[0]
        # relative to the first corner: areas of cells would be lost in the digits of whole
        # coordinates, and a cell may lie across the antimeridian
        with np.errstate(invalid='ignore'):  # beyond the globe, coordinates are infinite
            x = np.stack([nearest_turn(x - first_x, 0.0, turn=self._turn) for x, _ in corners])
            y = np.stack([y - first_y for _, y in corners])
            # the shoelace formula
            doubled = (np.roll(x, 1, 0) * y - x * np.roll(y, 1, 0)).sum(0)
        areas: Float64[np.ndarray, ' n'] = np.abs(doubled) / 2
        return areas
