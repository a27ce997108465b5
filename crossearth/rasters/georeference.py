"""What ties a raster to the ground, and the conversion between its pixels and coordinates."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import rasterio.crs
from affine import Affine
from jaxtyping import Float64
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError
from rasterio._err import CPLE_BaseError
from rasterio.control import GroundControlPoint
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.rpc import RPC
from rasterio.transform import GCPTransformer, RPCTransformer

from crossearth.errors import ConfigError
from crossearth.rasters.globe import nearest_turn, turn_of

__all__ = [
    'Georeference',
    'GroundToPixels',
    'PixelsToGround',
    'Points',
    'apply_affine',
    'ground_gsd',
    'ground_pixels',
    'known_crs',
    'transformer_between',
]

_WGS84 = CRS.from_epsg(4326)
_ELLIPSOID = Geod(ellps='WGS84')
_TRUE_METRES = 1e-3  # relative scale error, as in a UTM zone
_SAME_PX = 0.01  # corners of grids within this distance count as equal

type Points = tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]
type ControlPoint = tuple[float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Georeference:
    """CRS, transform, ground control points and rational polynomials of a raster.

    Args:
        crs_wkt: CRS of the transform as WKT, or None.
        transform: `(col, row)` → `(x, y)`, counted from pixel corners; the identity if there is
            none.
        gcps: Ground control points as `(row, col, x, y, z)`; empty if there are none.
        gcps_crs_wkt: CRS of the ground control points as WKT, or None.
        rpcs: Rational polynomial coefficients, or None.
        pixel_is_point: Whether the file states that its coordinates are those of pixel centres.
    """

    crs_wkt: str | None = None
    transform: Affine = Affine.identity()  # noqa: RUF009  # immutable
    gcps: tuple[ControlPoint, ...] = ()
    gcps_crs_wkt: str | None = None
    rpcs: RPC | None = None
    pixel_is_point: bool = False

    @classmethod
    def of(cls, dataset: DatasetReader) -> 'Georeference':
        """The georeference of an open raster."""
        points, points_crs = dataset.gcps
        return cls(
            crs_wkt=None if dataset.crs is None else dataset.crs.to_wkt(),
            transform=dataset.transform,
            gcps=tuple((p.row, p.col, p.x, p.y, p.z or 0.0) for p in points),
            gcps_crs_wkt=None if points_crs is None else points_crs.to_wkt(),
            rpcs=dataset.rpcs,
            pixel_is_point=dataset.tags().get('AREA_OR_POINT') == 'Point',
        )

    @property
    def has_transform(self) -> bool:
        """Whether there is a transform. Rasters without one have the identity."""
        return not bool(self.transform == Affine.identity())

    @property
    def crs(self) -> CRS | None:
        """CRS of the transform; None if a raster lacks one of the two."""
        return known_crs(self.crs_wkt) if self.tie == 'transform' and self.crs_wkt else None

    @property
    def tie(self) -> Literal['transform', 'gcps', 'rpcs'] | None:
        """What ties the pixels to the ground, the most exact first; None if nothing does."""
        if self.crs_wkt is not None and self.has_transform:
            return 'transform'
        if self.gcps and self.gcps_crs_wkt is not None:
            return 'gcps'
        return None if self.rpcs is None else 'rpcs'

    @property
    def tie_crs(self) -> CRS | None:
        """CRS of the coordinates that `tie` gives."""
        if self.tie == 'rpcs':
            return _WGS84
        wkt = self.gcps_crs_wkt if self.tie == 'gcps' else self.crs_wkt
        return known_crs(wkt) if self.tie is not None and wkt is not None else None

    @property
    def has_size(self) -> bool:
        """Whether it states the size of pixels on the ground.

        It does not with a local CRS, which has no place on the globe, nor with a transform that
        puts all pixels on one line, nor with too few ground control points.
        """
        crs = self.tie_crs
        if crs is None or (self.tie == 'transform' and self.transform.is_degenerate):
            return False
        try:
            transformer_between(crs, _WGS84)
            _fitted(self, None, name='')
        except (ProjError, ConfigError):
            return False
        return True

    def require_tie(self, name: str) -> CRS:
        """The CRS of `tie`.

        Args:
            name: Name of the raster, for messages.

        Raises:
            ConfigError: If nothing ties the raster to the ground, or its transform puts all pixels
                on one line.
        """
        crs = self.tie_crs
        if crs is not None and self.tie == 'transform' and self.transform.is_degenerate:
            raise ConfigError(
                f'{name}: its transform, {tuple(self.transform)[:6]}, puts all pixels on one line, '
                'so they have no size on the ground: correct it (gdal_edit.py -a_ullr), or state '
                'the size (native_gsd_m=0.21 for a dataset, --gsd 0.21 for a map)'
            )
        if crs is not None:
            return crs
        if self.gcps:
            raise ConfigError(
                f'{name}: has {len(self.gcps)} ground control points without a CRS, so their place '
                'is not known: assign it (gdal_translate -a_srs EPSG:4326 in.tif out.tif, '
                "or crs='EPSG:4326' for a dataset), or leave gsd_m out"
            )
        lacks = 'no CRS' if self.has_transform else 'no CRS and transform'
        raise ConfigError(
            f'{name}: has {lacks}, so its pixels have no size on the ground: state '
            'it (native_gsd_m=0.21 for a dataset, --gsd 0.21 for a map), georeference it first '
            "(crs='EPSG:...' for a dataset whose images have a transform), or leave gsd_m out"
        )

    def has_same_grid(self, other: 'Georeference', *, height: int, width: int) -> bool:
        """Whether the pixels of two rasters of one size coincide, to a hundredth of a pixel.

        Only the transforms are compared if one of the two has no CRS.

        Args:
            other: Georeference of the other raster.
            height: Rows of both.
            width: Columns of both.
        """
        if self.crs_wkt and other.crs_wkt:
            one, two = known_crs(self.crs_wkt), known_crs(other.crs_wkt)
            if not one.equals(two, ignore_axis_order=True):  # rasters always put x first
                return False
        if self.transform == other.transform or other.transform.is_degenerate:
            return bool(self.transform == other.transform)
        corners = np.array([0.0, width, 0.0, width]), np.array([0.0, 0.0, height, height])
        moved = apply_affine(~other.transform @ self.transform, *corners)
        return bool(np.abs(np.subtract(moved, corners)).max() < _SAME_PX)

    def creation_options(self) -> MappingProxyType[str, Any]:
        """Arguments for `rasterio.open(..., 'w')`.

        A GeoTIFF holds a transform or ground control points, never both. The transform is exact, so
        it has priority. Control points without a CRS cannot be written and are left out.
        """
        options: dict[str, Any] = {}
        if self.has_transform or not self.gcps:
            options['crs'] = (
                None if self.crs_wkt is None else rasterio.crs.CRS.from_wkt(self.crs_wkt)
            )
            if self.has_transform:
                options['transform'] = self.transform
        elif self.gcps_crs_wkt is not None:
            options['crs'] = _rasterio_crs(self.gcps_crs_wkt)
            options['gcps'] = _control_points(self.gcps)
        if self.rpcs is not None:
            options['rpcs'] = self.rpcs
        return MappingProxyType(options)

    def finish(self, dataset: DatasetWriter) -> None:
        """Write what cannot be a creation option."""
        if self.pixel_is_point:
            dataset.update_tags(AREA_OR_POINT='Point')


class PixelsToGround:
    """Converts pixels of a raster to coordinates of a CRS.

    Args:
        georeference: Georeference of the raster.
        crs: CRS of the coordinates.
        name: Name of the raster, for messages.

    Raises:
        ConfigError: If the raster is not georeferenced, or its CRS is not tied to the globe.
    """

    def __init__(self, georeference: Georeference, crs: CRS, *, name: str) -> None:
        own = georeference.require_tie(name)
        # The transformation between datums depends on where a longitude lies, from -180 to 180.
        self._turn = turn_of(own) if own.is_geographic else None
        self._affine = georeference.transform
        self._fitted = _fitted(georeference, turn_of(own), name=name)
        self._project = None if own == crs else _between(own, crs, own=own, name=name)

    def __call__(self, cols: Float64[np.ndarray, ' n'], rows: Float64[np.ndarray, ' n']) -> Points:
        """Coordinates of points, given in pixels from the upper-left corner of the raster."""
        if self._fitted is None:
            x, y = apply_affine(self._affine, cols, rows)
        else:
            # rasterio would otherwise count from pixel centres
            found = self._fitted.xy(rows, cols, offset='ul')
            x, y = (np.asarray(values, np.float64) for values in found)
        if self._project is None:
            return x, y
        x, y = self._project.transform(nearest_turn(x, 0.0, turn=self._turn), y)
        return np.asarray(x, np.float64), np.asarray(y, np.float64)


class GroundToPixels:
    """Converts coordinates of a CRS to pixels of a raster: the inverse of `PixelsToGround`.

    Longitudes, and x of other CRSs that go around the globe, are shifted by whole turns to be
    nearest to the middle of the raster, which may cross the antimeridian or count from 0° to 360°.

    Args:
        georeference: Georeference of the raster.
        crs: CRS of the coordinates.
        height: Rows of the raster.
        width: Columns of the raster.
        name: Name of the raster, for messages.

    Raises:
        ConfigError: If the raster is not georeferenced, or its CRS is not tied to the globe.
    """

    def __init__(
        self, georeference: Georeference, crs: CRS, *, height: int, width: int, name: str
    ) -> None:
        own = georeference.require_tie(name)
        self._turn = turn_of(own)
        self._fitted = _fitted(georeference, self._turn, name=name)
        self._project = None if own == crs else _between(crs, own, own=own, name=name)
        self._back = ~georeference.transform if self._fitted is None else None
        to_own = PixelsToGround(georeference, own, name=name)
        (self._middle,), _ = to_own(np.array([width / 2]), np.array([height / 2]))

    def __call__(self, x: Float64[np.ndarray, ' n'], y: Float64[np.ndarray, ' n']) -> Points:
        """Columns and rows, in pixels from the upper-left corner; not finite outside the globe."""
        if self._project is not None:
            x, y = (np.asarray(v, np.float64) for v in self._project.transform(x, y))
        x = nearest_turn(x, self._middle, turn=self._turn)
        if self._back is not None:
            return apply_affine(self._back, x, y)
        assert self._fitted is not None
        known = np.isfinite(x) & np.isfinite(y)
        rows, cols = np.full((2, len(x)), np.nan)
        if known.any():  # np.positive keeps the fractions
            rows[known], cols[known] = self._fitted.rowcol(x[known], y[known], op=np.positive)
        return cols, rows


def ground_gsd(
    georeference: Georeference, *, height: int, width: int, name: str
) -> tuple[float, float] | None:
    """Metres on the ground from one pixel to the next, at the middle of a raster.

    They are measured on the ellipsoid: a degree is not a metre, and a metre of Web Mercator is
    `cos(latitude)` of one. Where the metres of a projection are true to a thousandth, they are
    taken as they are, so that half a metre of UTM is half a metre in every tile.

    Args:
        georeference: Georeference of the raster.
        height: Rows.
        width: Columns.
        name: Name of the raster, for messages.

    Returns:
        Along the columns and along the rows; None if the middle is outside the globe.

    Raises:
        ConfigError: If the raster is not georeferenced.

    Example:
        >>> mercator = Georeference(CRS.from_epsg(3857).to_wkt(), Affine(1, 0, 0, 0, -1, 8_399_738))
        >>> [round(size, 2) for size in ground_gsd(mercator, height=2, width=2, name='a.tif')]
        [0.5, 0.5]
    """
    middle = np.array([width / 2]), np.array([height / 2])
    (across,), (down,), _ = ground_pixels(georeference, *middle, name=name)
    if not (0 < across < math.inf and 0 < down < math.inf):
        return None
    stated = _sides_in_metres(georeference)
    if stated is not None and np.allclose(stated, (across, down), rtol=_TRUE_METRES, atol=0):
        return stated
    return float(across), float(down)


def ground_pixels(
    georeference: Georeference,
    cols: Float64[np.ndarray, ' n'],
    rows: Float64[np.ndarray, ' n'],
    *,
    name: str,
) -> tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]:
    """Pixels as they lie on the ellipsoid, each measured from its upper-left corner.

    Args:
        georeference: Georeference of the raster.
        cols: Columns of the corners.
        rows: Rows of the corners.
        name: Name of the raster, for messages.

    Returns:
        Metres to the next column; metres to the next row; cosine of the angle between the two
        directions, 0 for a right angle. Infinite where a pixel is outside the globe.

    Raises:
        ConfigError: If the raster is not georeferenced.
    """
    to_degrees = PixelsToGround(georeference, _WGS84, name=name)
    ends = np.stack([cols, cols + 1, cols]), np.stack([rows, rows, rows + 1])
    lon, lat = (values.reshape(3, -1) for values in to_degrees(*(end.ravel() for end in ends)))
    known = (np.isfinite(lon) & (np.abs(lat) <= 90)).all(axis=0)  # comparing NaN gives False
    across, down, skew = np.full((3, len(cols)), math.inf)
    (start, right, below), (top, beside, under) = lon[:, known], lat[:, known]
    to_right, _, across[known] = _ELLIPSOID.inv(start, top, right, beside)
    to_below, _, down[known] = _ELLIPSOID.inv(start, top, below, under)
    # the cosine of the angle between the sides, 0 for a right angle
    skew[known] = np.cos(np.radians(to_below - to_right))
    return across, down, skew


def _sides_in_metres(georeference: Georeference) -> tuple[float, float] | None:
    """Sides of pixels in metres of the projection; None without a projection."""
    crs = georeference.crs
    if crs is None or not crs.is_projected:
        return None
    a, b, _, d, e, _ = tuple(georeference.transform)[:6]
    metres = float(crs.axis_info[0].unit_conversion_factor)
    return math.hypot(a, d) * metres, math.hypot(b, e) * metres


def apply_affine(
    transform: Affine, x: Float64[np.ndarray, ' n'], y: Float64[np.ndarray, ' n']
) -> Points:
    """Points through an affine transform, element by element."""
    a, b, c, d, e, f = tuple(transform)[:6]
    with np.errstate(invalid='ignore'):  # infinity times 0, outside the globe
        return a * x + b * y + c, d * x + e * y + f


@functools.lru_cache(maxsize=1024)
def known_crs(wkt: str) -> CRS:
    """A CRS from its WKT, cached because parsing is slow and many files share one."""
    return CRS.from_wkt(wkt)


def transformer_between(source: CRS, target: CRS) -> Transformer:
    """A transformer of coordinates in the order x, y; cached because making one is slow."""
    return _transformer(source.srs, target.srs)  # CRSs themselves are slow to compare


@functools.lru_cache(maxsize=256)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _rasterio_crs(wkt: str | None) -> rasterio.crs.CRS | None:
    return None if wkt is None else rasterio.crs.CRS.from_wkt(wkt)


def _between(source: CRS, target: CRS, *, own: CRS, name: str) -> Transformer:
    try:
        return transformer_between(source, target)
    except ProjError as error:
        raise ConfigError(
            f'{name}: its CRS, {own.name}, is not tied to the globe ({error}), so its pixels have '
            'no size on the ground: georeference it first, state the size (native_gsd_m=0.21 '
            'for a dataset, --gsd 0.21 for a map), or leave gsd_m out'
        ) from error


def _fitted(
    georeference: Georeference, turn: float | None, *, name: str
) -> GCPTransformer | RPCTransformer | None:
    """GDAL's transformer for control points or polynomials; None for rasters with a transform.

    Raises:
        ConfigError: If the control points are too few, or lie on one line.
    """
    if georeference.tie == 'gcps':
        try:
            return GCPTransformer(_control_points(_side_by_side(georeference.gcps, turn=turn)))
        except CPLE_BaseError as error:
            raise ConfigError(
                f'{name}: its {len(georeference.gcps)} ground control points do not say where its '
                f'pixels lie ({error}): give it at least three that are not on one line '
                '(gdal_edit.py -gcp), or state the size of its pixels (native_gsd_m=0.21 for a '
                'dataset, --gsd 0.21 for a map)'
            ) from error
    if georeference.tie == 'rpcs':
        assert georeference.rpcs is not None
        # At one height, that of the middle of the scene, because relief moves pixels on the ground
        # by the same amount in both directions.
        return RPCTransformer(
            georeference.rpcs,
            RPC_HEIGHT=georeference.rpcs.height_off,
            RPC_PIXEL_ERROR_THRESHOLD=0.01,
        )
    return None


def _control_points(points: Sequence[ControlPoint]) -> list[GroundControlPoint]:
    return [
        GroundControlPoint(row=row, col=col, x=x, y=y, z=z, id=str(i))
        for i, (row, col, x, y, z) in enumerate(points, start=1)
    ]


def _side_by_side(points: Sequence[ControlPoint], *, turn: float | None) -> list[ControlPoint]:
    """Control points whose x continues across the seam of their CRS."""
    if turn is None:
        return list(points)
    x = nearest_turn(np.array([p[2] for p in points], np.float64), points[0][2], turn=turn)
    return [(p[0], p[1], float(at), p[3], p[4]) for p, at in zip(points, x, strict=True)]
