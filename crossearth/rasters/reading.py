"""Windows of pixels from open files, with a bounded number of handles."""

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import rasterio
from jaxtyping import Bool, Shaped, UInt8
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from crossearth.describing import Described
from crossearth.geometry import Window, window_transform
from crossearth.labels import IGNORE_INDEX
from crossearth.rasters.masks import Mask
from crossearth.rasters.native_pixels import to_native
from crossearth.rasters.opening import WHOLE_PNG, damaged, open_raster
from crossearth.rasters.positions import (
    FRACTIONS,
    PixelMap,
    Places,
    Positions,
    places_of,
    positions_of,
)
from crossearth.rasters.raster import Raster
from crossearth.rasters.resampling import resample_axes, resample_box, resample_nearest
from crossearth.rasters.vector_labels import VectorLabels

__all__ = ['RasterReader', 'colours_of']

type Decode = Callable[[Shaped[np.ndarray, 'c a b']], UInt8[np.ndarray, 'a b']]
type Read = tuple[Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w'] | None]
type Lose = Callable[[Window], None]

_PIECE_PX = 512  # resampled at once, so that positions and weights stay in the cache
_MOST_SOURCE_VALUES = 1 << 25  # read at once for resampling, unless a pixel needs more
_MOST_MASK_PX = 1 << 23


class RasterReader(Described):
    """Reads windows of rasters and keeps open the files that it used last.

    Training and mapping read only through this class, so that a model sees the same values in both.
    A pixel does not depend on the window in which it is read.

    Handles belong to the process that opened them. After a fork, or in an unpickled copy, the
    reader starts without any, so it can be passed to the workers of a data loader.

    Args:
        max_open: Maximum number of files open at once.
        lose: Called with each block that cannot be read, in pixels of its file; what lies there
            then holds no data. None makes such blocks errors.
    """

    def __init__(self, max_open: int = 64, *, lose: Lose | None = None) -> None:
        self.max_open = max_open
        self._lose = lose
        self._start()

    def __getstate__(self) -> dict[str, Any]:
        return {'max_open': self.max_open, 'lose': self._lose}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # an unpickled reader is a new one

    def _start(self) -> None:
        self._handles: OrderedDict[str, rasterio.DatasetReader] = OrderedDict()
        self._maps: OrderedDict[Any, PixelMap] = OrderedDict()
        self._latest: tuple[Any, Positions] | None = None
        self._process = os.getpid()
        # Files left open until the interpreter shuts down make GDAL report errors to nobody.
        weakref.finalize(self, _close, self._handles)

    def read(self, raster: Raster, window: Window) -> Read:
        """Pixels of a window, and which of them hold data; None if all do.

        A pixel holds no data in five cases: it lies outside the raster; a mask or an alpha band of
        the file says so; a band is not finite; a band holds its no-data value, and no measurement
        could have that value (not 0, in a signed or floating type); or all bands hold theirs, if
        it could be a measurement (0, and any value of an unsigned type). Such a pixel gets the
        raster's `black` value, which models see as 0.

        Args:
            raster: What to read.
            window: Pixels of it; may overhang its borders.

        Raises:
            SceneError: If the file or a block cannot be read.
            ConfigError: If it is resampled on the ground, and its file is not georeferenced.
        """
        if raster.native is not None:
            return self._resampled(raster, raster.native, window)
        if window.inside(raster.height, raster.width):
            pixels, shown = self._block(raster, window)
        else:
            pixels, shown = self._padded(raster, window)
        if shown is not None:
            pixels[:, ~shown] = raster.black
        return pixels, shown

    def labels(
        self,
        raster: Raster,
        labels: Mask | VectorLabels,
        window: Window,
        decode: Decode,
        *,
        coloured: bool = False,
    ) -> UInt8[np.ndarray, 'h w']:
        """Class ids of a window; 255 outside of the raster and of its mask.

        Args:
            raster: The image.
            labels: Its mask or vectors.
            window: Pixels of the image.
            decode: Raw mask values (c, h, w) → class ids.
            coloured: Whether classes are colours. If so, masks with a palette are decoded by the
                colours in it, not by its numbers.

        Raises:
            SceneError: If labels cannot be read.
            LabelError: If they hold something that is not a class.
        """
        if isinstance(labels, VectorLabels):
            place = window_transform(raster.transform, window.row, window.col)
            burnt = labels.burn(raster.crs, place, height=window.height, width=window.width)
            outside = self._outside(raster, window)
            if outside is not None:
                burnt[outside] = IGNORE_INDEX
            return burnt
        if labels.on_image and raster.native is None:
            rows, cols = _inside(raster, window)
            ids = decode(self._raw_mask(labels, _part(window, rows, cols), coloured=coloured))
            if ids.shape == (window.height, window.width):
                return ids
            padded = np.full((window.height, window.width), IGNORE_INDEX, np.uint8)
            padded[rows, cols] = ids
            return padded
        ids = self._nearest_labels(raster, labels, window, decode, coloured=coloured)
        outside = self._outside(raster, window)
        if outside is not None:
            ids[outside] = IGNORE_INDEX
        return ids

    def _nearest_labels(
        self, raster: Raster, mask: Mask, window: Window, decode: Decode, *, coloured: bool
    ) -> UInt8[np.ndarray, 'h w']:
        """Class ids of the mask pixels that are nearest to those of a window."""
        if mask.on_image and raster.steps_px is not None:
            return self._picked_labels(raster, mask, window, decode, coloured=coloured)
        if mask.on_image:
            assert raster.native is not None
            positions = self._positions(raster, raster.native, window)
        else:
            positions = self._mask_positions(raster, mask, window)
        ids = np.full((window.height, window.width), IGNORE_INDEX, np.uint8)
        needed = _needed(positions, mask.height, mask.width)
        if needed is None:
            return ids
        if needed.height * needed.width > _MOST_MASK_PX and window.height * window.width > 1:
            # In a far finer mask, many pixels lie between those that are taken.
            for rows, cols in _halves(window):
                part = _part(window, rows, cols)
                ids[rows, cols] = self._nearest_labels(
                    raster, mask, part, decode, coloured=coloured
                )
            return ids
        known = positions.inside(mask.height, mask.width)
        raw = self._raw_mask(mask, needed, coloured=coloured)
        found = resample_nearest(decode(raw), positions, top=needed.row, left=needed.col)
        return found if known is None else np.where(known, found, ids)

    def _picked_labels(
        self, raster: Raster, mask: Mask, window: Window, decode: Decode, *, coloured: bool
    ) -> UInt8[np.ndarray, 'h w']:
        """`_nearest_labels` for a mask on an image that is resampled along its own axes."""
        ids = np.full((window.height, window.width), IGNORE_INDEX, np.uint8)
        rows, cols = _places(raster, window)
        needed = _block_of(rows.needed(mask.height), cols.needed(mask.width))
        if needed is None:
            return ids
        if needed.height * needed.width > _MOST_MASK_PX and window.height * window.width > 1:
            for half in _halves(window):
                part = _part(window, *half)
                ids[half] = self._picked_labels(raster, mask, part, decode, coloured=coloured)
            return ids
        here = np.ix_(rows.inside(mask.height), cols.inside(mask.width))
        at_rows = rows.nearest(mask.height)[rows.inside(mask.height)] - needed.row
        at_cols = cols.nearest(mask.width)[cols.inside(mask.width)] - needed.col
        raw = self._raw_mask(mask, needed, coloured=coloured)
        ids[here] = decode(raw[:, at_rows][:, :, at_cols])
        return ids

    def block_hw(self, raster: Raster) -> tuple[int, int]:
        """Height and width of the largest block of a raster's file."""
        shapes = self._open(raster.path).block_shapes
        heights, widths = zip(*(shapes[band - 1] for band in raster.bands), strict=True)
        return max(heights), max(widths)

    def files(self, raster: Raster) -> list[str]:
        """Names of the files that a raster is stored in, according to GDAL."""
        return list(self._open(raster.path).files)

    def close(self) -> None:
        """Close every file."""
        _close(self._handles)

    def _resampled(self, raster: Raster, native: Raster, window: Window) -> Read:
        """A window of a resampled raster, piece by piece, each from a source block of some size."""
        pieces = _pieces(raster, native, window)
        if len(pieces) == 1:
            return self._piece(raster, native, window)
        pixels = np.empty((len(raster.bands), window.height, window.width), raster.dtype)
        shown: Bool[np.ndarray, 'h w'] | None = None
        for piece in pieces:
            top, left = piece.row - window.row, piece.col - window.col
            part = slice(top, top + piece.height), slice(left, left + piece.width)
            pixels[:, *part], known = self._piece(raster, native, piece)
            if known is not None:
                if shown is None:
                    shown = np.ones((window.height, window.width), bool)
                shown[part] = known
        return pixels, shown

    def _piece(self, raster: Raster, native: Raster, window: Window) -> Read:
        if raster.steps_px is not None:
            return self._piece_along_axes(raster, native, window)
        positions = self._positions(raster, native, window)
        needed = _needed(positions, native.height, native.width)
        if needed is None:
            return _nothing(raster, window)
        pixels, valid = self._block(native, needed)
        image, shown = resample_box(pixels, valid, positions, top=needed.row, left=needed.col)
        if shown is not None and raster.black:
            image[:, ~shown] = raster.black
        return image, shown

    def _piece_along_axes(self, raster: Raster, native: Raster, window: Window) -> Read:
        rows, cols = _places(raster, window)
        needed = _block_of(rows.needed(native.height), cols.needed(native.width))
        if needed is None:
            return _nothing(raster, window)
        pixels, valid = self._block(native, needed)
        image, shown = resample_axes(pixels, valid, rows, cols, top=needed.row, left=needed.col)
        if shown is not None and raster.black:
            image[:, ~shown] = raster.black
        return image, shown

    def _positions(self, raster: Raster, native: Raster, window: Window) -> Positions:
        """Where the pixels of a resampled raster lie in its file."""
        key = (native.path, raster.transform, None if raster.crs is None else raster.crs.srs)
        if self._latest is not None and self._latest[0] == (key, window):
            return self._latest[1]  # an image and its mask are read one after the other
        if key not in self._maps:
            self._remember(key, to_native(raster))
        size = {'height': native.height, 'width': native.width}
        positions = positions_of(self._maps[key], window, **size)
        self._latest = ((key, window), positions)
        return positions

    def _mask_positions(self, raster: Raster, mask: Mask, window: Window) -> Positions:
        """Where the pixels of an image lie in a mask that has its own georeference."""
        own = raster if raster.steps_px is None or raster.native is None else raster.native
        key = (mask.path, own.path, own.transform)
        if key not in self._maps:
            self._remember(key, mask.map_from(own))
        pixel_map = self._maps[key]
        if raster.steps_px is not None:  # windows have many steps, but their image has one map
            down, across = raster.steps_px
            to_mask = pixel_map
            pixel_map = lambda cols, rows: to_mask(cols * across, rows * down)  # noqa: E731
        return positions_of(pixel_map, window, height=mask.height, width=mask.width)

    def _remember(self, key: Any, pixel_map: PixelMap) -> None:
        while len(self._maps) >= self.max_open:
            self._maps.popitem(last=False)
        self._maps[key] = pixel_map

    def _outside(self, raster: Raster, window: Window) -> Bool[np.ndarray, 'h w'] | None:
        """Which pixels of a window lie outside of its image; None for none."""
        if raster.native is not None and raster.steps_px is None:
            native = raster.native
            inside = self._positions(raster, native, window).inside(native.height, native.width)
            return None if inside is None else ~inside
        if window.inside(raster.height, raster.width):
            return None
        outside = np.ones((window.height, window.width), bool)
        outside[_inside(raster, window)] = False
        return outside

    def _padded(self, raster: Raster, window: Window) -> Read:
        rows, cols = _inside(raster, window)
        part = _part(window, rows, cols)
        padded = np.zeros((len(raster.bands), window.height, window.width), raster.dtype)
        valid = np.zeros(padded.shape[1:], bool)
        padded[:, rows, cols], shown = self._block(raster, part)
        valid[rows, cols] = True if shown is None else shown
        return padded, valid

    def _block(self, raster: Raster, window: Window) -> Read:
        """Pixels of a window inside a file, unchanged, and which of them hold data."""
        try:
            return self._read(raster, window)
        except RasterioError as error:
            if self._lose is None:
                bottom, right = window.stop
                part = f'rows {window.row}-{bottom - 1}, columns {window.col}-{right - 1}'
                raise damaged(raster.path, part, error) from error
            return self._readable_blocks(raster, window, self._lose)

    def _readable_blocks(self, raster: Raster, window: Window, lose: Lose) -> Read:
        """`_read`, block by block of the file; blocks that fail hold no data."""
        pixels = np.zeros((len(raster.bands), window.height, window.width), raster.dtype)
        valid = np.zeros(pixels.shape[1:], bool)
        height, width = self.block_hw(raster)
        bottom, right = window.stop
        for row in range(window.row // height * height, bottom, height):
            for col in range(window.col // width * width, right, width):
                top, left = max(row, window.row), max(col, window.col)
                rows = slice(top - window.row, min(row + height, bottom) - window.row)
                cols = slice(left - window.col, min(col + width, right) - window.col)
                try:
                    part, known = self._read(raster, _part(window, rows, cols))
                except RasterioError:
                    whole = min(height, raster.height - row), min(width, raster.width - col)
                    lose(Window(0, row, col, *whole))
                else:
                    pixels[:, rows, cols] = part
                    valid[rows, cols] = True if known is None else known
        return pixels, valid

    def _read(self, raster: Raster, window: Window) -> Read:
        handle = self._open(raster.path)
        place = RasterWindow(window.col, window.row, window.width, window.height)
        with rasterio.Env(**WHOLE_PNG) if handle.driver == 'PNG' else nullcontext():
            try:
                pixels = handle.read(raster.bands, window=place)
            except ValueError:  # rasterio refuses to read bands of several types at once
                pixels = np.stack([handle.read(band, window=place) for band in raster.bands])
            return pixels, _valid(raster, pixels, handle, place)

    def _raw_mask(
        self, mask: Mask, window: Window, *, coloured: bool
    ) -> Shaped[np.ndarray, 'c a b']:
        handle = self._open(mask.path)
        place = RasterWindow(window.col, window.row, window.width, window.height)
        try:
            with rasterio.Env(**WHOLE_PNG) if handle.driver == 'PNG' else nullcontext():
                raw: Shaped[np.ndarray, 'c a b'] = handle.read(window=place)
        except RasterioError as error:
            bottom, right = window.stop
            part = f'rows {window.row}-{bottom - 1}, columns {window.col}-{right - 1}'
            raise damaged(mask.path, part, error) from error
        return colours_of(raw, handle) if coloured else raw

    def _open(self, path: str) -> rasterio.DatasetReader:
        if os.getpid() != self._process:  # a fork: the parent's handles share its file offsets
            self._start()
        handle = self._handles.get(path)
        if handle is not None:
            self._handles.move_to_end(path)
            return handle
        while len(self._handles) >= self.max_open:
            self._handles.popitem(last=False)[1].close()
        handle = self._handles[path] = open_raster(path)
        return handle


def colours_of(
    raw: Shaped[np.ndarray, 'c a b'], source: rasterio.DatasetReader
) -> Shaped[np.ndarray, 'd a b']:
    """Red, green, blue of pixels that are numbers of a palette; others unchanged."""
    if source.colorinterp[0] != ColorInterp.palette or raw.dtype.kind != 'u':
        return raw
    table = np.zeros((int(raw[0].max(initial=0)) + 1, 3), np.uint8)
    for number, colour in source.colormap(1).items():
        if number < len(table):
            table[number] = colour[:3]
    return np.moveaxis(table[raw[0]], -1, 0)


def _valid(
    raster: Raster,
    pixels: Shaped[np.ndarray, 'c h w'],
    handle: rasterio.DatasetReader,
    place: RasterWindow,
) -> Bool[np.ndarray, 'h w'] | None:
    """Which pixels hold data; None if all do. `RasterReader.read` states the rule."""
    shown: list[Bool[np.ndarray, 'h w']] = []
    if pixels.dtype.kind == 'f':
        shown.append(np.isfinite(pixels).all(axis=0))
    might_measure = []
    for band, nodata, dtype in zip(pixels, raster.nodata, raster.dtypes, strict=True):
        if nodata is None or np.isnan(nodata):  # NaN is always checked
            continue
        kind = np.dtype(dtype)  # of the band: pixels have a type that holds all bands
        held = band != _as_stored(nodata, kind)
        if nodata != 0 and kind.kind in 'if':
            shown.append(held)
        else:
            might_measure.append(held)
    if might_measure and len(might_measure) == len(pixels):
        shown.append(np.logical_or.reduce(might_measure))
    if raster.alpha is not None:
        shown.append(handle.read(raster.alpha, window=place) > 0)
    shown += [handle.read_masks(band, window=place) > 0 for band in raster.masks]
    if not shown:
        return None
    valid: Bool[np.ndarray, 'h w'] = np.logical_and.reduce(shown)
    return None if valid.all() else valid


def _as_stored(nodata: float, dtype: np.dtype[Any]) -> Any:
    if dtype.kind != 'f':
        return nodata  # compared as numbers: 300 is not a value of uint8, and matches none
    # headers state float no-data in double precision, pixels hold it rounded to their type
    with np.errstate(over='ignore'):
        return dtype.type(nodata)


def _nothing(raster: Raster, window: Window) -> Read:
    shape = window.height, window.width
    black = np.full((len(raster.bands), *shape), raster.black, raster.dtype)
    return black, np.zeros(shape, bool)


def _places(raster: Raster, window: Window) -> tuple[Places, Places]:
    """Where rows and columns of a window lie in a file with the same axes."""
    assert raster.steps_px is not None
    down, across = raster.steps_px
    return (
        places_of(window.row, window.height, down),
        places_of(window.col, window.width, across),
    )


def _block_of(rows: tuple[int, int], cols: tuple[int, int]) -> Window | None:
    (top, bottom), (left, right) = rows, cols
    if bottom <= top or right <= left:
        return None
    return Window(0, top, left, bottom - top, right - left)


def _needed(positions: Positions, height: int, width: int) -> Window | None:
    """The block of a source that the pixels of a window touch; None if they touch nothing."""
    inside = positions.inside(height, width)
    extent = positions.extent
    if inside is not None:
        if not inside.any():
            return None
        rows, cols = positions.rows[inside], positions.cols[inside]
        extent = int(rows.min()), int(rows.max()), int(cols.min()), int(cols.max())
    bounds = []
    for (least, greatest), sides, length in (
        (extent[:2], positions.heights, height),
        (extent[2:], positions.widths, width),
    ):
        side = 1 if sides is None else -(-int(sides.max()) // FRACTIONS)
        low, high = least // FRACTIONS - side // 2 - 1, greatest // FRACTIONS + side // 2 + 2
        bounds.append((max(low, 0), min(high, length)))
    (top, bottom), (left, right) = bounds
    return Window(0, top, left, bottom - top, right - left)


def _pieces(raster: Raster, native: Raster, window: Window) -> list[Window]:
    """Parts of a window of a resampled raster that take source blocks of a bounded size."""
    source_px = native.height * native.width / (raster.height * raster.width)
    most_px = _MOST_SOURCE_VALUES / (len(raster.bands) + 1)  # plus a weight for the bands
    side = int(min(max((most_px / max(source_px, 1)) ** 0.5, 1), _PIECE_PX))
    if max(window.height, window.width) <= side:
        return [window]
    bottom, right = window.stop
    return [
        Window(window.scene, row, col, min(side, bottom - row), min(side, right - col))
        for row in range(window.row, bottom, side)
        for col in range(window.col, right, side)
    ]


def _halves(window: Window) -> list[tuple[slice, slice]]:
    """Rows and columns of the two parts of a window, cut across its longer side."""
    height, width = window.height, window.width
    if height >= width:
        return [
            (slice(0, height // 2), slice(0, width)),
            (slice(height // 2, height), slice(0, width)),
        ]
    return [
        (slice(0, height), slice(0, width // 2)),
        (slice(0, height), slice(width // 2, width)),
    ]


def _inside(raster: Raster, window: Window) -> tuple[slice, slice]:
    """The part of a window that lies in its raster, in the window's own pixels."""
    bottom, right = window.stop
    rows = slice(max(-window.row, 0), window.height - max(bottom - raster.height, 0))
    cols = slice(max(-window.col, 0), window.width - max(right - raster.width, 0))
    return rows, cols


def _part(window: Window, rows: slice, cols: slice) -> Window:
    return Window(
        window.scene,
        window.row + rows.start,
        window.col + cols.start,
        rows.stop - rows.start,
        cols.stop - cols.start,
    )


def _close(handles: OrderedDict[str, rasterio.DatasetReader]) -> None:
    while handles:
        handles.popitem()[1].close()
