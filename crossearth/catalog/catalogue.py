"""Writes a static STAC catalogue for a folder of maps. It can be moved together with the maps."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from crossearth import __version__
from crossearth.catalog.items import STAC_VERSION, SceneTime, describe_map, require_addressable
from crossearth.catalog.times import stated_time, time_in_file, times_of_items
from crossearth.errors import ConfigError
from crossearth.inference import find_scenes
from crossearth.inference.scene_receipts import Provenance, read_provenance
from crossearth.inference.writer import whole_file, write_text
from crossearth.rasters import gdal_environment, open_raster

__all__ = ['Catalogue', 'write_catalogue', 'write_item']

_SUFFIX = '.stac.json'
_MARK = 'crossearth:version'


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A catalogue that was written.

    Args:
        path: Its file.
        items: Number of maps.
        undated: Number of maps whose scene has no known time.
        left_out: Rasters of the folder that are not maps, such as probabilities.
    """

    path: Path
    items: int
    undated: int
    left_out: tuple[Path, ...]


def write_catalogue(
    folder: str | Path,
    *,
    time: str | None = None,
    scene_items: str | Path | None = None,
    title: str | None = None,
) -> Catalogue:
    """Describe the maps of a folder as a STAC catalogue.

    Each map gets an item next to it, `<map>.stac.json`, and the folder gets a `catalog.json` that
    links to all of them. Links are relative, so the folder can be moved. Scenes and models are
    taken from the receipts of `predict_scenes`, or from an earlier item. Maps that no longer exist
    are dropped. The catalogue is written after its items, and appears only when it is complete. It
    replaces an earlier one, but no other file.

    Args:
        folder: Folder of maps, including its subfolders.
        time: When all scenes were taken, see `stated_time`; None to use their STAC items, or the
            metadata in their files.
        scene_items: STAC items of the scenes that were mapped.
        title: Title of the catalogue; None for the name of the folder.

    Raises:
        SceneNotFoundError: If the folder does not exist, or holds no rasters.
        SceneError: If a raster cannot be read.
        ConfigError: If a map has no georeference, two maps would have the same id, a name cannot
            be used in a link, a time or the items are invalid, or there is a `catalog.json` that
            is not from crossearth.
        WriteError: If a file cannot be written.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ConfigError(f'{root} is not a folder: pass the folder of the maps')
    _check_replaceable(root / 'catalog.json')
    stated = None if time is None else stated_time(time)
    of_items = {} if scene_items is None else times_of_items(scene_items)
    ids: dict[str, Path] = {}
    left_out: list[Path] = []
    undated = 0
    for path in map(Path, find_scenes(root)):
        name = path.relative_to(root)
        item_id = name.with_suffix('').as_posix().replace('/', '__')
        item = _item_of(path, item_id, stated=stated, of_items=of_items, provenance=None)
        if item is None:
            left_out.append(path)
            continue
        require_addressable(name)
        if item_id in ids:
            raise ConfigError(
                f'{ids[item_id]} and {path} would both have the id {item_id}: rename one of them'
            )
        ids[item_id] = path
        undated += 'crossearth:time' in item['properties']
        up = '../' * (len(name.parts) - 1) or './'
        parent = {'href': f'{up}catalog.json', 'type': 'application/json'}
        item['links'] += [{'rel': 'root', **parent}, {'rel': 'parent', **parent}]
        _write_json(_item_path(path), item)
    catalogue = _describe(root, list(ids.items()), title)
    _write_json(root / 'catalog.json', catalogue)
    return Catalogue(root / 'catalog.json', len(ids), undated, tuple(left_out))


def write_item(map_path: str | Path, *, scene: str, model_id: str, seen: str = '') -> Path:
    """Describe one map as a STAC item next to it, `<map>.stac.json`.

    Args:
        map_path: The map.
        scene: The scene that was mapped.
        model_id: Identifies the model.
        seen: How the model saw the scene.

    Returns:
        The item.

    Raises:
        SceneError: If the map cannot be read.
        ConfigError: If it has no georeference, or its name cannot be used in a link.
        WriteError: If the file cannot be written.
    """
    path = Path(map_path)
    provenance = Provenance(scene, model_id, __version__, seen)
    require_addressable(path.name)
    item = _item_of(path, path.stem, stated=None, of_items={}, provenance=provenance)
    if item is None:
        raise ConfigError(
            f'{path} was not written by crossearth as a map: pass the map that predict wrote'
        )
    _write_json(_item_path(path), item)
    return _item_path(path)


def _check_replaceable(path: Path) -> None:
    """Refuse to replace a catalogue that crossearth did not write."""
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        # versions without the mark named crossearth in the description
        ours = _MARK in content or 'made with crossearth' in content['description']
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ConfigError(
            f'{path} exists and was not written by crossearth, so it is not replaced: rename or '
            'move it'
        )


def _item_of(
    path: Path,
    item_id: str,
    *,
    stated: SceneTime | None,
    of_items: dict[str, SceneTime],
    provenance: Provenance | None,
) -> dict[str, Any] | None:
    """The item of a raster, if it is a map."""
    with gdal_environment(), open_raster(path) as dataset:
        if dataset.descriptions[0] != 'class':  # probabilities, confidence, entropy, images
            return None
        if dataset.dtypes[0] not in {'uint8', 'uint16'}:  # written by another program
            return None
        made_from = provenance or read_provenance(path) or _former_provenance(path)
        time = stated
        if time is None and made_from is not None:
            time = _time_of(made_from.scene, of_items)
        return describe_map(dataset, path, item_id=item_id, provenance=made_from, time=time)


def _time_of(scene: str, of_items: dict[str, SceneTime]) -> SceneTime | None:
    name = scene.removeprefix('/vsicurl/')
    known = of_items.get(name) or of_items.get(str(Path(name).resolve()))
    if known is not None or name != scene or '://' in scene:
        return known  # reading the file instead would use the network
    return time_in_file(scene)


def _former_provenance(path: Path) -> Provenance | None:
    """What the item of an earlier catalogue says about a map without a receipt."""
    try:
        item = json.loads(_item_path(path).read_text(encoding='utf-8'))
        scene, properties = item['assets']['scene']['href'], item['properties']
        if '://' not in scene and not scene.startswith('/vsi'):
            scene = str(path.parent / unquote(scene))
        return Provenance(
            scene,
            properties.get('crossearth:model_id', ''),
            properties.get('processing:software', {}).get('crossearth', ''),
            properties.get('crossearth:seen', ''),
        )
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _item_path(path: Path) -> Path:
    return path.with_name(f'{path.name}{_SUFFIX}')


def _describe(root: Path, maps: list[tuple[str, Path]], title: str | None) -> dict[str, Any]:
    return {
        'type': 'Catalog',
        'stac_version': STAC_VERSION,
        'id': root.resolve().name or 'maps',
        'title': title or root.resolve().name or 'maps',
        _MARK: __version__,
        'description': f'{len(maps)} maps of land cover, made with crossearth.',
        'links': [
            {'rel': 'root', 'href': './catalog.json', 'type': 'application/json'},
            *_item_links(root, maps),
        ],
    }


def _item_links(root: Path, maps: list[tuple[str, Path]]) -> Iterator[dict[str, str]]:
    for item_id, path in maps:
        href = f'./{_item_path(path).relative_to(root).as_posix()}'
        yield {'rel': 'item', 'href': href, 'type': 'application/geo+json', 'title': item_id}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        write_text(temporary, json.dumps(content, indent=1, ensure_ascii=False))
