"""Windows of pixels from open files: a bounded set of handles, opened where they are used."""

import os
import weakref
from collections import OrderedDict
from typing import Any

import numpy as np
import rasterio
from jaxtyping import Bool, Shaped
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterWindow

from crossearth.datasets.scene import Scene, open_raster
from crossearth.errors import SceneError
from crossearth.geometry import Window

__all__ = ['SceneReader']


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
    ) -> tuple[Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w']]:
        """Pixels of a window, and which of them hold data.

        What overhangs the scene is 0 and holds no data; neither do pixels that equal the nodata
        value in every band, are NaN in any, or are masked out by the file.

        Raises:
            SceneError: If the file or the block cannot be read.
        """
        pixels, inside = self._read(scene.image, scene, window, scene.bands)
        valid = np.zeros(pixels.shape[1:], bool)
        core = pixels[:, inside[0], inside[1]]
        valid[inside] = self._valid(scene, window, core)
        if pixels.dtype.kind == 'f':
            valid &= ~np.isnan(pixels).any(axis=0)
        return pixels, valid

    def mask(self, scene: Scene, window: Window) -> tuple[Shaped[np.ndarray, 'c h w'], Any]:
        """Raw mask values of a window, and the slices of it that lie inside the scene.

        Raises:
            SceneError: If the file or the block cannot be read.
        """
        if scene.mask is None:
            raise SceneError(f'{scene.image}: has no mask')
        return self._read(scene.mask, scene, window, None)

    def close(self) -> None:
        """Close every file."""
        _close(self._handles)

    def _valid(
        self, scene: Scene, window: Window, core: Shaped[np.ndarray, 'c h w']
    ) -> Bool[np.ndarray, 'h w'] | bool:
        if scene.nodata is not None:
            if np.isnan(scene.nodata):
                return True  # the caller looks for NaN in any float image
            holds: Bool[np.ndarray, 'h w'] = (core != scene.nodata).any(axis=0)
            return holds
        handle = self._handle(scene.image)
        flags = handle.mask_flag_enums[scene.bands[0] - 1]
        read_as_data = any(handle.colorinterp[i - 1] == ColorInterp.alpha for i in scene.bands)
        if MaskFlags.per_dataset not in flags or read_as_data:
            return True  # four-band files often call their infrared band alpha
        rows, cols = _inside(scene, window)
        shown: Bool[np.ndarray, 'h w'] = (
            handle.dataset_mask(window=_raster_window(window, rows, cols)) > 0
        )
        return shown

    def _read(
        self, path: str, scene: Scene, window: Window, bands: tuple[int, ...] | None
    ) -> tuple[Shaped[np.ndarray, 'c h w'], tuple[slice, slice]]:
        handle = self._handle(path)
        rows, cols = _inside(scene, window)
        try:
            core = handle.read(
                list(bands) if bands is not None else None,
                window=_raster_window(window, rows, cols),
            )
        except RasterioError as error:
            reason = error.__cause__ or error
            raise SceneError(
                f'{path}: rows {window.row}-{window.stop[0]}, columns {window.col}-'
                f'{window.stop[1]} cannot be read ({reason}); the file is damaged or truncated: '
                'fetch it again'
            ) from error
        if core.shape[1:] == (window.height, window.width):
            return core, (rows, cols)
        padded = np.zeros((core.shape[0], window.height, window.width), core.dtype)
        padded[:, rows, cols] = core
        return padded, (rows, cols)

    def _start(self) -> None:
        self._handles: OrderedDict[str, rasterio.DatasetReader] = OrderedDict()
        self._process = os.getpid()
        # Files left open until the interpreter is torn down make GDAL report errors to nowhere.
        weakref.finalize(self, _close, self._handles)

    def _handle(self, path: str) -> rasterio.DatasetReader:
        if os.getpid() != self._process:  # a fork: the parent's handles share its file offsets
            self._start()
        if path in self._handles:
            self._handles.move_to_end(path)
            return self._handles[path]
        while len(self._handles) >= self.max_open:
            self._handles.popitem(last=False)[1].close()
        handle = open_raster(path)
        self._handles[path] = handle
        return handle


def _close(handles: OrderedDict[str, rasterio.DatasetReader]) -> None:
    while handles:
        handles.popitem()[1].close()


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
