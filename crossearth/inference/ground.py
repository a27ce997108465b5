"""Between a scene's own grid and a grid of square metres that a model was trained on.

Nothing here trusts the units of a CRS: degrees are no metres, and a metre of EPSG:3857 is
`cos(latitude)` of one. Distances are measured on the ellipsoid, and models see a local projection
in which a pixel is as wide and as high on the ground as was asked for.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyproj
from affine import Affine
from jaxtyping import Float64
from rasterio.crs import CRS
from rasterio.transform import GCPTransformer, RPCTransformer

from crossearth.errors import ConfigError
from crossearth.geometry import local_projection
from crossearth.inference.georeference import Georeference

__all__ = [
    'ModelGrid',
    'PixelPath',
    'ground_gsd',
    'local_metric_crs',
    'model_grid',
]

_WGS84 = CRS.from_epsg(4326)
_SAME_GSD = 0.02  # scenes this close to the asked ground sampling distance are not resampled
_FINEST = 50
_LARGEST_EXTENT_M = 8e6  # beyond, no projection is fair to all of a scene

type Points = tuple[Float64[np.ndarray, ' n'], Float64[np.ndarray, ' n']]


@dataclass(frozen=True, slots=True)
class ModelGrid:
    """A grid of square pixels on the ground, around a scene.

    Args:
        crs: Local projection in metres.
        transform: `(col, row)` → metres.
        height: Rows.
        width: Columns.
        resampling: `'average'` where pixels become larger, `'bilinear'` where they do not.
    """

    crs: CRS
    transform: Affine
    height: int
    width: int
    resampling: Literal['average', 'bilinear']


class PixelPath:
    """From pixels of a raster to coordinates of a CRS.

    Args:
        georeference: Of the raster.
        crs: Of the coordinates.
        name: Of the raster, for messages.

    Raises:
        ConfigError: If nothing ties the raster to the ground, or its CRS is of no place on it.
    """

    def __init__(self, georeference: Georeference, crs: CRS, *, name: str) -> None:
        from_crs = georeference.tie_crs
        if georeference.tie is None or from_crs is None:
            raise ConfigError(
                f'{name} has no CRS, so its pixels have no size on the ground: map it without '
                'gsd_m, or georeference it first'
            )
        self._affine = georeference.transform
        self._fitted: GCPTransformer | RPCTransformer | None = None
        if georeference.tie == 'gcps':
            self._fitted = GCPTransformer(list(georeference.gcps))
        elif georeference.tie == 'rpcs':
            assert georeference.rpcs is not None
            # on one height, that of the middle of the scene: relief moves pixels on the ground,
            # the same way there and back
            self._fitted = RPCTransformer(
                georeference.rpcs,
                RPC_HEIGHT=georeference.rpcs.height_off,
                RPC_PIXEL_ERROR_THRESHOLD=0.01,
            )
        try:
            self._project = pyproj.Transformer.from_crs(
                pyproj.CRS.from_wkt(from_crs.to_wkt()),
                pyproj.CRS.from_wkt(crs.to_wkt()),
                always_xy=True,
            )
        except pyproj.exceptions.ProjError as error:
            raise ConfigError(
                f'{name} has a CRS that lies nowhere on the globe ({from_crs.to_wkt()[:60]}…): map '
                'it without gsd_m, or georeference it first'
            ) from error

    def __call__(self, cols: Float64[np.ndarray, ' n'], rows: Float64[np.ndarray, ' n']) -> Points:
        """Coordinates of points, given in pixels from the upper-left corner of the raster."""
        if self._fitted is None:
            x, y = _apply(self._affine, cols, rows)
        else:
            xy = self._fitted.xy(rows, cols, offset='ul')
            x, y = (np.asarray(values, np.float64) for values in xy)
        x, y = self._project.transform(x, y)
        return np.asarray(x, np.float64), np.asarray(y, np.float64)


def ground_gsd(
    georeference: Georeference, *, height: int, width: int, name: str
) -> tuple[float, float]:
    """Metres on the ellipsoid from one pixel to the next, at the middle of a raster.

    Args:
        georeference: Of the raster.
        height: Rows.
        width: Columns.
        name: Of the raster, for messages.

    Returns:
        Along the columns and along the rows.

    Raises:
        ConfigError: If nothing ties the raster to the ground.

    Example:
        >>> mercator = Georeference(
        ...     CRS.from_epsg(3857), Affine(1, 0, 0, 0, -1, 8_399_738), (), None, None,
        ...     pixel_is_point=False,
        ... )
        >>> [round(size, 2) for size in ground_gsd(mercator, height=2, width=2, name='a.tif')]
        [0.5, 0.5]
    """
    path = PixelPath(georeference, _WGS84, name=name)
    col, row = width / 2, height / 2
    lon, lat = path(np.array([col, col + 1, col]), np.array([row, row, row + 1]))
    geod = pyproj.Geod(ellps='WGS84')
    _, _, along = geod.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    return float(along[0]), float(along[1])


def local_metric_crs(lon: float | int, lat: float | int, *, span_m: float | int) -> CRS:
    """`local_projection` as a CRS."""
    return CRS.from_user_input(local_projection(lon, lat, span_m=span_m))


def model_grid(
    georeference: Georeference, *, height: int, width: int, gsd_m: float, name: str
) -> ModelGrid | None:
    """The grid of square pixels on which a model sees a scene.

    Args:
        georeference: Of the scene.
        height: Rows of the scene.
        width: Columns of the scene.
        gsd_m: Side of a pixel on the ground, in metres.
        name: Of the scene, for messages.

    Returns:
        A grid around the whole scene; None if the scene's own pixels are that large, to 2 %, along
        both axes, and nothing is gained by resampling it.

    Raises:
        ConfigError: If `gsd_m` is not positive or far too fine, nothing ties the scene to the
            ground, or it covers more of the globe than a projection is fair to.
    """
    if not (math.isfinite(gsd_m) and gsd_m > 0):
        raise ConfigError(f'gsd_m is {gsd_m}: expected metres, more than 0')
    across, down = ground_gsd(georeference, height=height, width=width, name=name)
    if not (math.isfinite(across) and math.isfinite(down)):
        raise ConfigError(f'{name}: the middle of the scene is not on the globe')
    if all(abs(size / gsd_m - 1) <= _SAME_GSD for size in (across, down)):
        return None
    if gsd_m < max(across, down) / _FINEST:
        raise ConfigError(
            f'gsd_m is {gsd_m:g}, and the pixels of {name} are {across:g} by {down:g} m: more than '
            f'{_FINEST} times finer shows nothing new; is it in metres?'
        )
    span_m = max(across * width, down * height)
    if span_m > _LARGEST_EXTENT_M:
        raise ConfigError(
            f'{name} is {span_m / 1000:.0f} km wide, where no grid has square pixels: cut it into '
            f'pieces below {_LARGEST_EXTENT_M / 1000:.0f} km, or map it without gsd_m'
        )
    middle = PixelPath(georeference, _WGS84, name=name)(
        np.array([width / 2]), np.array([height / 2])
    )
    crs = local_metric_crs(float(middle[0][0]), float(middle[1][0]), span_m=span_m)
    x, y = PixelPath(georeference, crs, name=name)(*_border(height, width))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ConfigError(f'{name} reaches beyond the globe: map it without gsd_m')
    left, top = math.floor(x.min() / gsd_m) * gsd_m, math.ceil(y.max() / gsd_m) * gsd_m
    return ModelGrid(
        crs=crs,
        transform=Affine(gsd_m, 0, left, 0, -gsd_m, top),
        height=max(math.ceil((top - y.min()) / gsd_m), 1),
        width=max(math.ceil((x.max() - left) / gsd_m), 1),
        resampling='average' if gsd_m > 1.2 * max(across, down) else 'bilinear',
    )


def _apply(transform: Affine, x: Float64[np.ndarray, ' n'], y: Float64[np.ndarray, ' n']) -> Points:
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


def _border(height: int, width: int) -> Points:
    steps = np.linspace(0, 1, 65)
    zero, one = np.zeros_like(steps), np.ones_like(steps)
    cols = np.concatenate([steps, steps, zero, one]) * width
    rows = np.concatenate([zero, one, steps, steps]) * height
    return cols, rows
