"""Opens finished maps, one band of class ids, and reads them from top to bottom."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import rasterio
from jaxtyping import Shaped
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioIOError

from crossearth.errors import ConfigError, SceneError
from crossearth.rasters import Georeference, open_raster

__all__ = ['class_id', 'open_confidence', 'open_map', 'read_strips', 'require_confidence']

_OTHER_PRODUCTS = {'class': 'class ids', 'entropy': 'entropy'}  # by band description
_STRIP_PIXELS = 1 << 21  # per strip, whatever the width of the map, to bound the memory


def open_map(source: str | Path) -> rasterio.DatasetReader:
    """Open a map.

    Raises:
        SceneNotFoundError: If the file does not exist.
        SceneError: If it is not a raster with one integer band, or marks no-data with a mask.
    """
    dataset = open_raster(str(source))
    if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        dataset.close()
        raise SceneError(
            f'{source} marks where it has data with a mask: expected a nodata value. Convert it '
            f'with crossearth mosaic {source} OUT.tif'
        )
    if dataset.count != 1 or np.dtype(dataset.dtypes[0]).kind not in 'ui':
        found = f'{dataset.count} band(s) of {dataset.dtypes[0]}'
        dataset.close()
        raise SceneError(f'{source} has {found}: expected a map, one band of class ids')
    return dataset


def read_strips(dataset: rasterio.DatasetReader) -> Iterator[Shaped[np.ndarray, 'h w']]:
    """Rows of the first band, in strips of whole blocks with about two million pixels.

    Raises:
        SceneError: If rows cannot be read.
    """
    rows = min(max(_STRIP_PIXELS // dataset.width // 64 * 64, 64), 512)
    for row in range(0, dataset.height, rows):
        window = ((row, min(row + rows, dataset.height)), (0, dataset.width))
        try:
            values = dataset.read(1, window=window)
        except RasterioIOError as error:
            raise SceneError(
                f'{dataset.name}: rows {row} to {window[0][1] - 1} cannot be read ({error}): the '
                'map is damaged, make it again'
            ) from error
        yield values


def class_id(wanted: str | int, names: Mapping[int, str]) -> int:
    """The id of a class given by name or id.

    Args:
        wanted: Name, in upper or lower case, or id.
        names: Names of the map's classes by id; empty if it has none.

    Raises:
        ConfigError: If no class has that name or, for a map with names, that id.

    Example:
        >>> class_id('Road', {0: 'background', 1: 'road'}), class_id(7, {})
        (1, 7)
    """
    if isinstance(wanted, int):
        if names and wanted not in names:
            known = ', '.join(f'{index} {name}' for index, name in sorted(names.items()))
            raise ConfigError(f'no class has the id {wanted}: expected one of {known}')
        return wanted
    ids = {name.lower(): index for index, name in names.items()}
    if wanted.lower() not in ids:
        raise ConfigError(
            f'no class is named {wanted!r}: expected {", ".join(names.values())}'
            if ids
            else f'no class is named {wanted!r}, because the map has no class names: give the id'
        )
    return ids[wanted.lower()]


def open_confidence(path: str | Path, of_map: rasterio.DatasetReader) -> rasterio.DatasetReader:
    """Open the confidence that was written with a map.

    Raises:
        SceneNotFoundError: If the file does not exist.
        SceneError: If it is not a raster.
        ConfigError: If it holds something else, or its grid differs from the map's.
    """
    sure = open_raster(str(path))
    try:
        require_confidence(sure, path)
        _require_same_grid(sure, of_map)
    except ConfigError:
        sure.close()
        raise
    return sure


def require_confidence(sure: rasterio.DatasetReader, name: str | Path) -> None:
    """Refuse a raster that is not a confidence, such as the map itself.

    Raises:
        ConfigError: If it has several bands, or its band description names another product.
    """
    holds = sure.descriptions[0]
    if sure.count != 1 or holds in _OTHER_PRODUCTS:
        found = f'a band of {_OTHER_PRODUCTS[holds]}' if sure.count == 1 else f'{sure.count} bands'
        raise ConfigError(
            f'{name} has {found}: expected the confidence of the map, in one band, as written by '
            'crossearth predict --confidence'
        )


def _require_same_grid(sure: rasterio.DatasetReader, of_map: rasterio.DatasetReader) -> None:
    height, width = of_map.shape
    place, expected = Georeference.of(sure), Georeference.of(of_map)
    if sure.shape != of_map.shape or not place.has_same_grid(expected, height=height, width=width):
        raise ConfigError(
            f'{sure.name} has {_grid_text(sure)}, but the map has {_grid_text(of_map)}: expected '
            'the same grid, so pass the confidence that was written with the map'
        )


def _grid_text(dataset: rasterio.DatasetReader) -> str:
    crs = 'no CRS' if dataset.crs is None else dataset.crs.to_string()[:60]
    return f'{dataset.shape} px at {dataset.transform[:6]} in {crs}'
