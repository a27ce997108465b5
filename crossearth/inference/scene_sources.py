"""Finds scenes in files, folders, archives, lists and STAC items."""

import csv
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path, PurePosixPath
from typing import Any

from crossearth.errors import ConfigError, SceneError, SceneNotFoundError, printable

__all__ = ['RASTER_SUFFIXES', 'Task', 'find_scenes', 'tasks_of']

RASTER_SUFFIXES = ('.tif', '.tiff', '.vrt', '.jp2', '.png', '.jpg', '.jpeg', '.webp', '.img')
"""How the names of scenes in folders and archives end."""

_STAC_ASSETS = ('visual', 'image', 'data', 'analytic')


@dataclass(frozen=True, slots=True)
class Task:
    """A scene, and where its map goes.

    Args:
        scene: Path, or a name that GDAL opens.
        destination: GeoTIFF to write.
        name: Path of that GeoTIFF in the folder of all maps, such as `a/TCI.tif`. Further rasters
            have the same path in their folders. Empty for the file name alone.
    """

    scene: str
    destination: Path
    name: str = ''

    @property
    def file_name(self) -> str:
        """Path of the map, and of further rasters, in a folder for all scenes."""
        return self.name or self.destination.name


def tasks_of(
    sources: Sequence[str | Path], folder: str | Path, *, further: Iterable[str | Path] = ()
) -> list[Task]:
    """Scenes of some sources, each with a map of the same name in a folder.

    Folders are mirrored: `a/TCI.tif` and `b/TCI.tif` of a folder or an archive are mapped to
    `a/TCI.tif` and `b/TCI.tif` in `folder`. Scenes of a list keep the subfolders of the deepest
    folder that they share. STAC items whose images share a name are mapped to `<item id>.tif`.

    Args:
        sources: Each as in `find_scenes`.
        folder: Folder for the maps.
        further: Folders for further rasters, such as confidences.

    Returns:
        One task per scene, even if it is listed twice. If a source folder contains the folder for
        the maps or further rasters, what lies in the latter does not count as a scene.

    Raises:
        ConfigError: If two scenes would have the same map, or a name cannot be a file name.
        SceneNotFoundError: If a source does not exist, or is empty.

    Example:
        >>> tasks_of(['s3://bucket/a.tif', '/vsizip/b.zip/c.jp2'], 'maps')[1].destination.as_posix()
        'maps/c.tif'
    """
    by_destination: dict[Path, Task] = {}
    for source in sources:
        outputs = [Path(one) for one in (folder, *further)]
        inside = [one for one in outputs if _is_below(one.parent, Path(source))]
        for name, scene in _named_scenes(source):
            if any(_is_below(Path(scene), one) for one in inside):
                continue  # a map, or a raster written with it, of an earlier run
            file = f'{name}.tif'
            destination = Path(folder) / file
            known = by_destination.get(destination)
            if known is not None and known.scene != scene:
                raise ConfigError(
                    f'{known.scene} and {scene} would both be mapped to '
                    f'{destination}: map them into different folders'
                )
            by_destination[destination] = Task(scene, destination, file)
    return list(by_destination.values())


def find_scenes(source: str | Path) -> list[str]:
    """Scenes of a source, in the order of their names or of the list.

    Args:
        source: A raster, or a name that GDAL opens (`/vsicurl/…`, `s3://…`), is one scene. For a
            folder or `.zip`: the rasters in it and its subfolders, except hidden ones and parts of
            incomplete maps (`….tif.parts`). For a `.txt` or `.csv`: one scene per line, in a CSV
            from the column `scene`, relative to the list. For a `.json` or `.geojson`: a STAC item
            or item collection; of each item the asset `visual`, `image`, `data` or `analytic`, or
            else its only GeoTIFF.

    Raises:
        SceneNotFoundError: If the source does not exist, or has no scenes.
        SceneError: If it cannot be read.
        ConfigError: If a list has the wrong format, or holds a name that no file can have.
    """
    return [scene for _, scene in _named_scenes(source)]


def _named_scenes(source: str | Path) -> list[tuple[str, str]]:
    """Scenes with the names of their maps, without a suffix."""
    name = str(source)
    if '://' in name or name.startswith('/vsi'):
        return [(_stem(name), name)]
    path = Path(source)
    try:
        if not path.exists():
            raise SceneNotFoundError(f'{path} does not exist: check the path of the scenes')
        named = _read_source(path)
    except PermissionError as error:
        raise SceneError(f'{path} cannot be read ({error}): check its permissions') from error
    if not named:
        raise SceneNotFoundError(
            f'{path} holds no scenes: expected files ending in {", ".join(RASTER_SUFFIXES)}'
        )
    for map_name, scene in named:
        if any(ord(letter) < 32 for letter in map_name + scene):
            raise ConfigError(
                f'{path} names {printable(scene)!r} with the map {printable(map_name)!r}: file '
                'names cannot contain control characters, so correct it there'
            )
    return named


def _read_source(path: Path) -> list[tuple[str, str]]:
    suffix = path.suffix.lower()
    if path.is_dir():
        found = sorted(
            one.relative_to(path)
            for one in path.rglob('*')
            if one.suffix.lower() in RASTER_SUFFIXES
            and not any(map(_is_unfinished, one.relative_to(path).parts))
        )
        return [(one.with_suffix('').as_posix(), str(path / one)) for one in found]
    if suffix == '.zip':
        return _read_archive(path)
    if suffix == '.txt':
        # spreadsheets and editors on Windows begin files with a byte order mark
        try:
            lines = path.read_text(encoding='utf-8-sig').splitlines()
        except UnicodeDecodeError as error:
            raise ConfigError(
                f'{path} is not a list of scenes in UTF-8 ({error}): save it as UTF-8'
            ) from error
        return _below_shared([_relative_to(path, line.strip()) for line in lines if line.strip()])
    if suffix == '.csv':
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file)
            if 'scene' not in (reader.fieldnames or ()):
                raise ConfigError(
                    f'{path} has the columns {reader.fieldnames}: expected one named scene'
                )
            scenes = [row['scene'].strip() for row in reader if row['scene']]
        return _below_shared([_relative_to(path, scene) for scene in scenes])
    if suffix in {'.json', '.geojson'}:
        return _name_items(_stac_scenes(path))
    return [(path.stem, str(path))]


def _is_unfinished(name: str) -> bool:
    """Whether a file or folder is hidden, or holds the parts of an incomplete map."""
    return name.startswith('.') or name.lower().endswith(('.tif.parts', '.tiff.parts'))


def _read_archive(path: Path) -> list[tuple[str, str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = sorted(
                inner for inner in archive.namelist() if inner.lower().endswith(RASTER_SUFFIXES)
            )
    except zipfile.BadZipFile as error:
        raise SceneError(
            f'{path} is not a complete zip archive ({error}): fetch it again'
        ) from error
    named = []
    for inner in inside:
        inner_path = PurePosixPath(inner)
        if inner_path.is_absolute() or '..' in inner_path.parts:
            raise SceneError(
                f'{path} holds {printable(inner)}, a path that leaves the archive, so its map '
                'would lie outside the folder for maps: pack the archive again'
            )
        if not any(map(_is_unfinished, inner_path.parts)):  # macOS packs `__MACOSX/._scene.tif`
            named.append((inner_path.with_suffix('').as_posix(), f'/vsizip/{path}/{inner}'))
    return named


def _below_shared(scenes: Sequence[str]) -> list[tuple[str, str]]:
    """Scenes of a list, named by their path below the deepest folder that they all share."""
    paths = [Path(scene.split('?')[0]).as_posix() for scene in scenes]
    folders = [str(PurePosixPath(path).parent) for path in paths]
    # `commonpath` refuses to mix absolute and relative paths
    if len({folder.startswith('/') for folder in folders}) == 2 or '..' in ''.join(folders):
        folders = [Path(folder).resolve().as_posix() for folder in folders]
    shared = commonpath(folders) if folders else ''
    return [
        (str(PurePosixPath(folder).relative_to(shared or '.') / _stem(scene)), scene)
        for folder, scene in zip(folders, scenes, strict=True)
    ]


def _stem(scene: str) -> str:
    return Path(scene.split('?')[0]).stem


def _is_below(scene: Path, folder: Path) -> bool:
    return scene.resolve().is_relative_to(folder.resolve())


def _relative_to(listing: Path, name: str) -> str:
    if '://' in name or name.startswith('/vsi'):
        return name
    return str(listing.parent / name)


def _name_items(items: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names from the images, or from the item ids if images share a name, such as `TCI.tif`."""
    by_stem: dict[str, set[str]] = {}
    for _, scene in items:
        by_stem.setdefault(_stem(scene), set()).add(scene)
    if all(len(scenes) == 1 for scenes in by_stem.values()):
        return [(_stem(scene), scene) for _, scene in items]
    # a slash in an id would become a folder
    return [(name.replace('/', '_'), scene) for name, scene in items]


def _stac_scenes(path: Path) -> list[tuple[str, str]]:
    """The id and the image of each item."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ConfigError(f'{path} is not JSON ({error}): expected STAC items') from error
    items: list[Any] = content.get('features', [content]) if isinstance(content, dict) else []
    scenes = []
    for item in items:
        assets = item.get('assets') if isinstance(item, dict) else None
        if not isinstance(assets, dict):
            raise ConfigError(
                f'{path} holds something that is not a STAC item: expected items with assets'
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
        scenes.append((str(item.get('id')), _relative_to(path, href)))
    return scenes
