"""Maps that are read again: one band of class ids, from top to bottom."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import rasterio
from jaxtyping import Shaped
from rasterio.errors import RasterioIOError

from crossearth.errors import ConfigError, SceneError
from crossearth.rasters import open_raster

__all__ = ['class_id', 'open_map', 'read_strips', 'require_same_grid']

_STRIP_PIXELS = 1 << 21  # of a strip, whatever the width of the map: they bound the memory


def open_map(source: str | Path) -> rasterio.DatasetReader:
    """Open a map.

    Raises:
        SceneNotFoundError: If the file is not there.
        SceneError: If it is not a raster of one integer band.
    """
    dataset = open_raster(str(source))
    if dataset.count != 1 or np.dtype(dataset.dtypes[0]).kind not in 'ui':
        found = f'{dataset.count} band(s) of {dataset.dtypes[0]}'
        dataset.close()
        raise SceneError(f'{source} has {found}: expected a map, one band of class ids')
    return dataset


def read_strips(dataset: rasterio.DatasetReader) -> Iterator[Shaped[np.ndarray, 'h w']]:
    """Rows of the first band, in strips of whole blocks and about two million pixels.

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
    """The id of a class that is given by name or id.

    Args:
        wanted: Name, in any case, or id.
        names: Names of the map's classes by id; empty if it has none.

    Raises:
        ConfigError: If no class has the name.

    Example:
        >>> class_id('Road', {0: 'background', 1: 'road'}), class_id(7, {})
        (1, 7)
    """
    if isinstance(wanted, int):
        return wanted
    ids = {name.lower(): index for index, name in names.items()}
    if wanted.lower() not in ids:
        raise ConfigError(
            f'no class is named {wanted!r}: expected {", ".join(names.values())}'
            if ids
            else f'no class is named {wanted!r}, for the map has no names: give the id'
        )
    return ids[wanted.lower()]


def require_same_grid(sure: rasterio.DatasetReader, of_map: rasterio.DatasetReader) -> None:
    """Refuse a confidence that is not that of a map.

    Raises:
        ConfigError: If it lies on another grid.
    """
    if sure.shape != of_map.shape or not sure.transform.almost_equals(of_map.transform):
        raise ConfigError(
            f'{sure.name} has {sure.shape} px at {sure.transform[:6]}, the map {of_map.shape} at '
            f'{of_map.transform[:6]}: expected one grid, that of the map'
        )
