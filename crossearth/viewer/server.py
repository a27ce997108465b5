"""Serves one map to this machine only: the page, and tiles that are read on request."""

import re
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from crossearth.errors import CrossEarthError
from crossearth.viewer.map_view import MapView
from crossearth.viewer.page import first_tile_level, render_page

__all__ = ['MapServer']

_OVERVIEW_PX = 2048
_ADDRESS = '127.0.0.1'
_TILE = re.compile(r'([a-z]+)/([0-9]{1,2})/([0-9]{1,6})/([0-9]{1,6})\.webp')


class MapServer:
    """Serves a map until it is closed; a context manager.

    It listens on 127.0.0.1, on a free port, and only answers under a path that nobody can guess.
    No part of a request is ever used as a file name: a path is the page, a tile of an open layer,
    or not found. Requests with another host name, as a page of another site could send, are
    refused.

    Args:
        view: The open map.
        overview_px: Longer side of the pictures in the page; finer detail comes in tiles.

    Raises:
        SceneError: If a file cannot be read.

    Attributes:
        url: Address of the page.
    """

    def __init__(self, view: MapView, *, overview_px: int = _OVERVIEW_PX) -> None:
        self._base = f'/{secrets.token_urlsafe(16)}'
        self._page = render_page(view, page_px=overview_px, tiles_at=self._base).encode()
        self._layers = {layer.name: layer for layer in view.layers}
        self._coarsest = first_tile_level(view, overview_px)
        self._server = ThreadingHTTPServer((_ADDRESS, 0), self._handler())
        # closing must not wait for connections that a browser keeps open
        self._server.daemon_threads = True
        self._host = f'{_ADDRESS}:{self._server.server_address[1]}'
        self.url = f'http://{self._host}{self._base}/'

    def __enter__(self) -> 'MapServer':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.server_close()

    def run(self) -> None:
        """Answer requests until `stop` is called from another thread, or Ctrl+C is pressed."""
        self._server.serve_forever()

    def stop(self) -> None:
        """Make `run` return."""
        self._server.shutdown()

    def answer(self, path: str, host: str | None) -> tuple[int, str, bytes]:
        """Status, type and content for a request.

        Args:
            path: Path as sent by the browser.
            host: Host name as sent by the browser.
        """
        if host != self._host:
            return 403, 'text/plain', b'this server answers to its own address only'
        if path == f'{self._base}/':
            return 200, 'text/html; charset=utf-8', self._page
        found = _TILE.fullmatch(path.removeprefix(f'{self._base}/'))
        if found is None or not path.startswith(f'{self._base}/') or found[1] not in self._layers:
            return 404, 'text/plain', b'not found'
        level, col, row = (int(number) for number in found.groups()[1:])
        try:
            # coarser levels are on the page; for one tile of them, much of the raster would be read
            tile = self._layers[found[1]].tile(level, col, row) if level <= self._coarsest else None
        except CrossEarthError as error:
            return 500, 'text/plain; charset=utf-8', str(error).encode()
        return (404, 'text/plain', b'not found') if tile is None else (200, 'image/webp', tile)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            server_version = 'crossearth'
            # keeps Python's version out of the Server header
            sys_version = ''

            def do_GET(self) -> None:  # http.server calls it by this name
                status, kind, content = answer(self.path, self.headers.get('Host'))
                try:
                    self.send_response(status)
                    self.send_header('Content-Type', kind)
                    self.send_header('Content-Length', str(len(content)))
                    self.send_header('Cache-Control', 'no-store')
                    self.send_header('X-Content-Type-Options', 'nosniff')
                    self.send_header('Referrer-Policy', 'no-referrer')
                    self.end_headers()
                    self.wfile.write(content)
                except ConnectionError:
                    pass  # the browser cancelled the request

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Log nothing, to keep tile requests out of the terminal."""

        return Handler
