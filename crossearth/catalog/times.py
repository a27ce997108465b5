"""Reads when scenes were taken, from a user's text, STAC items or file metadata."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from crossearth.catalog.items import SceneTime
from crossearth.errors import ConfigError

__all__ = ['stated_time', 'time_in_file', 'times_of_items']


def stated_time(text: str) -> SceneTime:
    """A moment, a day, or two of them with a slash in between, in UTC unless a zone is given.

    Raises:
        ConfigError: If the text is none of these, or ends before it begins.

    Example:
        >>> stated_time('2021-06-30').stop
        datetime.datetime(2021, 6, 30, 23, 59, 59, tzinfo=datetime.timezone.utc)
    """
    first, _, last = text.partition('/')
    start, stop = _moment(first), _moment(last or first)
    if _is_day(last or first):
        stop = stop.replace(hour=23, minute=59, second=59)
    if stop < start:
        raise ConfigError(f'{text} ends before it begins: put the earlier time first')
    return SceneTime(start, stop)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(
            f'{text!r} is not a time: expected 2021-06-30, 2021-06-30T10:20:30Z, or two of them '
            'with a slash in between'
        ) from error
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def times_of_items(path: str | Path) -> dict[str, SceneTime]:
    """Times of STAC items, by the names that the scene of a map may have.

    Args:
        path: A STAC item or item collection (`.json`), as given to `crossearth predict`.

    Returns:
        Time and address of the items, by the addresses of their assets.

    Raises:
        ConfigError: If the file does not hold items with times.
    """
    listing = Path(path)
    try:
        content = json.loads(listing.read_text(encoding='utf-8'))
        items = content.get('features', [content])
        return {
            _scene_of(asset['href'], listing): _time_of(item, listing)
            for item in items
            for asset in item['assets'].values()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f'{path} does not hold STAC items with times ({error!r}): expected items with datetime'
        ) from error


def _scene_of(href: str, listing: Path) -> str:
    if '://' in href or href.startswith('/vsi'):
        return href
    return str((listing.parent / href).resolve())


def _time_of(item: dict[str, Any], listing: Path) -> SceneTime:
    known = item['properties']
    links = {link.get('rel'): link.get('href') for link in item.get('links', ())}
    if known.get('datetime'):
        time = stated_time(known['datetime'])
    else:
        time = stated_time(f'{known["start_datetime"]}/{known["end_datetime"]}')
    own = links.get('self')
    return SceneTime(time.start, time.stop, None if own is None else _scene_of(own, listing))


def time_in_file(scene: str) -> SceneTime | None:
    """The time in the metadata of a scene's file; None if there is no time, or no such file."""
    try:
        with rasterio.open(scene) as dataset:
            text = dataset.tags(ns='IMAGERY').get('ACQUISITIONDATETIME', '')
    except RasterioError:
        return None
    try:
        return stated_time(text)
    except ConfigError:
        return None
