"""Describes a map as an item of a SpatioTemporal Asset Catalog (STAC)."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import shapely
from rasterio.io import DatasetReader

from crossearth.catalog.footprint import bbox_of, footprint
from crossearth.errors import ConfigError
from crossearth.inference.map_classes import MapClasses
from crossearth.inference.scene_receipts import Provenance
from crossearth.rasters import Georeference, ground_gsd

__all__ = ['STAC_VERSION', 'SceneTime', 'describe_map', 'require_addressable']

STAC_VERSION = '1.1.0'
_EXTENSIONS = 'https://stac-extensions.github.io'
_PROJECTION = f'{_EXTENSIONS}/projection/v2.0.0/schema.json'
_CLASSIFICATION = f'{_EXTENSIONS}/classification/v2.0.0/schema.json'
_PROCESSING = f'{_EXTENSIONS}/processing/v1.2.0/schema.json'
_GEOTIFF = 'image/tiff; application=geotiff'
_LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SceneTime:
    """When a scene was taken.

    Args:
        start: First moment, in UTC.
        stop: Last moment, in UTC.
        item: Address of the scene's STAC item; None if it has none.
    """

    start: datetime
    stop: datetime
    item: str | None = None


def describe_map(
    dataset: DatasetReader,
    path: Path,
    *,
    item_id: str,
    provenance: Provenance | None,
    time: SceneTime | None,
) -> dict[str, Any]:
    """The STAC item of a map as JSON values, for a file next to the map.

    Args:
        dataset: The open map.
        path: Path of the map.
        item_id: Id of the item, unique within the catalogue.
        provenance: Scene and model; None if unknown.
        time: When the scene was taken. If None, `datetime` is null, and the item says that the
            scene was taken between 1900 and the moment when the map was written.

    Returns:
        The item, without links to a catalogue. All addresses are relative to the map.

    Raises:
        ConfigError: If the map has no place on the ground.
    """
    place = Georeference.of(dataset)
    if place.tie_crs is None:
        raise ConfigError(
            f'{path} has no CRS and transform, so it has no place in a catalogue: assign them '
            '(gdal_edit.py -a_srs EPSG:… -a_ullr …), or move it to another folder'
        )
    height, width = dataset.shape
    shape = footprint(place, height=height, width=width, name=str(path))
    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    properties: dict[str, Any] = {'title': path.stem, 'created': _text(made), **_times(time, made)}
    if time is None:
        properties['crossearth:time'] = 'not known: start and end only enclose it'
    extensions = [_PROJECTION, _CLASSIFICATION]
    links = []
    if time is not None and time.item is not None:
        href = _href(time.item, path.parent)
        links.append({'rel': 'derived_from', 'href': href, 'type': 'application/geo+json'})
    assets = {'map': _map_asset(dataset, path, place)}
    style = path.with_suffix('.qml')
    if style.is_file():
        assets['style'] = {'href': f'./{style.name}', 'title': 'QGIS style', 'roles': ['metadata']}
    if provenance is not None:
        if provenance.version:
            extensions.append(_PROCESSING)
            properties['processing:software'] = {'crossearth': provenance.version}
        properties |= {
            f'crossearth:{name}': text
            for name, text in (('model_id', provenance.model_id), ('seen', provenance.seen))
            if text
        }
        scene = _href(provenance.scene, path.parent)
        assets['scene'] = {'href': scene, 'title': 'The scene', 'roles': ['source']}
    return {
        'type': 'Feature',
        'stac_version': STAC_VERSION,
        'stac_extensions': extensions,
        'id': item_id,
        'geometry': shapely.geometry.mapping(shape),
        'bbox': bbox_of(shape),
        'properties': properties,
        'links': links,
        'assets': assets,
    }


def _times(time: SceneTime | None, made: datetime) -> dict[str, str | None]:
    if time is not None and time.start == time.stop:
        return {'datetime': _text(time.start)}
    # STAC has no unknown times: where datetime is null, start and end must be given
    start, stop = (_LONG_AGO, made) if time is None else (time.start, time.stop)
    return {'datetime': None, 'start_datetime': _text(start), 'end_datetime': _text(stop)}


def _text(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec='microseconds')
    return re.sub(r'\.?0*\+00:00$', 'Z', text)


def require_addressable(name: str | Path) -> None:
    """Refuse map names that some readers would misread as part of an address.

    Raises:
        ConfigError: If the name contains `#`, `?` or `%`.
    """
    found = [letter for letter in '#?%' if letter in str(name)]
    if found:
        raise ConfigError(
            f'{name} contains {" ".join(found)}, which has a special meaning in the addresses of a '
            'catalogue, so readers would not find the map: choose another name'
        )


def _href(name: str, folder: Path) -> str:
    """The address of a file relative to a folder; files elsewhere keep their own address.

    Characters with a special meaning in addresses are percent-encoded.
    """
    if name.startswith('/vsicurl/'):
        return name.removeprefix('/vsicurl/')
    if '://' in name or name.startswith('/vsi'):
        return name
    relative = PurePosixPath(os.path.relpath(Path(name).resolve(), folder.resolve()))
    text = re.sub('[%#?]', lambda found: f'%{ord(found[0]):02X}', str(relative))
    return text if relative.parts[:1] == ('..',) else f'./{text}'


def _map_asset(dataset: DatasetReader, path: Path, place: Georeference) -> dict[str, Any]:
    height, width = dataset.shape
    structure = dataset.tags(ns='IMAGE_STRUCTURE')
    kind = _GEOTIFF
    if structure.get('LAYOUT') == 'COG':
        kind += '; profile=cloud-optimized'
    asset: dict[str, Any] = {
        'href': f'./{path.name}',
        'type': 'application/xml' if path.suffix.lower() == '.vrt' else kind,
        'title': 'Map of class ids',
        'roles': ['data'],
        'proj:shape': [height, width],
        'data_type': dataset.dtypes[0],
    }
    if dataset.nodata is not None:
        asset['nodata'] = int(dataset.nodata)
    gsd = ground_gsd(place, height=height, width=width, name=str(path))
    if gsd is not None:
        asset['gsd'] = round(sum(gsd) / 2, 6)
    if place.tie == 'transform' and place.crs is not None:
        authority = place.crs.to_authority()
        asset['proj:code'] = None if authority is None else ':'.join(authority)
        if authority is None:
            asset['proj:wkt2'] = place.crs.to_wkt()
        asset['proj:transform'] = [float(value) for value in tuple(place.transform)[:6]]
    else:
        asset['proj:code'] = None
    classes = _classes(MapClasses.of(dataset), dataset.nodata)
    return asset | ({'classification:classes': classes} if classes else {})


def _classes(classes: MapClasses, nodata: float | None) -> list[dict[str, Any]]:
    """The classes as in the classification extension: names hold only letters, digits, - and _."""
    colours: Sequence[tuple[int, int, int] | None] = classes.colours or [None] * len(classes.names)
    found: list[dict[str, Any]] = []
    taken = {'no_data'}
    for (index, name), colour in zip(classes.names, colours, strict=True):
        plain = re.sub(r'[^0-9A-Za-z_-]', '_', name)
        if plain in taken or not re.search('[0-9A-Za-z]', plain):  # such as names in Cyrillic
            plain = f'class_{index}'
        taken.add(plain)
        one = {'value': index, 'name': plain, 'title': name}
        if colour is not None:
            one['color_hint'] = '{:02X}{:02X}{:02X}'.format(*colour)
        found.append(one)
    if found and nodata is not None:
        found.append({'value': int(nodata), 'name': 'no_data', 'title': 'no data', 'nodata': True})
    return found
