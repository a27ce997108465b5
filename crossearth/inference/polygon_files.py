"""Files of polygons, complete or an error: what a driver cannot write, it does not always tell."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import fiona
from fiona._err import CPLE_BaseError

from crossearth.errors import WriteError

__all__ = ['DRIVERS', 'PolygonFile', 'open_polygons']

DRIVERS = {'.gpkg': 'GPKG', '.geojson': 'GeoJSON', '.json': 'GeoJSON', '.fgb': 'FlatGeobuf'}
"""Suffixes of files, and what GDAL calls their formats."""


class PolygonFile(Protocol):
    """Takes records, as GeoJSON features."""

    def writerecords(self, records: Iterable[dict[str, Any]]) -> object:
        """Append records."""


@contextmanager
def open_polygons(
    path: Path, destination: Path, *, crs_wkt: str, has_confidence: bool
) -> Iterator[PolygonFile]:
    """Open a file for polygons; when the block ends, all of them are in it.

    Args:
        path: File to write.
        destination: What it will be called; its suffix tells the format.
        crs_wkt: CRS; EPSG:4326 for GeoJSON.
        has_confidence: Whether records have a mean confidence.

    Raises:
        WriteError: If the file cannot be written.
    """
    driver = DRIVERS[destination.suffix.lower()]
    try:
        if driver == 'GeoJSON':
            with _GeoJSONFile(path, destination.stem) as text:
                yield text
            return
        properties = {'class_id': 'int', 'class': 'str', 'area_m2': 'float'}
        schema = {
            'geometry': 'Polygon',
            'properties': properties | ({'confidence': 'float'} if has_confidence else {}),
        }
        with fiona.open(
            str(path),
            'w',
            driver=driver,
            crs_wkt=crs_wkt,
            layer=destination.stem if driver == 'GPKG' else None,
            schema=schema,
        ) as collection:
            counted = _Counted(collection)
            yield counted
        counted.check(path)
    except (fiona.errors.FionaError, CPLE_BaseError, RuntimeError, OSError) as error:
        if isinstance(error, WriteError):
            raise
        # fiona lets what GDAL says of a GeoPackage that it cannot close pass as it is
        raise WriteError(f'{destination} cannot be written ({error}): is the disk full?') from error


class _GeoJSONFile:
    """GeoJSON after RFC 7946, a feature per line.

    GDAL does not report that the end of a GeoJSON file could not be written.
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
        with self._file:  # closed also where the last bytes do not fit
            if kind is None:
                self._file.write('\n]}\n')

    def writerecords(self, records: Iterable[dict[str, Any]]) -> None:
        for record in records:
            self._file.write(f'{self._separator}{json.dumps(record, ensure_ascii=False)}')
            self._separator = ',\n'


class _Counted:
    """A file of GDAL whose records are counted."""

    def __init__(self, collection: fiona.Collection) -> None:
        self._collection = collection
        self._count = 0

    def writerecords(self, records: Iterable[dict[str, Any]]) -> None:
        batch = list(records)
        self._collection.writerecords(batch)
        self._count += len(batch)

    def check(self, path: Path) -> None:
        """Read the file that was closed.

        Raises:
            OSError: If a record is not in it.
        """
        with fiona.open(str(path)) as written:
            found = sum(1 for _ in written)
        if found != self._count:
            raise OSError(f'{found} of {self._count} polygons are in the file')
