"""An open scene, read for mapping in strips of rows, so that each block is decoded only once."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped

from crossearth.errors import ConfigError, SceneError
from crossearth.geometry import Window
from crossearth.inference.brightness import BrightnessMeter
from crossearth.radiometry import to_unit
from crossearth.rasters import Alpha, Georeference, Raster, RasterReader, describe_raster
from crossearth.rasters.opening import CACHE_BYTES

__all__ = ['OnReadError', 'OpenScene', 'RowBuffer', 'describe_scene']

type OnReadError = Literal['raise', 'nodata']

_DEEPEST_ALIGNMENT_PX = 1024
_STRIP_PX = 256  # rows of a resampled scene that are read at a time


def describe_scene(
    source: str | Path,
    *,
    bands: Sequence[int] | Sequence[str] | None,
    alpha: Alpha,
    value_range: tuple[float | int, float | int] | None,
    native_gsd_m: float | int | None = None,
) -> Raster:
    """The raster of a scene on its own grid, ready to be mapped.

    The arguments and errors are those of `describe_raster`.

    Raises:
        ConfigError: If the scene has ground control points without a CRS, so the map would have no
            place on the ground.
    """
    limits = None if value_range is None else (float(value_range[0]), float(value_range[1]))
    raster = describe_raster(
        source, bands=bands, alpha=alpha, value_range=limits, native_gsd_m=native_gsd_m
    )
    # control points without a CRS cannot be written, so the map would lose its place
    if raster.georeference.gcps and raster.georeference.tie is None:
        raster.georeference.require_tie(raster.path)
    return raster


class OpenScene:
    """A scene that is being mapped.

    Args:
        raster: What to read, on its own grid or resampled.
        on_read_error: What to do with a block that cannot be read: `'raise'` an error, or treat it
            as `'nodata'` and list it in `lost`.
    """

    def __init__(self, raster: Raster, *, on_read_error: OnReadError = 'raise') -> None:
        self.raster = raster
        self.name = raster.path
        self.height, self.width = raster.height, raster.width
        self.bands = raster.bands
        self.dtype = np.dtype(raster.dtype)
        self.georeference = raster.georeference
        if raster.native is not None:
            crs_wkt = None if raster.crs is None else raster.crs.to_wkt()
            self.georeference = Georeference(crs_wkt, raster.transform)
        self.brightness = BrightnessMeter(self.dtype, raster.value_range)
        self.lost: set[Window] = set()
        self._reader = RasterReader(lose=self.lost.add if on_read_error == 'nodata' else None)
        self._file_block_hw = self._reader.block_hw(raster)

    def __enter__(self) -> 'OpenScene':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def files(self) -> list[tuple[str, int, int]]:
        """Name, size in bytes and modification time in nanoseconds of its files on this machine."""
        names = self._reader.files(self.raster)
        paths = [Path(name) for name in names if not name.endswith('.aux.xml')]
        states = [(path.name, path.stat()) for path in paths if path.is_file()]
        return sorted((name, state.st_size, state.st_mtime_ns) for name, state in states)

    @property
    def block_hw(self) -> tuple[int, int]:
        """Height and width of the blocks to read: those of the file, unless they are huge."""
        if self.raster.native is not None:
            return _STRIP_PX, _STRIP_PX
        height, width = self._file_block_hw
        # a file stored as one block would otherwise be held in memory as a whole
        return min(height, _DEEPEST_ALIGNMENT_PX), min(width, self.width)

    @property
    def cache_bytes(self) -> int:
        """Size of the block cache that prevents blocks from being decoded twice."""
        height, width = self._file_block_hw
        return int(max(CACHE_BYTES, height * width * self.dtype.itemsize * (len(self.bands) + 2)))

    def read(
        self, row0: int, row1: int, col0: int, col1: int, *, out: Shaped[np.ndarray, 'c h w']
    ) -> Bool[np.ndarray, 'h w'] | None:
        """Read pixels as `RasterReader.read` does, and return which of them hold data.

        Args:
            row0: First row.
            row1: End row (exclusive).
            col0: First column.
            col1: End column (exclusive).
            out: Receives the bands.

        Returns:
            True where a pixel holds data; None if all do.

        Raises:
            SceneError: If a block cannot be read.
        """
        try:
            out[:], valid = self._reader.read(
                self.raster, Window(0, row0, col0, row1 - row0, col1 - col0)
            )
        except SceneError as error:
            raise SceneError(
                f"{error}, or pass Running(on_read_error='nodata') (--on-read-error nodata) to map "
                'the rest'
            ) from error
        self.brightness.add(out)  # here, as every block is read once but lies in several windows
        return valid

    def scale(
        self,
        values: Shaped[np.ndarray, 'c h w'],
        *,
        out: Float32[np.ndarray, 'c h w'],
    ) -> None:
        """Pixels as a model sees them: float32 in [0, 1].

        Raises:
            ConfigError: If values lie outside [0, 1] and no `value_range` was given.
        """
        try:
            image = torch.from_numpy(values)
            to_unit(image, value_range=self.raster.value_range, out=torch.from_numpy(out))
        except ConfigError as error:
            raise ConfigError(f'{self.name}: {error}') from error


class RowBuffer:
    """The rows that windows are cut from, read so that each block is decoded only once.

    Rows are read in whole blocks, and dropped as the windows move on.

    Args:
        scene: Scene to read.
        tile_height: Rows of a window.
        col0: First column.
        col1: End column (exclusive).
    """

    def __init__(self, scene: OpenScene, *, tile_height: int, col0: int, col1: int) -> None:
        self._scene = scene
        self._step = scene.block_hw[0]
        self._cols = (col0, col1)
        capacity = min(tile_height + self._step, scene.height)
        self._values = np.empty((len(scene.bands), capacity, col1 - col0), scene.dtype)
        self._valid = np.empty((capacity, col1 - col0), bool)
        self._rows = (0, 0)

    def rows(
        self, row0: int, row1: int
    ) -> tuple[Shaped[np.ndarray, 'c h w'], Bool[np.ndarray, 'h w']]:
        """Values and validity of some rows, as views that stay valid until the next call.

        Args:
            row0: First row, not less than in the previous call.
            row1: End row (exclusive).
        """
        first, stop = self._rows
        if row0 >= stop:
            first = stop = row0
        elif row0 > first:
            kept = slice(row0 - first, stop - first)
            # numpy copies overlapping ranges in the correct order
            self._values[:, : stop - row0] = self._values[:, kept]
            self._valid[: stop - row0] = self._valid[kept]
            first = row0
        if row1 > stop:
            read_to = min(-(-row1 // self._step) * self._step, self._scene.height)
            self._load(first, stop, read_to)
            stop = read_to
        self._rows = (first, stop)
        part = slice(row0 - first, row1 - first)
        return self._values[:, part], self._valid[part]

    def _load(self, first: int, row0: int, row1: int) -> None:
        part = slice(row0 - first, row1 - first)
        valid = self._scene.read(row0, row1, *self._cols, out=self._values[:, part])
        self._valid[part] = True if valid is None else valid
