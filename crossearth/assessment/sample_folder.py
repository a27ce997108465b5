"""The folder of a sample: files that people label and that the report reads."""

import csv
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import fiona
import numpy as np
from affine import Affine
from fiona._err import CPLE_BaseError

from crossearth.assessment.stratified_map import Stratum
from crossearth.errors import ConfigError, SceneError, SceneNotFoundError, WriteError

__all__ = ['POINTS', 'Design', 'Unit', 'new_folder', 'read_design', 'write_design', 'write_points']

POINTS = 'points.gpkg'
_DESIGN = 'design.json'
_KEY = 'key.csv'
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Unit:
    """A drawn pixel.

    Args:
        id: Its number, from 1, which reveals nothing about its stratum.
        stratum: Index of its stratum.
        row: Row in the map.
        col: Column in the map.
        class_id: Class in the map.
        area_m2: Its area on the ground, in square metres.
    """

    id: int
    stratum: int
    row: int
    col: int
    class_id: int
    area_m2: float


@dataclass(frozen=True, slots=True)
class Design:
    """A sample and the map that it was drawn from.

    Args:
        map: Path of the map.
        scene: Path of the image that was mapped; None if it was not given.
        classes: Class names, by id.
        strata: The strata, sampled separately.
        units: The drawn pixels.
        height: Rows of the map.
        width: Columns of the map.
        crs_wkt: CRS of the map.
        transform: Affine transform of the map, six numbers.
        seed: Seed of the random draw.
        nodata: No-data value of the map; None if it has none.
    """

    map: str
    scene: str | None
    classes: Mapping[int, str]
    strata: tuple[Stratum, ...]
    units: tuple[Unit, ...]
    height: int
    width: int
    crs_wkt: str
    transform: tuple[float, ...]
    seed: int
    nodata: float | int | None = None  # folders of earlier versions do not name it

    def drawn(self) -> list[int]:
        """Number of units in each stratum."""
        found = np.bincount([unit.stratum for unit in self.units], minlength=len(self.strata))
        return [int(number) for number in found]

    def centre(self, unit: Unit) -> tuple[float, float]:
        """Coordinates of the centre of a pixel, in the CRS of the map."""
        x, y = Affine(*self.transform) @ (unit.col + 0.5, unit.row + 0.5)
        return float(x), float(y)

    def outline(self, unit: Unit) -> list[tuple[float, float]]:
        """The corners of a pixel as a closed ring of five points, in the CRS of the map."""
        place = Affine(*self.transform)
        corners = ((0, 0), (0, 1), (1, 1), (1, 0), (0, 0))
        return [place @ (unit.col + right, unit.row + down) for right, down in corners]


@contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """A hidden folder that is renamed to `destination` if the block ends without an error.

    Raises:
        ConfigError: If the folder already exists, or its parent does not.
    """
    if destination.exists():
        raise ConfigError(
            f'{destination} exists, and may hold labels: choose another folder, or remove it first'
        )
    if not destination.parent.is_dir():
        raise ConfigError(f'the folder {destination.parent} does not exist: create it first')
    # next to the destination, because renaming is atomic only within one file system
    with tempfile.TemporaryDirectory(
        dir=destination.parent, prefix=f'.{destination.name}.'
    ) as temporary:
        folder = Path(temporary) / destination.name
        folder.mkdir()
        yield folder
        folder.rename(destination)


def write_design(folder: Path, design: Design) -> None:
    """Write the sample: `design.json`, and `key.csv` with the mapped classes."""
    content = {'version': _VERSION} | asdict(design)
    units = content.pop('units')
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / _DESIGN).write_text(text + '\n', encoding='utf-8')
    with (folder / _KEY).open('w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, [*units[0], 'class'])
        writer.writeheader()
        writer.writerows(unit | {'class': design.classes[unit['class_id']]} for unit in units)


def read_design(folder: Path) -> Design:
    """Read what `write_design` wrote.

    Raises:
        SceneNotFoundError: If the folder is not that of a sample.
        SceneError: If a file is damaged, or from another version.
    """
    try:
        content = json.loads((folder / _DESIGN).read_text(encoding='utf-8'))
        with (folder / _KEY).open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise SceneNotFoundError(
            f'{error.filename} does not exist: expected a folder of `crossearth assess sample`'
        ) from error
    except ValueError as error:
        raise SceneError(
            f'{folder / _DESIGN} is damaged ({error}): draw the sample again'
        ) from error
    try:
        if content.pop('version') != _VERSION:
            raise ValueError('it is from another version of crossearth')
        strata = tuple(Stratum(**stratum) for stratum in content.pop('strata'))
        classes = {int(index): str(name) for index, name in content.pop('classes').items()}
        transform = tuple(float(number) for number in content.pop('transform'))
        whole = ('id', 'stratum', 'row', 'col', 'class_id')
        units = tuple(
            Unit(**{name: int(row[name]) for name in whole}, area_m2=float(row['area_m2']))
            for row in rows
        )
        return Design(strata=strata, classes=classes, transform=transform, units=units, **content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SceneError(
            f'{folder}: design.json or key.csv is damaged ({error!r}): draw the sample again'
        ) from error


def write_points(folder: Path, design: Design, chips: Mapping[int, str]) -> None:
    """Write the points to label, and the outlines of their pixels, as a GeoPackage.

    Neither layer contains the mapped class.

    Args:
        folder: Folder of the sample.
        design: The sample.
        chips: Path of the picture of each unit, relative to the folder; empty for none.
    """
    path = folder / POINTS
    text = {'label': 'str', 'note': 'str'} | ({'chip': 'str'} if chips else {})
    try:
        with fiona.open(
            str(path), 'w', driver='GPKG', layer='points', crs_wkt=design.crs_wkt,
            schema={'geometry': 'Point', 'properties': {'id': 'int'} | text},
        ) as file:  # fmt: skip
            file.writerecords(
                {
                    'type': 'Feature',
                    'geometry': {'type': 'Point', 'coordinates': design.centre(unit)},
                    'properties': {'id': unit.id, 'label': None, 'note': None}
                    | ({'chip': chips[unit.id]} if chips else {}),
                }
                for unit in design.units
            )
        with fiona.open(
            str(path), 'w', driver='GPKG', layer='pixels', crs_wkt=design.crs_wkt,
            schema={'geometry': 'Polygon', 'properties': {'id': 'int'}},
        ) as file:  # fmt: skip
            file.writerecords(
                {
                    'type': 'Feature',
                    'geometry': {'type': 'Polygon', 'coordinates': [design.outline(unit)]},
                    'properties': {'id': unit.id},
                }
                for unit in design.units
            )
    except (fiona.errors.FionaError, CPLE_BaseError, RuntimeError) as error:
        raise WriteError(
            f'{path} cannot be written ({error}): check for free disk space'
        ) from error
