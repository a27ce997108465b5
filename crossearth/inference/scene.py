"""Scenes as streams of windows: opening, checking, scaling, and reading each block once."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import rasterio
from jaxtyping import Bool, Float32, Shaped
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from crossearth.errors import BandError, ConfigError, SceneError, SceneNotFoundError
from crossearth.geometry import Window
from crossearth.inference.georeference import Georeference
from crossearth.inference.ground import ModelGrid
from crossearth.inference.warping import resampled

__all__ = ['OnReadError', 'RowBuffer', 'Scaling', 'Scene', 'gdal_environment']

type OnReadError = Literal['raise', 'nodata']

_CACHE_BYTES = 16 << 20  # blocks are read once, in the order they lie in
_DEEPEST_ALIGNMENT_PX = 1024
_REMOTE = ('/vsicurl', '/vsis3', '/vsigs', '/vsiaz', '/vsiadls', '/vsioss', '/vsiswift')


@contextmanager
def gdal_environment(cache_bytes: int = _CACHE_BYTES) -> Iterator[None]:
    """A GDAL environment with a small block cache.

    GDAL's own default is a twentieth of the machine's memory, and a scene that is read once fills
    it to the brim. The size is that of the process; the former one is put back.
    """
    with (
        # The shortcut for whole PNGs gives a truncated one as if it were complete.
        rasterio.Env(GDAL_CACHEMAX=cache_bytes, GDAL_PNG_WHOLE_IMAGE_OPTIM='NO'),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        yield


@dataclass(frozen=True, slots=True)
class Scaling:
    """The linear map from a scene's values to [0, 1].

    Args:
        low: Value that becomes 0.
        high: Value that becomes 1.
        clip: Whether values outside are moved to the nearer end; else they are errors.
    """

    low: float
    high: float
    clip: bool

    @classmethod
    def choose(
        cls, dtype: np.dtype[Any], value_range: tuple[float | int, float | int] | None
    ) -> 'Scaling':
        """That of a data type, the rule of `crossearth.radiometry.to_unit`.

        Integers are divided by the largest of their type, and negative ones become 0; floats must
        lie in [0, 1] already.

        Args:
            dtype: Of the scene.
            value_range: Values that become 0 and 1, or None for the rule of the data type.

        Raises:
            ConfigError: If the range is empty.

        Example:
            >>> Scaling.choose(np.dtype('uint16'), None).high
            65535.0
        """
        if value_range is not None:
            low, high = value_range
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise ConfigError(f'value_range is {value_range}: expected (low, high), low < high')
            return cls(float(low), float(high), clip=True)
        if dtype.kind == 'f':
            return cls(0.0, 1.0, clip=False)
        return cls(0.0, float(np.iinfo(dtype).max), clip=dtype.kind == 'i')

    def apply(
        self, values: Shaped[np.ndarray, 'c h w'], *, out: Float32[np.ndarray, 'c h w']
    ) -> None:
        """Scale into a float32 array; integers are divided, not multiplied by a reciprocal."""
        if self.low == 0.0:
            np.divide(values, self.high, out=out, dtype=np.float32, casting='unsafe')
        else:
            np.subtract(values, self.low, out=out, dtype=np.float32, casting='unsafe')
            np.divide(out, np.float32(self.high - self.low), out=out)
        if self.clip:
            np.clip(out, 0.0, 1.0, out=out)


class Scene:
    """An open raster of which some bands are mapped.

    Args:
        source: A path, or anything else that GDAL opens (`/vsicurl/…`, `s3://…`, a VRT).
        bands: Bands that the model takes, counted from 1 or by name, see `predict_scene`; None for
            all but alpha bands.
        value_range: Values that become 0 and 1; None for the range of the data type.
        grid: Grid to see the scene on; None for its own.
        on_read_error: Whether a block that cannot be read is an error, or is nodata and listed
            in `lost`.

    Raises:
        SceneNotFoundError: If there is no such file.
        SceneError: If it is not a raster that GDAL reads, or has no bands.
        BandError: If a band is not there.
        ConfigError: If the values need a `value_range`.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        bands: Sequence[int] | Sequence[str] | None = None,
        value_range: tuple[float | int, float | int] | None = None,
        grid: ModelGrid | None = None,
        on_read_error: OnReadError = 'raise',
    ) -> None:
        if on_read_error not in ('raise', 'nodata'):
            raise ConfigError(f"on_read_error is {on_read_error!r}: choose 'raise' or 'nodata'")
        self._on_read_error = on_read_error
        self.lost: set[Window] = set()
        self.name = str(source)
        self._file = _open(source)
        self._dataset = self._file if grid is None else resampled(self._file, grid)
        self.height: int = self._dataset.height
        self.width: int = self._dataset.width
        self.georeference = Georeference.of(self._dataset)
        self.bands = self._choose_bands(bands)
        dtypes = {self._dataset.dtypes[band - 1] for band in self.bands}
        if any(name.startswith('complex') for name in dtypes):
            raise SceneError(
                f'{self.name}: expected real values, got {", ".join(sorted(dtypes))}: write the '
                'amplitude or another real quantity first'
            )
        self.dtype = np.result_type(*dtypes)
        self.scaling = Scaling.choose(self.dtype, value_range)
        self._nodata = [self._dataset.nodatavals[band - 1] for band in self.bands]
        flags = [self._dataset.mask_flag_enums[band - 1] for band in self.bands]
        alpha = [
            band
            for band, kind in enumerate(self._dataset.colorinterp, start=1)
            if kind is ColorInterp.alpha and band not in self.bands
        ]
        self._alpha = alpha[:1]
        # a mask that is neither an alpha band nor a value lies beside the pixels
        self._has_mask = not alpha and any(
            MaskFlags.per_dataset in flag and MaskFlags.alpha not in flag for flag in flags
        )

    def __enter__(self) -> 'Scene':
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
        self._dataset.close()
        self._file.close()

    def files(self) -> list[tuple[str, int, int]]:
        """Name, bytes and time of the last change, in nanoseconds, of its files on this machine."""
        paths = [Path(name) for name in self._file.files if not name.endswith('.aux.xml')]
        states = [(path.name, path.stat()) for path in paths if path.is_file()]
        return sorted((name, state.st_size, state.st_mtime_ns) for name, state in states)

    @property
    def block_hw(self) -> tuple[int, int]:
        """Height and width of the blocks to read by: the file's, unless they are huge."""
        heights, widths = zip(
            *(self._dataset.block_shapes[band - 1] for band in self.bands), strict=True
        )
        return min(max(heights), _DEEPEST_ALIGNMENT_PX), min(max(widths), self.width)

    @property
    def cache_bytes(self) -> int:
        """Block cache that keeps the blocks being read from being decoded twice."""
        blocks = [self._dataset.block_shapes[band - 1] for band in self.bands]
        block_bytes = max(height * width for height, width in blocks) * self.dtype.itemsize
        return int(max(_CACHE_BYTES, block_bytes * (self._dataset.count + 1)))

    def read(
        self, row0: int, row1: int, col0: int, col1: int, *, out: Shaped[np.ndarray, 'c h w']
    ) -> Bool[np.ndarray, 'h w'] | None:
        """Read pixels as they are, and tell which are data.

        A pixel is nodata if an alpha band or a mask says so, if all of the bands hold their
        nodata value, or if one of them is not a finite number.

        Args:
            row0: First row.
            row1: Row behind the last.
            col0: First column.
            col1: Column behind the last.
            out: Receives the bands.

        Returns:
            True where a pixel is data; None where all are.

        Raises:
            SceneError: If a block cannot be read.
        """
        try:
            valid = self._read(row0, row1, col0, col1, out)
        except RasterioIOError as error:
            if self._on_read_error == 'raise':
                raise SceneError(
                    f'{self.name}: rows {row0} to {row1 - 1}, columns {col0} to {col1 - 1} cannot '
                    f'be read ({_reason(error)}): {_what_to_do(self.name)}, or pass '
                    "on_read_error='nodata' to map the rest"
                ) from error
            valid = self._read_blocks(row0, row1, col0, col1, out)
        return None if valid is None or valid.all() else valid

    def _read(
        self, row0: int, row1: int, col0: int, col1: int, out: Shaped[np.ndarray, 'c h w']
    ) -> Bool[np.ndarray, 'h w'] | None:
        window = RasterWindow(col0, row0, col1 - col0, row1 - row0)
        self._dataset.read(self.bands, window=window, out=out)
        valid = self._valid(out)
        if self._alpha:
            return _both(valid, self._dataset.read(self._alpha[0], window=window) > 0)
        if self._has_mask:
            return _both(valid, self._dataset.read_masks(self.bands[0], window=window) > 0)
        return valid

    def _read_blocks(
        self, row0: int, row1: int, col0: int, col1: int, out: Shaped[np.ndarray, 'c h w']
    ) -> Bool[np.ndarray, 'h w']:
        """As `_read`, block by block of the file, and those that fail are nodata."""
        valid = np.ones((row1 - row0, col1 - col0), bool)
        height, width = self.block_hw
        for row in range(row0 // height * height, row1, height):
            for col in range(col0 // width * width, col1, width):
                top, bottom = max(row, row0), min(row + height, row1)
                left, right = max(col, col0), min(col + width, col1)
                part = slice(top - row0, bottom - row0), slice(left - col0, right - col0)
                try:
                    known = self._read(top, bottom, left, right, out[:, *part])
                    valid[part] = True if known is None else known
                except RasterioIOError:
                    out[:, *part] = 0
                    valid[part] = False
                    whole = min(row + height, self.height), min(col + width, self.width)
                    self.lost.add(Window(0, row, col, whole[0] - row, whole[1] - col))
        return valid

    def _valid(self, values: Shaped[np.ndarray, 'c h w']) -> Bool[np.ndarray, 'h w'] | None:
        valid: Bool[np.ndarray, 'h w'] | None = None
        if values.dtype.kind == 'f':
            valid = np.isfinite(values).all(axis=0)
        if all(nodata is not None for nodata in self._nodata):
            some = np.zeros(values.shape[1:], bool)
            for band, nodata in zip(values, self._nodata, strict=True):
                some |= band != _as_stored(nodata, values.dtype)
            valid = _both(valid, some)
        return valid

    def scale(
        self,
        values: Shaped[np.ndarray, 'c h w'],
        valid: Bool[np.ndarray, 'h w'] | None,
        *,
        out: Float32[np.ndarray, 'c h w'],
    ) -> None:
        """What a model sees of pixels: float32 in [0, 1], and 0 where there is no data.

        Raises:
            ConfigError: If values lie outside [0, 1] and no `value_range` was given.
        """
        self.scaling.apply(values, out=out)
        if valid is not None:
            out[:, ~valid] = 0.0
        if values.dtype.kind != 'f':
            return
        for band, nodata, plane in zip(values, self._nodata, out, strict=True):
            if nodata is not None:
                plane[band == _as_stored(nodata, values.dtype)] = 0.0
        if not self.scaling.clip and not (out.min() >= 0.0 and out.max() <= 1.0):
            raise ConfigError(
                f'{self.name} holds values from {out.min():g} to {out.max():g}, expected 0 to 1 in '
                'floating-point scenes: pass value_range=(low, high), the values that become 0 and '
                '1'
            )

    def _choose_bands(self, bands: Sequence[int] | Sequence[str] | None) -> list[int]:
        count = self._dataset.count
        if bands is not None and any(isinstance(band, str) for band in bands):
            return self._named_bands([str(band) for band in bands])
        if bands is None:
            kinds = self._dataset.colorinterp
            chosen = [
                band for band, kind in enumerate(kinds, start=1) if kind is not ColorInterp.alpha
            ]
            if not chosen:
                raise SceneError(f'{self.name} has no band to map: expected an image')
            if any(kinds[band - 1] is ColorInterp.palette for band in chosen):
                raise SceneError(
                    f'{self.name} holds numbers of a palette, no colours: expand it first '
                    '(gdal_translate -expand rgb), or pass bands=(1,) to map the numbers'
                )
            return chosen
        chosen = [int(band) for band in bands]
        if not chosen or any(not 1 <= band <= count for band in chosen):
            raise BandError(
                f'{self.name} has bands 1 to {count}, asked for {chosen}: bands are counted from 1'
            )
        return chosen

    def _named_bands(self, names: list[str]) -> list[int]:
        kinds, titles = self._dataset.colorinterp, self._dataset.descriptions
        numbers = {kind.name: band for band, kind in enumerate(kinds, start=1)}
        numbers |= {title.lower(): band for band, title in enumerate(titles, start=1) if title}
        found = [numbers.get(name.lower()) for name in names]
        known = [band for band in found if band is not None]
        if len(known) == len(names):
            return known
        everything = self._choose_bands(None)
        if not known and len(everything) == len(names):
            return everything
        raise BandError(
            f'{self.name} has the bands {", ".join(numbers)}, asked for {", ".join(names)}: choose '
            'them by number, bands=(1, 2, …)'
        )


class RowBuffer:
    """The rows that windows are cut from, each block of the file decoded once.

    Rows are read by whole blocks and dropped as the windows move on.

    Args:
        scene: Where to read.
        tile_height: Rows of a window.
        col0: First column.
        col1: Column behind the last.
    """

    def __init__(self, scene: Scene, *, tile_height: int, col0: int, col1: int) -> None:
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
        """Values and validity of some rows, as views that hold until the next call.

        Args:
            row0: First row, not less than in the call before.
            row1: Row behind the last.
        """
        first, stop = self._rows
        if row0 >= stop:
            first = stop = row0
        elif row0 > first:
            kept = slice(row0 - first, stop - first)
            # numpy copies overlapping ranges in the right order
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


def _open(source: str | Path) -> DatasetReader:
    name = str(source)
    local = '://' not in name and not name.startswith('/vsi')
    if local and not Path(name).exists():
        raise SceneNotFoundError(f'{name} is not there: check the path of the scene')
    try:
        dataset = rasterio.open(name)
    except RasterioError as error:
        reason = _reason(error)
        if _is_remote(name) and ('404' in reason or 'does not exist' in reason):
            raise SceneNotFoundError(
                f'{name} is not there: check the address of the scene'
            ) from error
        if 'Range downloading not supported' in reason:
            raise SceneError(
                f'{name}: the server gives whole files only: fetch the file first, or read it from '
                'its beginning to its end with /vsicurl_streaming/ instead of /vsicurl/'
            ) from error
        raise SceneError(
            f'{name} is not a raster that can be read ({reason}): expected GeoTIFF, VRT, '
            'JPEG 2000, PNG or another format of GDAL'
        ) from error
    if dataset.count == 0:
        raise SceneError(
            f'{name} holds no band of its own, but {len(dataset.subdatasets)} datasets: open one, '
            f'such as {dataset.subdatasets[0] if dataset.subdatasets else "…"}'
        )
    return dataset


def _is_remote(name: str) -> bool:
    return '://' in name or name.startswith(_REMOTE)


def _what_to_do(name: str) -> str:
    if _is_remote(name):
        return 'the server or the connection broke off; try again'
    return 'the file is damaged or cut short; fetch it again'


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    return ' '.join(str(cause).split())


def _as_stored(nodata: float | int, dtype: np.dtype[Any]) -> Any:
    if dtype.kind != 'f':
        return nodata  # compared as numbers: 300 is no value of uint8, and matches none
    with np.errstate(over='ignore'):
        return dtype.type(nodata)


def _both(
    left: Bool[np.ndarray, 'h w'] | None, right: Bool[np.ndarray, 'h w']
) -> Bool[np.ndarray, 'h w']:
    return right if left is None else left & right
