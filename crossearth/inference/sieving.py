"""Applies a minimum mapping unit: merges small regions of a map into their neighbours."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import rasterio
from jaxtyping import Bool, Float64, Int64, Shaped

from crossearth.errors import ConfigError, SceneError
from crossearth.inference.components import components, groups, seam_links
from crossearth.inference.map_copies import copy_companions, copy_metadata, layer_of, optimise_as
from crossearth.inference.map_files import class_id, open_map, read_strips
from crossearth.inference.map_lock import only_writer
from crossearth.inference.writer import (
    RasterWriter,
    check_destination,
    class_names,
    remove_leftovers,
    whole_file,
)
from crossearth.rasters import CellAreas, Georeference, gdal_environment

__all__ = ['SievedMap', 'sieve_map']

type Units = float | int | Mapping[str | int, float | int]


@dataclass(frozen=True, slots=True)
class SievedMap:
    """A map without small regions.

    Args:
        path: The file.
        merged: Number of small regions that took another class.
        left: Number of small regions that stayed, because no neighbour reaches its unit.
        seconds: Wall-clock time.
    """

    path: Path
    merged: int
    left: int
    seconds: float


def sieve_map(
    source: str | Path,
    destination: str | Path,
    *,
    min_area_m2: Units | None = None,
    min_pixels: Units | None = None,
    connectivity: Literal[4, 8] = 4,
) -> SievedMap:
    """Give regions below a minimum mapping unit the class of their largest neighbour.

    A region is a set of connected pixels of one class. If it is smaller than the unit of its class,
    it takes the class of its largest neighbour. If that neighbour is too small as well, it takes
    whatever the neighbour takes. Pixels without data neither change nor count as neighbours. This
    is repeated until nothing changes. Small regions that are left then have only neighbours that
    are too small themselves, or none, such as an island in pixels without data.

    The map is read in strips, three times per round, and one round is usually enough. Memory grows
    by one strip and about 60 bytes per region, whatever the size of the map. The new map keeps the
    colours, names, metadata, attribute table and style, and appears under its name only when it is
    complete. Files of confidence and probabilities are not changed, because they describe the
    classes that the model chose.

    Args:
        source: Map of class ids.
        destination: GeoTIFF to write.
        min_area_m2: Unit in square metres on the ground: one number, or one per class by name or
            id. Classes that are not named have no unit.
        min_pixels: Unit in pixels, in the same form; give only one of the two.
        connectivity: 4, or 8 to also connect pixels that touch at a corner.

    Returns:
        The file and the number of regions merged.

    Raises:
        SceneNotFoundError: If the map does not exist.
        SceneError: If it is not a raster with one integer band, or is damaged.
        ConfigError: If an argument does not make sense, or areas are given but the map has no place
            on the ground.
        WriteError: If the file cannot be written.
        BusyError: If another process is writing it.

    Source:
        One round equals GDAL's `gdal_sieve`, to the pixel, if the unit is in pixels and the same
        for all classes. `gdal_sieve` does only one round.
    """
    start = time.perf_counter()
    if connectivity not in (4, 8):
        raise ConfigError(f'connectivity is {connectivity}: expected 4 or 8')
    path = check_destination(destination, source)
    merged = 0
    with ExitStack() as stack:
        stack.enter_context(gdal_environment())
        stack.enter_context(only_writer([path]))
        remove_leftovers(path)
        original = stack.enter_context(open_map(source))
        units = _units(original, min_area_m2=min_area_m2, min_pixels=min_pixels)
        rule = _Rule(units, min_area_m2 is not None, connectivity)
        temporary = stack.enter_context(whole_file(path))
        plan = _plan(original, rule)
        _write(original, plan, original, rule, temporary)
        while True:
            merged += plan.merged
            if not plan.left or not plan.merged:
                break
            with rasterio.open(temporary) as once:
                plan = _plan(once, rule)
                if plan.merged:
                    # into another file, because the last result is still being read
                    again = temporary.with_name(f'again-{path.name}')
                    _write(once, plan, original, rule, again)
            if plan.merged:
                again.replace(temporary)
        optimise_as(original, temporary)
        copy_companions(Path(source), path, temporary, stack)
    return SievedMap(path, merged, plan.left, time.perf_counter() - start)


class _Rule(NamedTuple):
    """Which regions are too small."""

    units: Float64[np.ndarray, ' k']
    in_square_metres: bool
    connectivity: int

    def __str__(self) -> str:
        unit = 'm2' if self.in_square_metres else 'px'
        told = np.unique(self.units)
        text = (
            f'{told[0]:g} {unit}'
            if len(told) == 1
            else ', '.join(
                f'class {i}: {self.units[i]:g} {unit}' for i in np.flatnonzero(self.units)
            )
        )
        return f'{text}; {self.connectivity}-connected'


class _Plan(NamedTuple):
    """The new value of each region of a map, in the order in which strips number them."""

    values: Shaped[np.ndarray, ' n']
    merged: int
    left: int


class _Regions(NamedTuple):
    """Regions of a map. A region that crosses several strips has a part in each."""

    roots: Int64[np.ndarray, ' n']  # the part that represents the whole region; -1 without data
    values: Shaped[np.ndarray, ' n']
    sizes: Float64[np.ndarray, ' n']  # of the whole region, at its root


class _Strip(NamedTuple):
    """Rows of a map with the row above, and the parts of regions in them."""

    row: int
    labels: Shaped[np.ndarray, 'h w']
    ids: Int64[np.ndarray, 'h w']
    number: int
    above: tuple[Shaped[np.ndarray, ' w'], Int64[np.ndarray, ' w']] | None


def _units(
    dataset: rasterio.DatasetReader, *, min_area_m2: Units | None, min_pixels: Units | None
) -> Float64[np.ndarray, ' k']:
    """The unit of each value that a pixel may have."""
    if dataset.dtypes[0] not in {'uint8', 'uint16'}:
        raise SceneError(
            f'{dataset.name} has {dataset.dtypes[0]}: expected class ids in uint8 or uint16'
        )
    if (min_area_m2 is None) == (min_pixels is None):
        raise ConfigError(
            f'min_area_m2 is {min_area_m2}, min_pixels is {min_pixels}: expected one of the two'
        )
    given = min_pixels if min_area_m2 is None else min_area_m2
    assert given is not None
    units = np.zeros(np.iinfo(dataset.dtypes[0]).max + 1)
    if isinstance(given, Mapping):
        names = class_names(dataset.tags())
        seen = set()
        for wanted, unit in given.items():
            index = class_id(wanted, names)
            if index in seen:
                raise ConfigError(
                    f'class {index} has two units, the second one by {wanted!r}: pass each class '
                    'once, by name or id'
                )
            seen.add(index)
            if not 0 <= index < len(units):
                raise ConfigError(
                    f'the unit names class {index}: expected an id from 0 to {len(units) - 1}'
                )
            units[index] = unit
    else:
        units[:] = given
    if not (np.isfinite(units).all() and (units >= 0).all() and units.any()):
        raise ConfigError(f'the minimum mapping unit is {given}: expected numbers above 0')
    return units


def _strips(dataset: rasterio.DatasetReader, rule: _Rule) -> Iterator[_Strip]:
    row = first = 0
    above = None
    for labels in read_strips(dataset):
        ids, number = components(labels, connectivity=rule.connectivity)
        # the numbers of one strip fit in int32, those of all strips need not
        ids = ids.astype(np.int64) + first
        yield _Strip(row, labels, ids, number, above)
        above = labels[-1], ids[-1]
        row, first = row + len(labels), first + number


def _plan(dataset: rasterio.DatasetReader, rule: _Rule) -> _Plan:
    found = _regions(dataset, rule)
    is_root = found.roots == np.arange(len(found.roots))
    small = is_root & (found.sizes < rule.units[found.values])
    if not small.any():
        return _Plan(found.values, 0, 0)
    largest = _largest_neighbours(dataset, rule, found, small)
    # a chain of small neighbours ends at a large one or in a cycle; each pass halves its length
    after = np.where(small & (largest >= 0), largest, np.arange(len(largest)))
    while True:
        further = after[after]
        if (small[further] == small[after]).all():
            break
        after = further
    resolved = small & ~small[after]
    values = found.values.copy()
    values[resolved] = found.values[after[resolved]]
    # a root of −1 would index the last part
    has_data = found.roots >= 0
    values[has_data] = values[found.roots[has_data]]
    merged = int(resolved.sum())
    return _Plan(values, merged, int(small.sum()) - merged)


def _regions(dataset: rasterio.DatasetReader, rule: _Rule) -> _Regions:
    cells = None
    if rule.in_square_metres:
        cells = _cell_areas(dataset)
    values, sizes, upper, lower = [], [], [], []
    for strip in _strips(dataset, rule):
        here = (strip.ids - strip.ids[0, 0]).ravel()
        of_part = np.zeros(strip.number, strip.labels.dtype)
        of_part[here] = strip.labels.ravel()
        values.append(of_part)
        ground = None
        if cells is not None:
            ground = cells.rows(strip.row, strip.row + len(strip.labels))
            # what lies outside the globe covers no ground
            ground = np.where(np.isfinite(ground), ground, 0.0)
        sizes.append(np.bincount(here, None if ground is None else ground.ravel()).astype(float))
        if strip.above is not None:
            labels = np.stack([strip.above[0], strip.labels[0]])
            ids = np.stack([strip.above[1], strip.ids[0]])
            one, other = seam_links(labels, ids, connectivity=rule.connectivity)
            upper.append(one)
            lower.append(other)
    of_parts, sizes_of_parts = np.concatenate(values), np.concatenate(sizes)
    roots = np.arange(len(of_parts))
    if upper:
        # only regions at seams take part, so this graph stays small
        touching, ends = np.unique(np.concatenate([*upper, *lower]), return_inverse=True)
        above, below = np.split(ends, 2)
        of_group, number = groups(above, below, len(touching))
        first = np.full(number, len(roots))
        np.minimum.at(first, of_group, touching)
        roots[touching] = first[of_group]
    whole = np.bincount(roots, sizes_of_parts, len(roots))
    if dataset.nodata is not None:
        roots[of_parts == dataset.nodata] = -1
    return _Regions(roots, of_parts, whole)


def _cell_areas(dataset: rasterio.DatasetReader) -> CellAreas:
    try:
        return CellAreas(Georeference.of(dataset), width=dataset.width, name=dataset.name)
    except ConfigError as error:
        raise ConfigError(
            f'{dataset.name}: its regions have no area in square metres, because it has no '
            'georeference: give the unit in pixels (min_pixels, --min-pixels)'
        ) from error


def _largest_neighbours(
    dataset: rasterio.DatasetReader,
    rule: _Rule,
    found: _Regions,
    small: Bool[np.ndarray, ' n'],
) -> Int64[np.ndarray, ' n']:
    """The largest neighbour of each small region, the first one among equals; -1 for none."""
    largest = np.full(len(small), -1)
    for strip in _strips(dataset, rule):
        roots = found.roots[strip.ids]
        before = None if strip.above is None else found.roots[strip.above[1]]
        regions, neighbours, order = _neighbours(roots, before, small, rule.connectivity)
        if not len(regions):
            continue
        size = found.sizes[neighbours]
        # `lexsort` sorts by its last key first: by region, then by size, then in reading order
        best = np.lexsort((order, -size, regions))
        regions, at = np.unique(regions[best], return_index=True)
        new = neighbours[best[at]]
        known = largest[regions]
        # strictly larger, so that among equals the first one stays, from an earlier strip
        better = (known < 0) | (found.sizes[new] > found.sizes[known])
        largest[regions[better]] = new[better]
    return largest


def _neighbours(
    roots: Int64[np.ndarray, 'h w'],
    above: Int64[np.ndarray, ' w'] | None,
    small: Bool[np.ndarray, ' n'],
    connectivity: int,
) -> tuple[Int64[np.ndarray, ' k'], Int64[np.ndarray, ' k'], Int64[np.ndarray, ' k']]:
    """Pairs of a small region and a neighbour, and their position in reading order."""
    first = np.full(roots.shape[1], -1) if above is None else above
    upper = np.concatenate([first[None], roots[:-1]])
    steps = [(roots, upper, 0, 0), (roots[:, 1:], roots[:, :-1], 1, 3)]
    if connectivity == 8:
        steps += [(roots[:, 1:], upper[:, :-1], 1, 1), (roots[:, :-1], upper[:, 1:], 0, 2)]
    regions, neighbours, orders = [], [], []
    for one, other, shift, place in steps:
        row, col = np.nonzero((one != other) & (one >= 0) & (other >= 0))
        a, b = one[row, col], other[row, col]
        order = (row * roots.shape[1] + col + shift) * 4 + place
        for region, neighbour in ((a, b), (b, a)):
            kept = small[region]
            regions.append(region[kept])
            neighbours.append(neighbour[kept])
            orders.append(order[kept])
    return np.concatenate(regions), np.concatenate(neighbours), np.concatenate(orders)


def _write(
    dataset: rasterio.DatasetReader,
    plan: _Plan,
    original: rasterio.DatasetReader,
    rule: _Rule,
    path: Path,
) -> None:
    with RasterWriter(
        path,
        height=original.height,
        width=original.width,
        layer=layer_of(original),
        georeference=Georeference.of(original),
    ) as writer:
        for strip in _strips(dataset, rule):
            writer.write(plan.values[strip.ids][None])
    copy_metadata(original, path, SIEVED=str(rule))
