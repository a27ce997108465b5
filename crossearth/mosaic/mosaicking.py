"""Merges maps into one, block by block, whatever their number and size."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

from crossearth.errors import ConfigError, SceneError
from crossearth.geometry import Window
from crossearth.inference.map_lock import only_writer
from crossearth.inference.qgis import remove_qgis_style, write_attribute_table, write_qgis_style
from crossearth.inference.writer import (
    BLOCK_PX,
    Layer,
    Piece,
    RasterWriter,
    check_place,
    check_replaceable,
    label_layer,
    optimise_for_cloud,
    remove_leftovers,
    whole_file,
)
from crossearth.labels import LabelSpace
from crossearth.mosaic.grid import MosaicGrid, Placed, choose_grid
from crossearth.mosaic.reading import MapReader, Seen
from crossearth.mosaic.rules import Rule, by_rule, checked_rule
from crossearth.mosaic.sources import MapSource, describe_maps, is_mosaic
from crossearth.mosaic.virtual import write_virtual_mosaic
from crossearth.progress import counting
from crossearth.rasters import gdal_environment

__all__ = ['Mosaic', 'mosaic_maps']

_MOST_SOURCE_PX = 4096  # longest side to read from a map at once
_CACHE_BYTES = 64 << 20  # for blocks of maps that the next row of blocks may need again
_NODATA = {'uint8': 255, 'uint16': 65535}


@dataclass(frozen=True, slots=True)
class Mosaic:
    """A mosaic that was written.

    Args:
        path: The file.
        height: Rows.
        width: Columns.
        grid: Its grid, in words.
        maps: Number of maps in it.
        moved: Number of maps whose pixels do not coincide with those of the mosaic.
        rule: The rule that decides where maps overlap.
        seconds: Wall-clock time.
    """

    path: Path
    height: int
    width: int
    grid: str
    maps: int
    moved: int
    rule: Rule
    seconds: float


def mosaic_maps(
    maps: Sequence[str | Path],
    destination: str | Path,
    *,
    rule: Rule = 'centre',
    crs: str | None = None,
    pixel_size: float | int | None = None,
    confidences: Sequence[str | Path] | None = None,
    probabilities: Sequence[str | Path] | None = None,
    labels: LabelSpace | None = None,
    qgis_style: bool = True,
    progress: bool | Callable[[int, int], None] = False,
) -> Mosaic:
    """Merge maps of one label space into one map.

    Maps may have any CRS, resolution and offset. A pixel of the mosaic takes the class of the map
    pixel that contains its centre. Class ids are never interpolated, and pixels without data never
    hide pixels with data. The file appears under its name only when it is complete. Memory depends
    on how many maps overlap in one place, not on the size of the mosaic.

    Args:
        maps: GeoTIFFs of class ids, as written by `predict_scene`, in any number.
        destination: A `.tif`, which becomes a cloud-optimised GeoTIFF with the names, colours and
            styles of the maps. Or a `.vrt`, which refers to the maps by relative paths and holds no
            pixels. A VRT needs maps on one common grid, and the rule `'first'` or `'last'`.
        rule: What decides where maps overlap: `'first'`, `'last'`, `'centre'`, `'majority'`,
            `'confidence'` (needs `confidences`) or `'blend'` (needs `probabilities`), see
            `by_rule`.
        crs: CRS of the mosaic, such as `EPSG:32633`; None for that of most maps.
        pixel_size: Side of a pixel in units of the CRS; None for that of most maps in that CRS.
        confidences: The confidence of each map, in the same order.
        probabilities: The probabilities of each map, in the same order.
        labels: Names and colours; None for those of the maps.
        qgis_style: As in `Outputs`.
        progress: As in `predict_scene`, but in blocks.

    Returns:
        The file, and what it was made from.

    Raises:
        SceneNotFoundError: If a file does not exist.
        SceneError: If a file is not a map, or cannot be read.
        ConfigError: If maps have different classes or no place on the ground, or an argument does
            not make sense for them, or the destination exists and is not a mosaic.
        BusyError: If another process is writing the same file.
        WriteError: If the file cannot be written.
    """
    start = time.perf_counter()
    path = _check_destination(Path(destination), maps)
    _check_rule(checked_rule(rule), confidences, probabilities)
    with gdal_environment():
        sources = describe_maps(
            maps,
            confidences=confidences if rule == 'confidence' else None,
            probabilities=probabilities if rule == 'blend' else None,
        )
        grid, placed = choose_grid(sources, crs=crs, pixel_size=pixel_size)
        labels = sources[0].classes.labels if labels is None else labels
        layer = _layer(sources, labels, rule)
        with ExitStack() as stack:
            stack.enter_context(only_writer([path]))
            remove_leftovers(path)
            temporary = stack.enter_context(whole_file(path))
            styled = labels if qgis_style else None
            if path.suffix.lower() == '.vrt':
                write_virtual_mosaic(
                    temporary,
                    placed,
                    grid,
                    layer,
                    labels=styled,
                    folder=path.parent,
                    is_first_on_top=_is_first(rule),
                )
            else:
                _write(temporary, placed, grid, layer, rule, progress, path.name)
                optimise_for_cloud(temporary, overviews='mode')
                if styled is not None:
                    write_attribute_table(temporary, styled)
            if styled is None:
                remove_qgis_style(path)
            else:
                write_qgis_style(path, styled)
    return Mosaic(
        path=path,
        height=grid.height,
        width=grid.width,
        grid=str(grid),
        maps=len(sources),
        moved=sum(one.corner is None for one in placed),
        rule=rule,
        seconds=time.perf_counter() - start,
    )


def _check_destination(path: Path, maps: Sequence[str | Path]) -> Path:
    if path.suffix.lower() not in {'.tif', '.tiff', '.vrt'}:
        raise ConfigError(f'{path} is not a mosaic file: choose a name that ends in .tif or .vrt')
    check_place(path)
    if path.resolve() in {Path(one).resolve() for one in maps}:
        raise ConfigError(f'{path} is one of the maps: choose another name for the mosaic')
    check_replaceable(path)
    with suppress(SceneError):  # a damaged file may be replaced
        if path.exists() and not is_mosaic(path):
            raise ConfigError(
                f'{path} exists and is not a mosaic, so it may be one of your maps: the last path '
                'is the mosaic to write, so name a new file there'
            )
    return path


def _check_rule(
    rule: Rule,
    confidences: Sequence[str | Path] | None,
    probabilities: Sequence[str | Path] | None,
) -> None:
    for name, of_rule, given in (
        ('confidences', 'confidence', confidences),
        ('probabilities', 'blend', probabilities),
    ):
        if rule == of_rule and given is None:
            raise ConfigError(
                f'rule {rule!r} needs the {name} of the maps (--{name}), as written by crossearth '
                f'predict: pass them, or choose another rule'
            )
        if rule != of_rule and given is not None:
            raise ConfigError(
                f'{name} are given, but the rule is {rule!r}: leave them out, or use {of_rule!r}'
            )


def _is_first(rule: Rule) -> bool:
    if rule not in ('first', 'last'):
        raise ConfigError(
            f'rule is {rule!r}, but a VRT can only stack its maps: choose '
            "'first' or 'last' (--rule first), or write a .tif"
        )
    return rule == 'first'


def _layer(sources: Sequence[MapSource], labels: LabelSpace | None, rule: Rule) -> Layer:
    """What the file of the mosaic holds: type and nodata of the maps, and their classes."""
    dtype = max((source.dtype for source in sources), key=lambda name: np.dtype(name).itemsize)
    nodata = next((s.nodata for s in sources if s.nodata is not None), _NODATA[dtype])
    classes = sources[0].classes
    count = classes.count
    if labels is not None:
        if count is not None and labels.num_classes != count:
            raise ConfigError(
                f'labels {labels.name!r} have {labels.num_classes} classes, but the maps have '
                f'{count}: pass the labels of the maps'
            )
        count = labels.num_classes
    if count is None:
        layer = Layer(dtype, 1, nodata, {}, {}, ('class',))
    else:
        layer = label_layer(count, nodata=nodata, labels=labels)
    tags = dict(layer.tags)
    if labels is None:
        tags |= {f'CLASS_{index}': name for index, name in classes.names}
        tags |= {'LABEL_SPACE': classes.space} if classes.space else {}
    tags |= {'MOSAIC_RULE': rule, 'MOSAIC_MAPS': str(len(sources))}
    return replace(layer, tags=tags)


def _write(
    path: Path,
    placed: Sequence[Placed],
    grid: MosaicGrid,
    layer: Layer,
    rule: Rule,
    progress: bool | Callable[[int, int], None],
    name: str,
) -> None:
    """Write the mosaic, one block at a time."""
    rows, cols = (np.array([getattr(one, axis) for one in placed]) for axis in ('rows', 'cols'))
    # only a stronger map replaces an earlier one, so for 'last' the list is turned around
    order = range(len(placed) - 1, -1, -1) if rule == 'last' else range(len(placed))
    ordered = np.fromiter(order, np.int64)
    total = -(-grid.height // BLOCK_PX) * -(-grid.width // BLOCK_PX)
    with (
        gdal_environment(_CACHE_BYTES),
        counting(progress, total, name, unit='block') as advance,
        MapReader(
            grid,
            wants_confidence=rule == 'confidence',
            wants_probabilities=rule == 'blend',
        ) as reader,
        RasterWriter(
            path,
            height=grid.height,
            width=grid.width,
            layer=layer,
            georeference=grid.georeference,
            draft=True,
        ) as writer,
    ):
        for block in _windows(Window(0, 0, 0, grid.height, grid.width), BLOCK_PX):
            # one comparison for all maps, because this runs for every block
            touching = _touching(block, rows[ordered], cols[ordered])
            near = [placed[index] for index in ordered[touching].tolist()]
            values = np.full((1, block.height, block.width), layer.nodata, layer.dtype)
            for window in _windows(block, _side_px(near)):
                seen = _seen(reader, near, window, layer)
                chosen, known = by_rule(rule, seen, shape=(window.height, window.width))
                row, col = window.row - block.row, window.col - block.col
                part = values[0, row : row + window.height, col : col + window.width]
                part[known] = chosen[known]
            writer.place(Piece((1,), block.row, block.col, values))
            advance(1)


def _seen(
    reader: MapReader, placed: Sequence[Placed], window: Window, layer: Layer
) -> Iterator[Seen]:
    """Maps in a window; an error if a label is not a class."""
    number = layer.tags.get('NUM_CLASSES')
    for one in placed:
        seen = reader.see(one, window)
        if seen is None or not seen.known.any():
            continue
        labels = seen.ids[seen.known]
        if number is not None and int(labels.max()) >= int(number):
            raise SceneError(
                f'{one.source.path} holds class {int(labels.max())}, but has {number} classes: '
                'make the map again'
            )
        if (labels == layer.nodata).any():
            raise SceneError(
                f'{one.source.path} has pixels of class {layer.nodata}, which means no data '
                'in the mosaic: set the nodata of the map (gdal_edit.py -a_nodata)'
            )
        yield seen


def _windows(whole: Window, side: int) -> Iterator[Window]:
    """Windows that cover another one, row by row."""
    for row in range(whole.row, whole.stop[0], side):
        for col in range(whole.col, whole.stop[1], side):
            height, width = min(side, whole.stop[0] - row), min(side, whole.stop[1] - col)
            yield Window(0, row, col, height, width)


def _touching(
    window: Window, rows: Int64[np.ndarray, 'n 2'], cols: Int64[np.ndarray, 'n 2']
) -> Bool[np.ndarray, ' n']:
    touching: Bool[np.ndarray, ' n'] = (
        (rows[:, 0] < window.stop[0])
        & (rows[:, 1] > window.row)
        & (cols[:, 0] < window.stop[1])
        & (cols[:, 1] > window.col)
    )
    return touching


def _side_px(placed: Sequence[Placed]) -> int:
    """Side of a window that reads little of every map, whose pixels may be much smaller."""
    side = BLOCK_PX
    finest = max((one.source_px for one in placed), default=1.0)
    while side > 1 and side * finest > _MOST_SOURCE_PX:
        side //= 2
    return side
