"""Counts how much of each class a map holds, and how confident the model was."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from jaxtyping import Float64, Int64
from rasterio.errors import RasterioIOError

from crossearth.errors import ConfigError, SceneError
from crossearth.inference.map_classes import require_map
from crossearth.inference.map_files import open_confidence, open_map
from crossearth.inference.writer import class_names
from crossearth.rasters import CellAreas, Georeference, gdal_environment

__all__ = ['ClassSummary', 'MapSummary', 'area_text', 'summarise_map']

_STRIP_PIXELS = 1 << 21


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """What a map holds of one class.

    Args:
        index: Class id.
        name: Class name.
        pixels: Number of pixels.
        area_m2: Area on the ground in square metres; None for maps without a georeference.
        share: Share of the area that has data; without areas, share of the pixels.
        confidence: Mean confidence of the pixels, from 0 to 1; None if it was not written.
    """

    index: int
    name: str
    pixels: int
    area_m2: float | None
    share: float
    confidence: float | None


@dataclass(frozen=True, slots=True)
class MapSummary:
    """What a map holds.

    Args:
        classes: The classes that it names or contains, by id.
        nodata: Number of pixels without data.
    """

    classes: tuple[ClassSummary, ...]
    nodata: int

    def __str__(self) -> str:
        """A table with one line per class, and one for the pixels without data."""
        header = ('class', 'pixels', 'area', 'share', 'mean confidence')
        rows = [
            (
                one.name,
                f'{one.pixels:,}',
                area_text(one.area_m2),
                f'{one.share:.1%}',
                '–' if one.confidence is None else f'{one.confidence:.2f}',
            )
            for one in self.classes
        ]
        rows.append(('no data', f'{self.nodata:,}', '', '', ''))
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        return '\n'.join(
            '  '.join(
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (header, *rows)
        )


def summarise_map(path: str | Path, *, confidence: str | Path | None = None) -> MapSummary:
    """Count the pixels of each class of a map, and their area on the ground.

    The map is read in strips, so memory does not grow with its height.

    Args:
        path: GeoTIFF of class ids.
        confidence: The confidence that was written with the map, on the same grid.

    Raises:
        SceneNotFoundError: If a file does not exist.
        SceneError: If a file cannot be read, or is not a map.
        ConfigError: If the confidence holds something else, or its grid differs from the map's.
    """
    with ExitStack() as stack:
        stack.enter_context(gdal_environment())
        of_map = stack.enter_context(open_map(path))
        require_map(of_map, path)
        sure = None
        if confidence is not None:
            sure = stack.enter_context(open_confidence(confidence, of_map))
        nodata = None if of_map.nodata is None else int(of_map.nodata)
        names = class_names(of_map.tags())
        pixels, areas, certainties = _sums(of_map, sure)
    none = 0 if nodata is None or nodata >= len(pixels) else int(pixels[nodata])
    ids = sorted((set(np.flatnonzero(pixels).tolist()) | names.keys()) - {nodata})
    kept = [index for index in ids if index < len(pixels)]
    has_areas = bool(np.isfinite(areas[kept]).all())
    weights = areas if has_areas else pixels.astype(np.float64)
    # a map without classes has shares of 0, not 0 / 0
    total = float(weights[kept].sum()) or 1.0

    def summary(index: int) -> ClassSummary:
        number = int(pixels[index]) if index < len(pixels) else 0
        known = sure is not None and number > 0
        return ClassSummary(
            index=index,
            name=names.get(index, f'class {index}'),
            pixels=number,
            area_m2=(float(areas[index]) if number else 0.0) if has_areas else None,
            share=float(weights[index]) / total if number else 0.0,
            confidence=float(certainties[index]) / number if known else None,
        )

    return MapSummary(tuple(summary(index) for index in ids), none)


def _sums(
    of_map: rasterio.DatasetReader, sure: rasterio.DatasetReader | None
) -> tuple[Int64[np.ndarray, ' k'], Float64[np.ndarray, ' k'], Float64[np.ndarray, ' k']]:
    """Pixels, areas and summed confidence by class id. Areas are NaN without a georeference."""
    # one bin per possible value, so that counts of all strips have the same length
    length = np.iinfo(of_map.dtypes[0]).max + 1
    pixels = np.zeros(length, np.int64)
    areas, certainties = np.zeros((2, length))
    try:
        cells = CellAreas(Georeference.of(of_map), width=of_map.width, name=of_map.name)
    except ConfigError:
        cells = None
        areas[:] = np.nan
    rows = max(_STRIP_PIXELS // of_map.width, 1)
    for row in range(0, of_map.height, rows):
        stop = min(row + rows, of_map.height)
        window = ((row, stop), (0, of_map.width))
        try:
            ids = of_map.read(1, window=window).ravel()
            values = None if sure is None else sure.read(1, window=window).ravel()
        except RasterioIOError as error:
            raise SceneError(
                f'{of_map.name}: rows {row} to {stop - 1} cannot be read ({error}): make the map '
                'again'
            ) from error
        pixels += np.bincount(ids, minlength=length)
        if cells is not None:
            areas += np.bincount(ids, cells.rows(row, stop).ravel(), minlength=length)
        if values is not None and sure is not None:
            # confidence is stored as bytes, with the scale in the header
            certainties += np.bincount(ids, values * float(sure.scales[0]), minlength=length)
    return pixels, areas, certainties


def area_text(square_metres: float | None) -> str:
    """An area in a suitable unit; a dash for None."""
    if square_metres is None:
        return '–'
    for unit, size in (('km²', 1e6), ('ha', 1e4)):
        if square_metres >= size:
            return f'{square_metres / size:,.2f} {unit}'
    return f'{square_metres:,.1f} m²'
