"""What the headers of rasters say, remembered from one opening of a dataset to the next."""

import contextlib
import hashlib
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from crossearth.errors import SceneError, SceneNotFoundError

__all__ = ['WHOLE_PNG', 'Header', 'HeaderCache', 'cache_folder', 'open_raster', 'read_header']

WHOLE_PNG = {'GDAL_PNG_WHOLE_IMAGE_OPTIM': 'NO'}
"""GDAL's shortcut gives a truncated PNG as if it were whole; for opening and reading."""

_VERSION = 2
_WORTH_KEEPING = 500  # headers; fewer are read again faster than anybody notices

type Stamp = list[int]


@dataclass(frozen=True, slots=True)
class Header:
    """A raster without its pixels.

    Args:
        height: Rows.
        width: Columns.
        dtypes: Type of each band, by numpy's name.
        nodata: Value of pixels without data; None where the file names none.
        alpha: 1-based bands that the file calls alpha.
        crs_wkt: CRS as WKT, None without.
        transform: Six numbers of the affine transform; the identity without georeferencing.
    """

    height: int
    width: int
    dtypes: tuple[str, ...]
    nodata: float | None
    alpha: tuple[int, ...]
    crs_wkt: str | None
    transform: tuple[float, float, float, float, float, float]


def open_raster(path: str | os.PathLike[str]) -> rasterio.DatasetReader:
    """A rasterio handle, with errors that name the file and the remedy.

    Raises:
        SceneNotFoundError: If there is no such file.
        SceneError: If the file is no raster, or is truncated in its header.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        try:
            with rasterio.Env(**WHOLE_PNG):
                return rasterio.open(path)
        except UnicodeEncodeError as error:
            raise SceneError(
                f'{os.fspath(path)!r}: the name is not valid UTF-8, which GDAL needs: rename it'
            ) from error
        except RasterioError as error:
            name = os.fspath(path)
            if not _is_remote(name) and not Path(name).exists():
                raise SceneNotFoundError(f'{name}: no such file; check the path') from error
            raise SceneError(
                f'{name}: not a readable raster ({error}); expected a format that GDAL reads, '
                'such as GeoTIFF, PNG, JPEG or WebP: fetch or export the file again'
            ) from error


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header of a raster; no pixel is read, and no world file.

    Raises:
        SceneNotFoundError: If the file is missing.
        SceneError: If the file is no raster.
    """
    # World files are parsed where a scene is made, so that nobody's GDAL options hide them.
    with rasterio.Env(GDAL_GEOREF_SOURCES='PAM,INTERNAL,TABFILE'), open_raster(path) as source:
        roles = source.colorinterp
        return Header(
            height=source.height,
            width=source.width,
            dtypes=tuple(source.dtypes),
            nodata=source.nodata,
            alpha=tuple(i for i, role in enumerate(roles, 1) if role == ColorInterp.alpha),
            crs_wkt=None if source.crs is None else source.crs.to_wkt(),
            transform=tuple(source.transform)[:6],
        )


def cache_folder() -> Path:
    """Where headers are kept: `$CROSSEARTH_CACHE`, or `crossearth` in the user's cache folder."""
    chosen = os.environ.get('CROSSEARTH_CACHE')
    if chosen:
        return Path(chosen)
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'crossearth'


class HeaderCache:
    """Headers by path, read anew where a file's size or time of change is another.

    They are kept in one file for each dataset folder, below `cache_folder()`, once there are
    enough of them to matter. A cache that cannot be read or written is no error: headers are then
    read from the files.

    Args:
        folder: Folder of the dataset.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        name = hashlib.sha256(os.path.abspath(folder).encode()).hexdigest()[:24]  # noqa: PTH100  # links are not followed
        self._file = cache_folder() / 'headers' / f'{name}.json'
        self._stored: dict[str, list[Any]] | None = None
        self._used: dict[str, list[Any]] = {}
        self._wkts: list[str] = []
        self._names: dict[str, frozenset[str]] = {}
        self._fresh = 0

    def get(self, path: str | os.PathLike[str]) -> Header:
        """The header of a file.

        Raises:
            SceneNotFoundError: If the file is missing.
            SceneError: If the file is no raster.
        """
        name = os.fspath(path)
        stamp = None if _is_remote(name) else self._stamp(name)
        if stamp is None:
            return read_header(name)
        entry = self._load().get(name)
        if entry is not None and entry[0] == stamp:
            try:
                height, width, dtypes, nodata, alpha, crs, transform = entry[1]
                wkt = None if crs is None else self._wkts[crs]
            except (TypeError, ValueError, IndexError):
                pass  # not one of ours
            else:
                self._used[name] = entry
                return Header(
                    height, width, tuple(dtypes), nodata, tuple(alpha), wkt, tuple(transform)
                )
        header = read_header(name)
        self._fresh += 1
        crs = None
        if header.crs_wkt is not None:  # a few CRSs serve many files
            if header.crs_wkt not in self._wkts:
                self._wkts.append(header.crs_wkt)
            crs = self._wkts.index(header.crs_wkt)
        self._used[name] = [
            stamp,
            [
                header.height,
                header.width,
                header.dtypes,
                header.nodata,
                header.alpha,
                crs,
                header.transform,
            ],
        ]
        return header

    def names_beside(self, path: str | os.PathLike[str]) -> frozenset[str]:
        """Names of the files in the folder of a file, listed once."""
        folder = os.path.dirname(path)  # noqa: PTH120  # called once a file: pathlib is 10 x slower
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder or '.'))  # noqa: PTH208  # same
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]

    def save(self) -> None:
        """Keep what was read, if there is much of it and any of it is new."""
        if not self._fresh or len(self._used) < _WORTH_KEEPING:
            return
        beside = self._file.with_name(f'.{self._file.name}.{os.getpid()}')
        entries = {**self._load(), **self._used}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            kept = {'version': _VERSION, 'crs': self._wkts, 'entries': entries}
            beside.write_text(json.dumps(kept))
            beside.replace(self._file)
        except OSError:  # a read-only home: the next opening is as slow as this one
            with contextlib.suppress(OSError):
                beside.unlink()

    def _load(self) -> dict[str, list[Any]]:
        if self._stored is None:
            self._stored = {}
            try:
                kept = json.loads(self._file.read_bytes())
                if kept['version'] == _VERSION:
                    self._stored, self._wkts = dict(kept['entries']), list(kept['crs'])
            except (OSError, ValueError, KeyError, TypeError):
                pass  # none, or not one of ours: headers are read from the files
        return self._stored

    def _stamp(self, name: str) -> Stamp | None:
        try:
            about = os.stat(name)  # noqa: PTH116  # see names_beside
            stamp = [about.st_size, about.st_mtime_ns]
            aux = f'{name}.aux.xml'
            if os.path.basename(aux) in self.names_beside(name):  # noqa: PTH119  # see names_beside
                side = os.stat(aux)  # noqa: PTH116  # see names_beside
                stamp += [side.st_size, side.st_mtime_ns]
        except OSError:
            return None
        return stamp


def _is_remote(name: str) -> bool:
    return name.startswith('/vsi') or '://' in name
