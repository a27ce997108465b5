"""A map divided into strata: its classes, or its classes split by confidence.

The map is read in strips of rows, and never more than one strip is in memory. The first pass counts
the pixels of each stratum and their area. The second pass finds the drawn pixels, and reads only
strips that contain some. Pixels of a stratum are numbered in reading order. So drawing numbers
without replacement gives every pixel the same probability, and the sample depends only on the seed
and the pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import rasterio
from jaxtyping import Float64, Int64, Integer, Shaped
from rasterio.errors import RasterioIOError

from crossearth.errors import ConfigError, SceneError
from crossearth.inference.map_files import open_confidence, open_map
from crossearth.inference.writer import class_names
from crossearth.labels import LabelSpace
from crossearth.rasters import CellAreas, Georeference

__all__ = ['Pixels', 'StratifiedMap', 'Stratum']

_READ_PIXELS = 1 << 25  # per strip that is decoded at once
_COUNT_PIXELS = 1 << 21  # per strip that is counted at once


@dataclass(frozen=True, slots=True)
class Stratum:
    """A part of the map that is sampled separately.

    Args:
        class_id: Class in the map.
        name: Name of the class, and the range of confidence if strata are split by it.
        pixels: Number of pixels.
        area_m2: Their area on the ground, in square metres.
    """

    class_id: int
    name: str
    pixels: int
    area_m2: float


class Pixels(NamedTuple):
    """Drawn pixels: stratum, row and column of each."""

    strata: Int64[np.ndarray, ' n']
    rows: Int64[np.ndarray, ' n']
    cols: Int64[np.ndarray, ' n']


class _Strip(NamedTuple):
    """Rows of the map: the stratum key of each pixel, 0 where there is no data."""

    row: int
    keys: Int64[np.ndarray, 'h w']


class StratifiedMap:
    """An open map whose pixels belong to strata; a context manager.

    Args:
        path: GeoTIFF of class ids.
        confidence: Raster of the map's confidence, as written by `predict`; None to use the classes
            as strata.
        edges: Confidences that split each class, from 0 to 1.
        labels: Class names; None for those in the map.
        nodata: No-data value; None for the map's own.

    Raises:
        SceneNotFoundError: If a file does not exist.
        SceneError: If the map is not one band of integers, or cannot be read.
        ConfigError: If it has no CRS and transform, or the confidence holds something else or has
            another grid.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        confidence: str | Path | None = None,
        edges: Sequence[float] = (),
        labels: LabelSpace | None = None,
        nodata: int | None = None,
    ) -> None:
        self.path = Path(path)
        self._map = open_map(path)
        self._edges = _check_edges(edges, given=confidence is not None)
        self.georeference = _check_map(self._map)
        self._confidence = None
        if confidence is not None:
            self._confidence = open_confidence(confidence, self._map)
        self.height, self.width = self._map.height, self._map.width
        self.nodata = self._map.nodata if nodata is None else nodata
        self._named = (
            class_names(self._map.tags()) if labels is None else dict(enumerate(labels.classes))
        )
        self._areas = CellAreas(self.georeference, width=self.width, name=str(path))
        self.strata: tuple[Stratum, ...] = ()
        self._key_of: dict[int, int] = {}
        self._counted: list[tuple[int, Mapping[int, int]]] = []

    def __enter__(self) -> 'StratifiedMap':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._map.close()
        if self._confidence is not None:
            self._confidence.close()

    @property
    def classes(self) -> dict[int, str]:
        """Class names that the map can have, by id; known once strata are counted."""
        found = {stratum.class_id for stratum in self.strata}
        return dict(sorted(({i: f'class {i}' for i in found} | self._named).items()))

    def count(self) -> tuple[Stratum, ...]:
        """Read the whole map, and count the pixels and areas of its strata.

        Raises:
            SceneError: If no pixel has data, or a part cannot be read.
            ConfigError: If pixels with data have no confidence, or are not on the globe.
        """
        pixels: dict[int, int] = {}
        areas: dict[int, float] = {}
        self._counted = []
        strips = (strip for step in self._steps() for strip in self._strips(*step))
        for row, keys in strips:
            stop = row + len(keys)
            cell_areas = self._areas.rows(row, stop)
            if not np.isfinite(cell_areas[keys > 0]).all():
                raise ConfigError(
                    f'{self.path}: pixels of rows {row} to {stop - 1} are not on the globe, so '
                    'they have no area: cut the map to where its CRS is valid'
                )
            flat = keys.ravel()
            counts = np.bincount(flat)
            sums = np.bincount(flat, np.where(flat > 0, cell_areas.ravel(), 0))
            here = {int(key): int(counts[key]) for key in np.flatnonzero(counts) if key > 0}
            for key, number in here.items():
                pixels[key] = pixels.get(key, 0) + number
                areas[key] = areas.get(key, 0.0) + float(sums[key])
            self._counted.append((row, here))
        if not pixels:
            raise SceneError(
                f'{self.path}: no pixel has data, so there is nothing to assess: check the no-data '
                'value'
            )
        self._key_of = dict(enumerate(sorted(pixels)))
        self.strata = tuple(
            Stratum(self._class_of(key), self._name_of(key), pixels[key], areas[key])
            for key in self._key_of.values()
        )
        return self.strata

    def draw(self, sizes: Int64[np.ndarray, ' s'], generator: np.random.Generator) -> Pixels:
        """Draw pixels without replacement, with equal probability in each stratum.

        Args:
            sizes: Number of pixels to draw from each stratum.
            generator: Source of randomness.

        Returns:
            The pixels, in the order of their strata.
        """
        wanted = {
            # sorted, because `_numbers_by_strip` searches them
            self._key_of[index]: np.sort(generator.choice(stratum.pixels, size, replace=False))
            for index, (stratum, size) in enumerate(zip(self.strata, sizes, strict=True))
        }
        rows: dict[int, list[Int64[np.ndarray, ' _']]] = {key: [] for key in wanted}
        cols: dict[int, list[Int64[np.ndarray, ' _']]] = {key: [] for key in wanted}
        chosen = self._numbers_by_strip(wanted)
        for first, stop in self._steps():
            if not any(first <= row < stop for row in chosen):
                continue  # no pixel was drawn here
            for row, keys in self._strips(first, stop):
                for key, numbers in chosen.get(row, {}).items():
                    flat = np.flatnonzero(keys == key)[numbers]
                    rows[key].append(row + flat // self.width)
                    cols[key].append(flat % self.width)
        found = [len(wanted[key]) for key in self._key_of.values()]
        return Pixels(
            np.repeat(np.arange(len(found)), found),
            np.concatenate([part for key in self._key_of.values() for part in rows[key]]),
            np.concatenate([part for key in self._key_of.values() for part in cols[key]]),
        )

    def areas_of(self, pixels: Pixels) -> Float64[np.ndarray, ' n']:
        """Areas of pixels on the ground, in square metres."""
        return self._areas.cells(pixels.rows.astype(np.float64), pixels.cols.astype(np.float64))

    def _numbers_by_strip(
        self, wanted: Mapping[int, Int64[np.ndarray, ' _']]
    ) -> dict[int, dict[int, Int64[np.ndarray, ' _']]]:
        """First row of a strip → stratum → which of its pixels in this strip were drawn."""
        chosen: dict[int, dict[int, Int64[np.ndarray, ' _']]] = {}
        before = dict.fromkeys(wanted, 0)
        for row, here in self._counted:
            for key, number in here.items():
                first, stop = np.searchsorted(wanted[key], [before[key], before[key] + number])
                if stop > first:
                    chosen.setdefault(row, {})[key] = wanted[key][first:stop] - before[key]
                before[key] += number
        return chosen

    def _steps(self) -> list[tuple[int, int]]:
        """Rows to decode at once: whole blocks of the file, and whole strips."""
        strip = self._strip_rows
        block = max(-(-self._map.block_shapes[0][0] // strip), 1) * strip
        step = min(max(_READ_PIXELS // self.width // strip, 1) * strip, block)
        return [(row, min(row + step, self.height)) for row in range(0, self.height, step)]

    @property
    def _strip_rows(self) -> int:
        return max(_COUNT_PIXELS // int(self.width), 1)

    def _strips(self, first: int, stop: int) -> Iterator[_Strip]:
        """Keys of the rows that are decoded at once."""
        classes = self._read(self._map, first, stop)
        sure = None if self._confidence is None else self._read(self._confidence, first, stop)
        for row in range(0, stop - first, self._strip_rows):
            part = slice(row, row + self._strip_rows)
            keys = self._keys(classes[part], None if sure is None else sure[part], first + row)
            yield _Strip(first + row, keys)

    def _keys(
        self,
        classes: Integer[np.ndarray, 'h w'],
        sure: Shaped[np.ndarray, 'h w'] | None,
        row: int,
    ) -> Int64[np.ndarray, 'h w']:
        ids = classes.astype(np.int64)
        valid = np.ones(ids.shape, bool) if self.nodata is None else ids != self.nodata
        lowest = ids[valid].min(initial=0)
        if lowest < 0:
            raise SceneError(f'{self.path} holds {lowest}: expected class ids of at least 0')
        parts = len(self._edges) + 1
        keys = ids * parts + 1
        if sure is not None and self._confidence is not None:
            scale, none = self._confidence.scales[0], self._confidence.nodata
            missing = valid & (~np.isfinite(sure) | (False if none is None else sure == none))
            if missing.any():
                raise ConfigError(
                    f'{self._confidence.name}: {int(missing.sum())} pixels of rows {row} to '
                    f'{row + len(ids) - 1} have a class but no confidence: pass the confidence '
                    'that was written with this map'
                )
            values = sure * scale
            highest = values[valid].max(initial=0)
            if highest > 1 + 1e-6:  # the scale of a file may be rounded
                raise ConfigError(
                    f'{self._confidence.name}: confidence is up to {highest:g}: expected 0 to 1, '
                    'so store its scale in the file (gdal_edit.py -scale 0.01, if it is in percent)'
                )
            # a confidence equal to an edge counts as above it, even after rounding to bytes
            half = scale / 2 if np.issubdtype(sure.dtype, np.integer) else 0.0
            edges = np.array(self._edges, values.dtype) - half
            keys += np.searchsorted(edges, values, side='right')
        return np.where(valid, keys, 0)

    def _read(
        self, dataset: rasterio.DatasetReader, row: int, stop: int
    ) -> Shaped[np.ndarray, 'h w']:
        try:
            values: Shaped[np.ndarray, 'h w'] = dataset.read(
                1, window=((row, stop), (0, self.width))
            )
        except RasterioIOError as error:
            raise SceneError(
                f'{dataset.name}: rows {row} to {stop - 1} cannot be read ({error}), so the file '
                'is damaged: make it again'
            ) from error
        return values

    def _class_of(self, key: int) -> int:
        return (key - 1) // (len(self._edges) + 1)

    def _name_of(self, key: int) -> str:
        name = self._named.get(self._class_of(key), f'class {self._class_of(key)}')
        if not self._edges:
            return name
        ends = (0.0, *self._edges, 1.0)
        part = (key - 1) % (len(self._edges) + 1)
        return f'{name}, confidence {ends[part]:g}–{ends[part + 1]:g}'


def _check_edges(edges: Sequence[float], *, given: bool) -> tuple[float, ...]:
    found = tuple(float(edge) for edge in edges) if given else ()
    if given and not found:
        raise ConfigError(
            'a confidence was given without edges that split it: pass at least one, such as 0.8'
        )
    if list(found) != sorted(set(found)) or not all(0 < edge < 1 for edge in found):
        raise ConfigError(
            f'edges of confidence are {found}: expected rising numbers from 0 to 1, such as 0.6 0.9'
        )
    return found


def _check_map(dataset: rasterio.DatasetReader) -> Georeference:
    where = Georeference.of(dataset)
    if where.crs is None or not where.has_transform:
        raise ConfigError(
            f'{dataset.name} has no CRS and transform, so its points have no place on the ground '
            'and its pixels have no area: warp it first'
        )
    return where
