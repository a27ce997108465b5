"""Writes files of shapes that are complete or raise an error, since drivers may fail silently."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import fiona
from fiona._err import CPLE_BaseError

from crossearth.errors import BusyError, ConfigError, WriteError
from crossearth.inference.writer import check_place, check_replaceable

__all__ = ['DRIVERS', 'ShapeFile', 'check_shapes_path', 'open_shapes']

DRIVERS = {'.gpkg': 'GPKG', '.geojson': 'GeoJSON', '.json': 'GeoJSON', '.fgb': 'FlatGeobuf'}
"""Suffix → GDAL's name of the format."""

# the first fields of all files that we write
_FIELDS = (
    ('class_id', 'class', 'area_m2'),
    ('class_id', 'class', 'length_m'),
)


class ShapeFile(Protocol):
    """Accepts records, as GeoJSON features."""

    def writerecords(self, records: Iterable[dict[str, Any]]) -> object:
        """Append records."""


def check_shapes_path(destination: str | Path) -> Path:
    """The path of a file of shapes, if it can be written there.

    Raises:
        ConfigError: If its suffix is unknown, its folder does not exist, or there is a file that
            this library did not write.
        BusyError: If another program has stored changes of the file only in its journal.
    """
    path = Path(destination)
    if path.suffix.lower() not in DRIVERS:
        raise ConfigError(
            f'{path} has an unknown suffix: expected {", ".join(DRIVERS)} for polygons and lines'
        )
    check_place(path)
    _check_journal(path)  # first, because those who open a file may also close its journal
    check_replaceable(path)  # a GeoPackage may be a raster
    _check_ours(path)
    return path


def _check_journal(path: Path) -> None:
    # SQLite would apply a write-ahead log of the former file to the new one
    journal = path.with_name(f'{path.name}-wal')
    if journal.exists() and journal.stat().st_size:
        raise BusyError(
            f'{path} is open in another program, whose changes are still in {journal.name}: close '
            'it there (in QGIS, remove its layers), or choose another name'
        )


def _check_ours(path: Path) -> None:
    """Refuse to replace a file with anything but one layer of classes, such as a survey."""
    if not path.exists() or not path.stat().st_size:
        return
    try:
        layers = fiona.listlayers(path)
        with fiona.open(path) as file:
            fields = list(file.schema['properties'])
            is_empty = next(iter(file), None) is None
    except (fiona.errors.FionaError, CPLE_BaseError) as error:
        raise ConfigError(
            f'{path} exists and cannot be read as shapes ({error}): remove the file, or choose '
            'another name'
        ) from error
    # an empty GeoJSON has no fields
    if len(layers) == 1 and (tuple(fields[:3]) in _FIELDS or (is_empty and not fields)):
        return
    raise ConfigError(
        f'{path} holds the layers {", ".join(layers)}, the first with the fields '
        f'{", ".join(fields) or "none"}: expected one layer written by crossearth vectorize, so '
        'choose another name, or remove the file'
    )


@contextmanager
def open_shapes(
    path: Path,
    destination: Path,
    *,
    crs_wkt: str,
    geometry: Literal['Polygon', 'LineString'],
    properties: Mapping[str, str],
) -> Iterator[ShapeFile]:
    """Open a file for shapes. When the block ends, all shapes are in it.

    Args:
        path: File to write.
        destination: Its final path, whose suffix decides the format.
        crs_wkt: CRS; EPSG:4326 for GeoJSON.
        geometry: Geometry type of the shapes.
        properties: Fields of the records, with their types in fiona's notation.

    Raises:
        WriteError: If the file cannot be written.
    """
    driver = DRIVERS[destination.suffix.lower()]
    try:
        if driver == 'GeoJSON':
            with _GeoJSONFile(path, destination.stem) as text:
                yield text
            return
        with fiona.open(
            str(path),
            'w',
            driver=driver,
            crs_wkt=crs_wkt,
            layer=destination.stem if driver == 'GPKG' else None,
            schema={'geometry': geometry, 'properties': dict(properties)},
        ) as collection:
            counted = _Counted(collection)
            yield counted
        counted.check(path)
    except (fiona.errors.FionaError, CPLE_BaseError, RuntimeError, OSError) as error:
        if isinstance(error, WriteError):
            raise
        # fiona does not translate GDAL's error about a GeoPackage that cannot be closed
        raise WriteError(f'{destination} cannot be written ({error}): is the disk full?') from error


class _GeoJSONFile:
    """GeoJSON as in RFC 7946, one feature per line.

    GDAL does not report if the end of a GeoJSON file could not be written, so this class writes it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._file = path.open('w', encoding='utf-8', newline='\n')
        self._name = name
        self._separator = '\n'

    def __enter__(self) -> '_GeoJSONFile':
        self._file.write(
            f'{{"type": "FeatureCollection", "name": {json.dumps(self._name)}, "features": ['
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._file:  # is closed even if the last bytes do not fit on the disk
            if kind is None:
                self._file.write('\n]}\n')

    def writerecords(self, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            self._file.write(f'{self._separator}{json.dumps(record, ensure_ascii=False)}')
            self._separator = ',\n'


class _Counted:
    """A file written by GDAL whose records are counted."""

    def __init__(self, collection: fiona.Collection) -> None:
        self._collection = collection
        self._count = 0

    def writerecords(self, records: Iterable[dict[str, Any]]) -> None:
        batch = list(records)
        self._collection.writerecords(batch)
        self._count += len(batch)

    def check(self, path: Path) -> None:
        """Read the closed file and count its records.

        Raises:
            OSError: If a record is missing.
        """
        with fiona.open(str(path)) as written:
            found = sum(1 for _ in written)
        if found != self._count:
            raise OSError(f'{found} of {self._count} shapes are in the file')
