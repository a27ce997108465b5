"""Renders the page that shows a map: one HTML file that loads nothing from elsewhere.

Names in files must stay text. Jinja2 escapes them. The policy in the head of the page allows only
the two scripts whose hashes it contains, and pictures inside the page or from its own server.
"""

import base64
import hashlib
import math
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from crossearth.errors import ConfigError
from crossearth.inference.writer import check_place, whole_file, write_text
from crossearth.viewer.map_view import MapView
from crossearth.viewer.shown_raster import fitting

__all__ = ['PAGE_PX', 'first_tile_level', 'render_page', 'write_page']

PAGE_PX = 4096
"""Default for the longer side of the pictures of a page, in pixels."""

_MOST_PX = 16383  # limit of WebP
_GENERATOR = b'<meta name="generator" content="crossearth view">'  # as in the template


def write_page(view: MapView, path: str | Path, *, page_px: int = PAGE_PX) -> Path:
    """Write a map as one page, which any browser opens without a network.

    Args:
        view: The map.
        path: `.html` file to write; it appears under its name only when it is complete. An earlier
            page of a map is replaced.
        page_px: Longer side of its pictures. For a larger map, every second, third, … pixel is
            shown.

    Raises:
        ConfigError: If `page_px` is out of range, the name is not valid for a page, or there is a
            file that is not such a page.
        SceneError: If a file cannot be read.
        WriteError: If the page cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in {'.html', '.htm'}:
        raise ConfigError(f'{path} is not a page: choose a name that ends in .html')
    check_place(path)
    _check_replaceable(path)
    page = render_page(view, page_px=page_px)
    with whole_file(path) as temporary:
        write_text(temporary, page)
    return path


def render_page(view: MapView, *, page_px: int, tiles_at: str | None = None) -> str:
    """Render the page as HTML.

    Args:
        view: The map.
        page_px: Longer side of its pictures.
        tiles_at: Where the server has tiles for larger maps; None for a page without a server.

    Raises:
        ConfigError: If `page_px` is out of range, or Leaflet is missing.
        SceneError: If a file cannot be read.
    """
    if not 1 <= page_px <= _MOST_PX:
        raise ConfigError(f'page_px is {page_px}: expected 1 to {_MOST_PX}')
    height, width = fitting(view.height, view.width, page_px)
    library = _library('leaflet.js')
    script = _own('viewer.js')
    has_tiles = tiles_at is not None and width < view.width
    layers = [
        {
            'name': layer.name,
            'picture': _uri(layer.encoded(layer.overview(page_px))),
            'tiles': f'{tiles_at}/{layer.name}/{{level}}/{{x}}/{{y}}.webp' if has_tiles else None,
        }
        for layer in view.layers
    ]
    values: dict[str, Any] = {
        'view': view,
        'layers': [layer.name for layer in view.layers],
        'content': {
            'width': view.width,
            'height': view.height,
            'gsd_m': view.gsd_m,
            'transform': view.transform,
            'tile_zoom': -first_tile_level(view, page_px),
            'layers': layers,
        },
        # once if it looks square
        'pixel': ' × '.join(dict.fromkeys(f'{side:.3g}' for side in view.gsd_m or ())),
        'shown_px': None if has_tiles or width == view.width else (width, height),
        # its pictures belong to parts of the library that this page does not use
        'library_style': _library('leaflet.css').replace('url(', 'none('),
        'library': library,
        'style': _own('viewer.css'),
        'script': script,
        'hashes': [_hash(library), _hash(script)],
        'image_source': "'self' data:" if has_tiles else 'data:',
    }
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_own('viewer.html.jinja')).render(values)


def _check_replaceable(path: Path) -> None:
    """Refuse to replace anything but a page of a map."""
    if not path.exists():
        return
    with path.open('rb') as file:  # the pictures in it may be large
        start = file.read(500)
    if _GENERATOR not in start:
        raise ConfigError(
            f'{path} exists and is not a page of crossearth view: choose another name with '
            '--output, or remove it'
        )


def first_tile_level(view: MapView, page_px: int) -> int:
    """The coarsest level of tiles with more detail than a picture of `page_px`; at least 0."""
    return max(math.floor(math.log2(max(view.width, view.height) / page_px)), 0)


def _own(name: str) -> str:
    return (
        resources.files('crossearth.viewer').joinpath('templates', name).read_text(encoding='utf-8')
    )


def _library(name: str) -> str:
    """A file of Leaflet, from the package that ships it."""
    try:
        folder = resources.files('js_lib_leaflet').joinpath('static', 'js_lib_leaflet')
    except ModuleNotFoundError as error:  # possible if crossearth was updated without its packages
        raise ConfigError(
            'the page needs Leaflet, which is not installed: pip install django-js-lib-leaflet'
        ) from error
    text = folder.joinpath(name).read_text(encoding='utf-8')
    return text.partition('//# sourceMappingURL')[0]  # a browser would try to load that file


def _hash(script: str) -> str:
    return f'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'


def _uri(webp: bytes) -> str:
    return f'data:image/webp;base64,{base64.b64encode(webp).decode()}'
