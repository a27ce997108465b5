"""The headers of rasters, cached from one opening of a dataset to the next."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from rasterio.enums import MaskFlags
from rasterio.rpc import RPC

from crossearth.rasters.alpha import Alpha, hides_pixels
from crossearth.rasters.georeference import Georeference
from crossearth.rasters.opening import is_remote, open_raster
from crossearth.rasters.world_file import find_world_file, read_world_file

__all__ = ['Header', 'HeaderCache', 'cache_folder', 'read_header']

_VERSION = 4
_WORTH_KEEPING = 500  # headers; fewer are read again in no noticeable time
_ASIDE = ('dtypes', 'nodata', 'colours', 'names', 'masks')
# Files next to a raster, apart from world files, from which GDAL reads parts of its header.
_AFTER_NAME = ('.aux.xml', '.msk')
_AFTER_STEM = ('.RPB', '.rpb', '_RPC.TXT', '_rpc.txt', '.hdr', '.HDR', '.tab', '.TAB')

type Stamp = list[int]


@dataclass(frozen=True, slots=True)
class Header:
    """A raster without its pixels.

    Args:
        height: Rows.
        width: Columns.
        dtypes: Type of each band, by numpy's name.
        nodata: No-data value of each band; None if the file states none.
        colours: Name of each band's colour in the file: `'red'`, `'alpha'`, `'palette'`,
            `'undefined'`, ….
        names: Description of each band, empty if there is none.
        masks: The mask stored next to each band: `'shared'` by all of them, `'own'`, or none.
        georeference: Georeference of the raster.
    """

    height: int
    width: int
    dtypes: tuple[str, ...]
    nodata: tuple[float | None, ...]
    colours: tuple[str, ...]
    names: tuple[str, ...]
    masks: tuple[str, ...]
    georeference: Georeference

    @property
    def alpha(self) -> tuple[int, ...]:
        """1-based bands that the file calls alpha."""
        return tuple(i for i, colour in enumerate(self.colours, 1) if colour == 'alpha')

    def to_json(self, wkts: list[str]) -> list[Any]:
        """The header as JSON values; CRSs become indexes into `wkts`, which grows."""

        def number(wkt: str | None) -> int | None:
            if wkt is None:
                return None
            if wkt not in wkts:  # a few CRSs serve many files
                wkts.append(wkt)
            return wkts.index(wkt)

        place = self.georeference
        return [
            self.height, self.width, *(getattr(self, name) for name in _ASIDE),
            number(place.crs_wkt), tuple(place.transform)[:6], place.gcps,
            number(place.gcps_crs_wkt), None if place.rpcs is None else place.rpcs.to_gdal(),
            place.pixel_is_point,
        ]  # fmt: skip

    @classmethod
    def from_json(cls, stored: list[Any], wkts: list[str]) -> 'Header':
        """The header that `to_json` stored.

        Raises:
            TypeError: If it is not one.
            ValueError: If it is not one.
            IndexError: If it is not one.
        """
        height, width, *lists, crs, transform, gcps, gcps_crs, rpcs, point = stored
        place = Georeference(
            crs_wkt=None if crs is None else wkts[crs],
            transform=Affine(*transform),
            gcps=tuple((row, col, x, y, z) for row, col, x, y, z in gcps),
            gcps_crs_wkt=None if gcps_crs is None else wkts[gcps_crs],
            rpcs=None if rpcs is None else RPC.from_gdal(rpcs),
            pixel_is_point=point,
        )
        aside = {name: tuple(values) for name, values in zip(_ASIDE, lists, strict=True)}
        return cls(height=height, width=width, georeference=place, **aside)


def read_header(path: str | os.PathLike[str], *, beside: frozenset[str] | None = None) -> Header:
    """The header of a raster; no pixel is read.

    Args:
        path: A path, or anything else that GDAL opens.
        beside: Names of the files in its folder, if they are already known.

    Raises:
        SceneNotFoundError: If the file is missing.
        SceneError: If the file is not a raster, or its world file holds no transform.
    """
    name = os.fspath(path)
    if is_remote(name):
        with open_raster(name) as source:
            return _header_of(source)
    # World files are parsed here, so that the user's GDAL options cannot hide them.
    with rasterio.Env(GDAL_GEOREF_SOURCES='PAM,INTERNAL,TABFILE'), open_raster(name) as source:
        header = _header_of(source)
    if header.georeference.has_transform:
        return header
    world = find_world_file(name, _names_in(name) if beside is None else beside)
    if world is None:
        return header
    place = dataclasses.replace(header.georeference, transform=read_world_file(world))
    return dataclasses.replace(header, georeference=place)


def _header_of(source: rasterio.DatasetReader) -> Header:
    colours = tuple(role.name for role in source.colorinterp)
    return Header(
        height=source.height,
        width=source.width,
        dtypes=tuple(source.dtypes),
        nodata=tuple(source.nodatavals),
        colours=colours,
        names=tuple(name or '' for name in source.descriptions),
        masks=tuple(map(_mask_of, source.mask_flag_enums, colours)),
        georeference=Georeference.of(source),
    )


def _mask_of(flags: Sequence[MaskFlags], colour: str) -> str:
    """How a mask that is neither an alpha band nor a value is stored next to the pixels."""
    if colour == 'alpha' or MaskFlags.alpha in flags:
        return ''
    if MaskFlags.per_dataset in flags:
        return 'shared'
    return '' if flags else 'own'


def _names_in(name: str) -> frozenset[str]:
    """Names of the files in the same folder as a file."""
    folder = os.path.dirname(name)  # noqa: PTH120  # called once per file: pathlib is 10 x slower
    try:
        return frozenset(os.listdir(folder or '.'))  # noqa: PTH208  # same
    except OSError:
        return frozenset()


def cache_folder() -> Path:
    """Folder of what is cached: `$CROSSEARTH_CACHE`, or `crossearth` in the user's cache folder."""
    chosen = os.environ.get('CROSSEARTH_CACHE')
    if chosen:
        return Path(chosen)
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'crossearth'


class HeaderCache:
    """Headers by path, read again if a file's size or modification time differs.

    They are kept in one file per dataset folder, below `cache_folder()`, once there are enough of
    them to matter. A cache that cannot be read or written is not an error: headers are then read
    from the files.

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
            SceneError: If the file is not a raster.
        """
        name = os.fspath(path)
        stamp = None if is_remote(name) else self._stamp(name)
        # without a time stamp, a cached header could be out of date
        if stamp is None:
            return read_header(name)
        entry = self._load().get(name)
        if entry is not None and entry[0] == stamp:
            try:
                header = Header.from_json(entry[1], self._wkts)
            except (TypeError, ValueError, IndexError):
                pass  # the cache file has another format
            else:
                self._used[name] = entry
                return header
        header = read_header(name, beside=self._names_beside(name))
        self._fresh += 1
        self._used[name] = [stamp, header.to_json(self._wkts)]
        return header

    def hides_pixels(self, path: str, band: int, alpha: Alpha) -> bool:
        """`hides_pixels`, cached for files that were already checked."""
        entry = self._used.get(path)
        if alpha != 'auto' or entry is None:
            return hides_pixels(path, band, alpha)
        if len(entry) < 3:
            entry.append(hides_pixels(path, band, alpha))
            self._fresh += 1
        return bool(entry[2])

    def save(self) -> None:
        """Write the cache, if it is large enough and has changed."""
        if not self._fresh or len(self._used) < _WORTH_KEEPING:
            return
        # a name per process, because others may be writing the same cache
        beside = self._file.with_name(f'.{self._file.name}.{os.getpid()}')
        # other datasets may use other files of the folder, so their headers are kept
        entries = {**self._load(), **self._used}
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            kept = {'version': _VERSION, 'crs': self._wkts, 'entries': entries}
            beside.write_text(json.dumps(kept))
            beside.replace(self._file)
        except OSError:  # a read-only home: headers are read again next time
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
                pass  # missing, or in another format
        return self._stored

    def _names_beside(self, name: str) -> frozenset[str]:
        """Names of the files in the same folder as a file, listed once."""
        folder = os.path.dirname(name)  # noqa: PTH120  # see _names_in
        if folder not in self._names:
            self._names[folder] = _names_in(name)
        return self._names[folder]

    def _stamp(self, name: str) -> Stamp | None:
        """Numbers that change with a file, with what GDAL stores next to it, and its world file."""
        names = self._names_beside(name)
        base = os.path.basename(name)  # noqa: PTH119  # see _names_in
        folder, stem = name[: len(name) - len(base)], base.rpartition('.')[0]
        near = [*(base + end for end in _AFTER_NAME), *(stem + end for end in _AFTER_STEM)]
        files = [name, *(folder + other for other in near if other in names)]
        world = find_world_file(name, names)
        stamp = []
        try:
            for file in files if world is None else [*files, os.fspath(world)]:
                about = os.stat(file)  # noqa: PTH116  # see _names_in
                stamp += [about.st_size, about.st_mtime_ns]
        except OSError:
            return None
        return stamp
