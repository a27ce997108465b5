"""What ties a raster to the ground, carried from a scene to its map unchanged."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.rpc import RPC
from rasterio.vrt import WarpedVRT

__all__ = ['Georeference']


@dataclass(frozen=True, slots=True)
class Georeference:
    """CRS, transform, ground control points and rational polynomials of a raster.

    Args:
        crs: Of the transform, or None.
        transform: `(col, row)` → `(x, y)`; the identity where there is none.
        gcps: Ground control points, empty where there are none.
        gcps_crs: Of the ground control points, or None.
        rpcs: Rational polynomial coefficients, or None.
        pixel_is_point: Whether the file says that coordinates are those of pixel centres. The
            transform here always counts from pixel corners.
    """

    crs: CRS | None
    transform: Affine
    gcps: tuple[GroundControlPoint, ...]
    gcps_crs: CRS | None
    rpcs: RPC | None
    pixel_is_point: bool

    @classmethod
    def of(cls, dataset: DatasetReader | WarpedVRT) -> 'Georeference':
        """That of an open raster."""
        gcps, gcps_crs = dataset.gcps
        return cls(
            crs=dataset.crs,
            transform=dataset.transform,
            gcps=tuple(gcps),
            gcps_crs=gcps_crs,
            rpcs=dataset.rpcs,
            pixel_is_point=dataset.tags().get('AREA_OR_POINT') == 'Point',
        )

    @classmethod
    def nowhere(cls) -> 'Georeference':
        """That of a raster that lies nowhere."""
        return cls(None, Affine.identity(), (), None, None, pixel_is_point=False)

    @property
    def has_transform(self) -> bool:
        """Whether there is a transform: rasters without one have the identity."""
        return not bool(self.transform == Affine.identity())

    @property
    def tie(self) -> Literal['transform', 'gcps', 'rpcs'] | None:
        """What its pixels are tied to the ground by, the most exact first; None for nothing."""
        if self.crs is not None and self.has_transform:
            return 'transform'
        if self.gcps and self.gcps_crs is not None:
            return 'gcps'
        return None if self.rpcs is None else 'rpcs'

    @property
    def tie_crs(self) -> CRS | None:
        """CRS of the coordinates that `tie` gives."""
        if self.tie == 'rpcs':
            return CRS.from_epsg(4326)
        return self.gcps_crs if self.tie == 'gcps' else self.crs

    def creation_options(self) -> MappingProxyType[str, Any]:
        """Arguments for `rasterio.open(..., 'w')`.

        A GeoTIFF holds a transform or ground control points, never both: the transform, which is
        exact, goes first.
        """
        options: dict[str, Any] = {}
        if self.has_transform or not self.gcps:
            options['crs'] = self.crs
            if self.has_transform:
                options['transform'] = self.transform
        else:
            options['crs'] = self.gcps_crs
            options['gcps'] = list(self.gcps)
        if self.rpcs is not None:
            options['rpcs'] = self.rpcs
        return MappingProxyType(options)

    def finish(self, dataset: DatasetWriter) -> None:
        """Write what is no creation option."""
        if self.pixel_is_point:
            dataset.update_tags(AREA_OR_POINT='Point')
