"""Windows of pixels from open files: a bounded set of handles, opened where they are used."""

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import rasterio
from jaxtyping import Bool, Shaped, UInt8
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from crossearth.datasets.headers import WHOLE_PNG, open_raster
from crossearth.datasets.resample import SourceGrid, sample_bilinear, sample_nearest, source_grid
from crossearth.datasets.scene import Scene
from crossearth.errors import SceneError
from crossearth.geometry import Window, window_transform
from crossearth.labels import IGNORE_INDEX

__all__ = ['SceneReader', 'colours_of']

type Decode = Callable[[Shaped[np.ndarray, 'c a b']], UInt8[np.ndarray, 'a b']]


class _Opened(NamedTuple):
    """An open file, and what of it is slow to ask for again."""

    handle: rasterio.DatasetReader
    masked: bool
    alpha: frozenset[int]


class SceneReader:
    """Reads windows of scenes and keeps the files open that it used last.

    Handles belong to the process that opened them: after a fork, or in an unpickled copy, the
    reader starts with none, so it can be handed to the workers of a data loader.

    Args:
        max_open: Most files that are open at once.
    """

    def __init__(self, max_open: int = 64) -> None:
        self.max_open = max_open
        self._start()

    def __getstate__(self) -> dict[str, Any]:
        return {'max_open': self.max_open}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # an unpickled reader is a new one

    def image(
        self, scene: Scene, window: Window
    ) -> tuple[Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w'] | None]:
        """Pixels of a window, and which of them hold data; None if all do.

        What overhangs the scene is 0 and holds no data; neither do pixels that equal the nodata
        value in every band, are NaN in any, or are masked out by the file. A nodata value that no
        measurement has, such as -9999, counts in any band too; 0, and whatever an unsigned type
        holds, may be a dark or bright pixel of one band.

        Raises:
            SceneError: If the file or the block cannot be read.
        """
        if scene.native is not None:
            return self._resampled_image(scene.native, source_grid(scene, window))
        pixels, shown = self._block(scene, window)
        if pixels.shape[1:] == (window.height, window.width):
            return pixels, shown
        inside = _inside(scene, window)
        padded = np.zeros((pixels.shape[0], window.height, window.width), pixels.dtype)
        valid = np.zeros(padded.shape[1:], bool)
        padded[:, *inside] = pixels
        valid[inside] = True if shown is None else shown
        return padded, valid

    def labels(
        self, scene: Scene, window: Window, decode: Decode, *, coloured: bool = False
    ) -> UInt8[np.ndarray, 'h w']:
        """Class ids of a window; 255 outside the scene.

        Args:
            scene: A scene with a mask or vectors.
            window: Pixels of it.
            decode: Raw mask values (c, h, w) → class ids.
            coloured: Whether classes are colours: masks with a palette are then decoded by the
                colours that it names, not by its numbers.

        Raises:
            SceneError: If the scene has no labels, or they cannot be read.
            LabelError: If they hold what no class has.
        """
        ids = np.full((window.height, window.width), IGNORE_INDEX, np.uint8)
        if scene.vectors is not None:
            place = window_transform(scene.transform, window.row, window.col)
            burnt = scene.vectors.burn(scene.crs, place, height=window.height, width=window.width)
            inside = self._covered(scene, window)
            ids[inside] = burnt[inside]
        elif scene.mask is None:
            raise SceneError(f'{scene.image}: has no mask')
        elif scene.native is not None:
            grid = source_grid(scene, window)
            if grid.window is not None:
                raw = self._raw_mask(scene.mask, scene.native, grid.window, coloured=coloured)
                inside = grid.inside
                ids[inside] = sample_nearest(decode(raw), grid)[inside]
        else:
            raw = self._raw_mask(scene.mask, scene, window, coloured=coloured)
            ids[_inside(scene, window)] = decode(raw)
        return ids

    def close(self) -> None:
        """Close every file."""
        _close(self._handles)

    def _resampled_image(
        self, native: Scene, grid: SourceGrid
    ) -> tuple[Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w'] | None]:
        if grid.window is None:
            shape = grid.shape
            return np.zeros((len(native.bands), *shape), native.dtype), np.zeros(shape, bool)
        pixels, shown = self._block(native, grid.window, factor=grid.factor)
        image = sample_bilinear(pixels, shown, grid)
        if shown is None and not grid.overhangs:
            return image, None
        valid = grid.inside
        if shown is not None:
            valid &= sample_nearest(shown, grid, factor=grid.factor)
        return np.where(valid, image, np.zeros((), image.dtype)), valid

    def _covered(self, scene: Scene, window: Window) -> Any:
        """Which part of a window lies in its scene, as an index."""
        if scene.native is not None:
            return source_grid(scene, window).inside
        return _inside(scene, window)

    def _block(
        self, scene: Scene, window: Window, *, factor: int = 1
    ) -> tuple[Shaped[np.ndarray, 'c a b'], Bool[np.ndarray, 'a b'] | None]:
        """The part of a window that lies in its scene, and which pixels of it hold data."""
        pixels = self._read(scene.image, scene, window, scene.bands, factor=factor)
        shown = self._valid(scene, window, pixels)
        if pixels.dtype.kind == 'f':
            known = np.isfinite(pixels).all(axis=0)
            shown = known if shown is None else shown & known
        return pixels, shown

    def _valid(
        self, scene: Scene, window: Window, pixels: Shaped[np.ndarray, 'c a b']
    ) -> Bool[np.ndarray, 'a b'] | None:
        shown: Bool[np.ndarray, 'a b'] | None = None
        if scene.nodata is not None and not np.isnan(scene.nodata):  # NaN is looked for anyway
            held = pixels != scene.nodata
            sentinel = scene.nodata != 0 and pixels.dtype.kind in 'if'
            shown = held.all(axis=0) if sentinel else held.any(axis=0)
        opened = self._open(scene.image)
        # Four-band files often call their infrared band alpha: read as data, it masks nothing.
        has_mask = opened.masked and scene.nodata is None
        if (
            not scene.reads_alpha
            or opened.alpha.intersection(scene.bands)
            or not (opened.alpha or has_mask)
        ):
            return shown
        place = _raster_window(window, *_inside(scene, window))
        size = pixels.shape[1:]
        try:
            if has_mask:
                mask = opened.handle.dataset_mask(window=place, out_shape=size)
            else:  # GDAL's mask of a file with both is that of the nodata value alone
                mask = opened.handle.read(min(opened.alpha), window=place, out_shape=size)
        except RasterioError as error:
            raise _damaged(scene.image, window, error) from error
        seen: Bool[np.ndarray, 'a b'] = mask > 0
        return seen if shown is None else shown & seen

    def _read(
        self,
        path: str,
        scene: Scene,
        window: Window,
        bands: tuple[int, ...] | None,
        *,
        factor: int = 1,
    ) -> Shaped[np.ndarray, 'c a b']:
        """The part of a window that lies in its scene, or averages of `factor`² of its pixels."""
        handle = self._open(path).handle
        rows, cols = _inside(scene, window)
        place = _raster_window(window, rows, cols)
        indexes = handle.indexes if bands is None else bands
        smaller: dict[str, Any] = {}
        png = handle.driver == 'PNG'
        if factor > 1:
            height, width = rows.stop - rows.start, cols.stop - cols.start
            shape = (len(indexes), max(height // factor, 1), max(width // factor, 1))
            smaller = {'out_shape': shape, 'resampling': Resampling.average}
        try:
            with rasterio.Env(**WHOLE_PNG) if png else nullcontext():
                pixels: Shaped[np.ndarray, 'c a b'] = handle.read(
                    list(indexes), window=place, **smaller
                )
        except RasterioError as error:
            raise _damaged(path, window, error) from error
        return pixels

    def _raw_mask(
        self, path: str, scene: Scene, window: Window, *, coloured: bool
    ) -> Shaped[np.ndarray, 'c a b']:
        raw = self._read(path, scene, window, None)
        return colours_of(raw, self._open(path).handle) if coloured else raw

    def _start(self) -> None:
        self._handles: OrderedDict[str, _Opened] = OrderedDict()
        self._process = os.getpid()
        # Files left open until the interpreter is torn down make GDAL report errors to nowhere.
        weakref.finalize(self, _close, self._handles)

    def _open(self, path: str) -> _Opened:
        if os.getpid() != self._process:  # a fork: the parent's handles share its file offsets
            self._start()
        if path in self._handles:
            self._handles.move_to_end(path)
            return self._handles[path]
        while len(self._handles) >= self.max_open:
            self._handles.popitem(last=False)[1].handle.close()
        handle = open_raster(path)
        roles = handle.colorinterp
        self._handles[path] = _Opened(
            handle=handle,
            masked=any(MaskFlags.per_dataset in flags for flags in handle.mask_flag_enums),
            alpha=frozenset(i for i, role in enumerate(roles, 1) if role == ColorInterp.alpha),
        )
        return self._handles[path]


def colours_of(
    raw: Shaped[np.ndarray, 'c a b'], source: rasterio.DatasetReader
) -> Shaped[np.ndarray, 'd a b']:
    """Red, green, blue of pixels that count the colours of a palette; others as they are."""
    if source.colorinterp[0] != ColorInterp.palette or raw.dtype.kind != 'u':
        return raw
    table = np.zeros((int(raw[0].max(initial=0)) + 1, 3), np.uint8)
    for number, colour in source.colormap(1).items():
        if number < len(table):
            table[number] = colour[:3]
    return np.moveaxis(table[raw[0]], -1, 0)


def _damaged(path: str, window: Window, error: RasterioError) -> SceneError:
    return SceneError(
        f'{path}: rows {window.row}-{window.stop[0]}, columns {window.col}-{window.stop[1]} cannot '
        f'be read ({error.__cause__ or error}); the file is damaged or truncated: fetch it again'
    )


def _close(handles: OrderedDict[str, _Opened]) -> None:
    while handles:
        handles.popitem()[1].handle.close()


def _inside(scene: Scene, window: Window) -> tuple[slice, slice]:
    """The part of a window that lies in its scene, in the window's own pixels."""
    bottom, right = window.stop
    rows = slice(max(-window.row, 0), window.height - max(bottom - scene.height, 0))
    cols = slice(max(-window.col, 0), window.width - max(right - scene.width, 0))
    return rows, cols


def _raster_window(window: Window, rows: slice, cols: slice) -> RasterWindow:
    return RasterWindow(
        col_off=window.col + cols.start,
        row_off=window.row + rows.start,
        width=cols.stop - cols.start,
        height=rows.stop - rows.start,
    )
