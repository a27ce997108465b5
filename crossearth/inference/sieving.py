"""Minimum mapping unit: regions that are too small become part of what surrounds them."""

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
        left: Number of small regions that stayed, for no neighbour reaches its unit.
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
    """Give regions that are smaller than a minimum mapping unit the class of the largest neighbour.

    A region is a set of connected pixels of one class. One that is smaller than the unit of its
    class takes the class of its largest neighbour. If that one is too small as well, it takes what
    that one takes. Pixels without data neither change nor count as neighbours. This is repeated
    until nothing changes. What is left of small regions then has neighbours that are all too small
    themselves, such as an island in pixels without data.

    The map is read in strips, three times for each round, most often one. Memory is that of a
    strip, and some 60 bytes for each region, whatever the size of the map. Colours, names,
    metadata, attribute table and style are those of the map, and the file appears under its name
    only when it is complete. Files of confidence and probabilities stay as they are: they are about
    the classes that the model chose.

    Args:
        source: Map of class ids.
        destination: GeoTIFF to write.
        min_area_m2: Unit in square metres on the ground: one number, or one for each class by name
            or id. Classes that are not named have none.
        min_pixels: Unit in pixels, likewise; give either.
        connectivity: 4, or 8: pixels that touch at a corner are connected as well.

    Returns:
        The file, and what happened.

    Raises:
        SceneNotFoundError: If the map is not there.
        SceneError: If it is not a raster of one integer band, or is damaged.
        ConfigError: If an argument has no meaning, or areas are asked for and the map lies nowhere.
        WriteError: If the file cannot be written.
        BusyError: If another process is writing it.

    Source:
        One round is what GDAL's `gdal_sieve` does, to the pixel, if the unit is in pixels and the
        same for all classes; it leaves the regions that later rounds find.
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
                    again = temporary.with_name(f'again-{path.name}')
                    _write(once, plan, original, rule, again)
            if plan.merged:
                again.replace(temporary)
        optimise_as(original, temporary)
        copy_companions(Path(source), path, temporary, stack)
    return SievedMap(path, merged, plan.left, time.perf_counter() - start)


class _Rule(NamedTuple):
    """What is too small."""

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
    """What becomes of each region of a map, in the order in which strips number them."""

    values: Shaped[np.ndarray, ' n']
    merged: int
    left: int


class _Regions(NamedTuple):
    """Regions of a map; what lies in several strips has a part in each."""

    roots: Int64[np.ndarray, ' n']  # the part that stands for all of them; -1 without data
    values: Shaped[np.ndarray, ' n']
    sizes: Float64[np.ndarray, ' n']  # of the whole region, at its root


class _Strip(NamedTuple):
    """Rows of a map, with the row above, and the parts of regions in them."""

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
        for wanted, unit in given.items():
            index = class_id(wanted, names)
            if not 0 <= index < len(units):
                raise ConfigError(f'class {index}: expected 0 to {len(units) - 1}')
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
    # a chain of small neighbours ends at a large one, or runs in circles; its length halves
    after = np.where(small & (largest >= 0), largest, np.arange(len(largest)))
    while True:
        further = after[after]
        if (small[further] == small[after]).all():
            break
        after = further
    resolved = small & ~small[after]
    values = found.values.copy()
    values[resolved] = found.values[after[resolved]]
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
        ground = None if cells is None else cells.rows(strip.row, strip.row + len(strip.labels))
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
            f'{dataset.name}: nothing ties it to the ground, so that its regions have no area in '
            'square metres: give the unit in pixels (min_pixels, --min-pixels)'
        ) from error


def _largest_neighbours(
    dataset: rasterio.DatasetReader,
    rule: _Rule,
    found: _Regions,
    small: Bool[np.ndarray, ' n'],
) -> Int64[np.ndarray, ' n']:
    """The largest neighbour of each small region, the first met among equals; -1 for none."""
    largest = np.full(len(small), -1)
    for strip in _strips(dataset, rule):
        roots = found.roots[strip.ids]
        before = None if strip.above is None else found.roots[strip.above[1]]
        regions, neighbours, order = _neighbours(roots, before, small, rule.connectivity)
        if not len(regions):
            continue
        size = found.sizes[neighbours]
        best = np.lexsort((order, -size, regions))
        regions, at = np.unique(regions[best], return_index=True)
        new = neighbours[best[at]]
        known = largest[regions]
        better = (known < 0) | (found.sizes[new] > found.sizes[known])
        largest[regions[better]] = new[better]
    return largest


def _neighbours(
    roots: Int64[np.ndarray, 'h w'],
    above: Int64[np.ndarray, ' w'] | None,
    small: Bool[np.ndarray, ' n'],
    connectivity: int,
) -> tuple[Int64[np.ndarray, ' k'], Int64[np.ndarray, ' k'], Int64[np.ndarray, ' k']]:
    """Pairs of a small region and a neighbour, and when reading along the rows meets them."""
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
