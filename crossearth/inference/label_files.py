"""Writes label maps from arrays to files that lie on the grid of their image."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from affine import Affine
from jaxtyping import UInt8

from crossearth.inference.writer import Layer, RasterWriter, whole_file
from crossearth.rasters import Georeference, gdal_environment

__all__ = ['write_labels']


def write_labels(
    path: Path,
    values: UInt8[np.ndarray, 'c h w'],
    *,
    crs_wkt: str | None,
    transform: Affine,
    tags: Mapping[str, str] | None = None,
    nodata: int | None = None,
) -> None:
    """Write a label map as GeoTIFF. The file appears under its name only when it is complete.

    Args:
        path: File to write; its folder is created if missing.
        values: One band of ids or grey levels, or three of colours.
        crs_wkt: CRS of the image, as WKT; None without a georeference.
        transform: `(col, row)` → `(x, y)`; the identity without a georeference.
        tags: Metadata of the file.
        nodata: Value of pixels without a label, in every band.

    Raises:
        WriteError: If the file cannot be written.
    """
    place = Georeference(crs_wkt, transform)
    names = ('red', 'green', 'blue') if len(values) == 3 else ('label',)
    layer = Layer('uint8', len(values), nodata, {}, dict(tags or {}), names)
    path.parent.mkdir(parents=True, exist_ok=True)
    _, height, width = values.shape
    with (
        gdal_environment(),
        whole_file(path) as temporary,
        RasterWriter(
            temporary, height=height, width=width, layer=layer, georeference=place
        ) as writer,
    ):
        writer.write(values)
