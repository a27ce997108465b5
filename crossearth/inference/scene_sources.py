"""Where scenes come from: files, folders, archives, lists, STAC."""

import csv
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossearth.errors import ConfigError, SceneError, SceneNotFoundError

__all__ = ['Task', 'find_scenes', 'tasks_of']

_RASTERS = ('.tif', '.tiff', '.vrt', '.jp2', '.png', '.jpg', '.jpeg', '.webp', '.img')
_STAC_ASSETS = ('visual', 'image', 'data', 'analytic')


@dataclass(frozen=True, slots=True)
class Task:
    """A scene, and where its map goes.

    Args:
        scene: Path, or name that GDAL opens.
        destination: GeoTIFF to write.
    """

    scene: str
    destination: Path


def tasks_of(sources: Sequence[str | Path], folder: str | Path) -> list[Task]:
    """Scenes of some sources, each with a map of the same name in a folder.

    Args:
        sources: Each as in `find_scenes`.
        folder: For the maps.

    Returns:
        One task a scene, also if it is listed twice, `folder/<name of the scene>.tif`, or
        `folder/<id of the item>.tif` of STAC items whose images share a name. What lies in the
        folder for the maps does not count as a scene of a folder around it.

    Raises:
        ConfigError: If two scenes would have the same map.
        SceneNotFoundError: If a source is not there, or empty.

    Example:
        >>> tasks_of(['s3://bucket/a.tif', '/vsizip/b.zip/c.jp2'], 'maps')[1].destination.as_posix()
        'maps/c.tif'
    """
    by_destination: dict[Path, Task] = {}
    for source in sources:
        maps_are_inside = _is_below(Path(folder).parent, Path(source))
        names = _item_names(source)
        for index, scene in enumerate(find_scenes(source)):
            if maps_are_inside and _is_below(Path(scene), Path(folder)):
                continue  # a map of an earlier run
            stem = names[index] if names else Path(scene.split('?')[0]).stem
            destination = Path(folder) / f'{stem}.tif'
            known = by_destination.get(destination)
            if known is not None and known.scene != scene:
                raise ConfigError(
                    f'{known.scene} and {scene} would both be mapped to '
                    f'{destination}: map them into different folders'
                )
            by_destination[destination] = Task(scene, destination)
    return list(by_destination.values())


def find_scenes(source: str | Path) -> list[str]:
    """Scenes that a source stands for, in the order of their names or of the list.

    Args:
        source: A raster, or a name that GDAL opens (`/vsicurl/…`, `s3://…`): that one. A folder:
            the rasters in it and below. A `.zip`: the rasters in it. A `.txt` or `.csv`: one scene
            a line, in a CSV in the column `scene`, relative to the list. A `.json` or `.geojson`: a
            STAC item or collection of items, of each its asset `visual`, `image`, `data` or
            `analytic`, else its only GeoTIFF.

    Raises:
        SceneNotFoundError: If it is not there, or has no scenes.
        ConfigError: If a list is not one.
    """
    name = str(source)
    if '://' in name or name.startswith('/vsi'):
        return [name]
    path = Path(source)
    if not path.exists():
        raise SceneNotFoundError(f'{path} is not there: check the path of the scenes')
    suffix = path.suffix.lower()
    if path.is_dir():
        scenes = sorted(
            str(found)
            for found in path.rglob('*')
            if found.suffix.lower() in _RASTERS
            and not any(part.startswith('.') for part in found.relative_to(path).parts)
        )
    elif suffix == '.zip':
        try:
            with zipfile.ZipFile(path) as archive:
                scenes = [
                    f'/vsizip/{path}/{inner}'
                    for inner in sorted(archive.namelist())
                    if inner.lower().endswith(_RASTERS)
                ]
        except zipfile.BadZipFile as error:
            raise SceneError(
                f'{path} is not a complete zip archive ({error}): fetch it again'
            ) from error
    elif suffix == '.txt':
        try:
            lines = path.read_text(encoding='utf-8-sig').splitlines()
        except UnicodeDecodeError as error:
            raise ConfigError(f'{path} is not a list of scenes in UTF-8 ({error})') from error
        scenes = [_beside(path, line.strip()) for line in lines if line.strip()]
    elif suffix == '.csv':
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            if 'scene' not in (reader.fieldnames or ()):
                raise ConfigError(
                    f'{path} has the columns {reader.fieldnames}: expected one named scene'
                )
            scenes = [_beside(path, row['scene'].strip()) for row in reader if row['scene']]
    elif suffix in {'.json', '.geojson'}:
        scenes = [scene for _, scene in _stac_scenes(path)]
    else:
        return [name]
    if not scenes:
        raise SceneNotFoundError(f'{path} holds no scenes: expected {", ".join(_RASTERS)}')
    return scenes


def _is_below(scene: Path, folder: Path) -> bool:
    return scene.resolve().is_relative_to(folder.resolve())


def _beside(listing: Path, name: str) -> str:
    if '://' in name or name.startswith('/vsi'):
        return name
    return str(listing.parent / name)


def _item_names(source: str | Path) -> list[str]:
    """Ids of STAC items whose images have the same name, `TCI.tif` in many a catalogue."""
    path = Path(source)
    if path.suffix.lower() not in {'.json', '.geojson'} or not path.is_file():
        return []
    items = _stac_scenes(path)
    by_stem: dict[str, set[str]] = {}
    for _, scene in items:
        by_stem.setdefault(Path(scene.split('?')[0]).stem, set()).add(scene)
    if all(len(scenes) == 1 for scenes in by_stem.values()):
        return []
    return [name.replace('/', '_') for name, _ in items]


def _stac_scenes(path: Path) -> list[tuple[str, str]]:
    """Id and image of each item."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except json.JSONDecodeError as error:
        raise ConfigError(f'{path} is not JSON ({error})') from error
    items = content.get('features', [content]) if isinstance(content, dict) else []
    scenes = []
    for item in items:
        assets = item.get('assets') if isinstance(item, dict) else None
        if not isinstance(assets, dict):
            raise ConfigError(
                f'{path} holds something that is not a STAC item: expected assets in it'
            )
        tiffs = [key for key, asset in assets.items() if 'tiff' in (asset.get('type') or '')]
        key = next((key for key in _STAC_ASSETS if key in assets), None)
        if key is None and len(tiffs) == 1:
            key = tiffs[0]
        if key is None:
            raise ConfigError(
                f'{path}: item {item.get("id")} has the assets {", ".join(assets)}: expected one '
                f'of {", ".join(_STAC_ASSETS)}, or a single GeoTIFF'
            )
        href = assets[key]['href']
        if href.startswith(('http://', 'https://')):
            href = f'/vsicurl/{href}'
        scenes.append((str(item.get('id')), _beside(path, href)))
    return scenes
