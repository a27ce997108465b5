"""A folder over HTTP on this machine, as web servers and object stores give it, or fail to.

The server is a process of its own: GDAL opens a file without letting other threads of Python run.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class Served:
    """A server that runs.

    Args:
        url: Of the folder.
        log: File with a line a request: status, method, path and range.
    """

    url: str
    log: Path

    def requests(self) -> list[str]:
        """Lines of the log."""
        return self.log.read_text().splitlines()


@contextmanager
def serve(
    folder: Path, log: Path, *, ranges: bool = True, dies_after: int = -1, busy_after: int = -1
) -> Iterator[Served]:
    """Serves the files of a folder while the block runs.

    Args:
        folder: What is served.
        log: File to log requests in.
        ranges: Whether parts of a file can be asked for.
        dies_after: Number of requests after which connections are dropped; -1 for never.
        busy_after: Number of requests after which one is answered with 503; -1 for none.
    """
    log.touch()
    numbers = [str(number) for number in (int(ranges), dies_after, busy_after)]
    server = subprocess.Popen(
        [sys.executable, __file__, str(folder), str(log), *numbers],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield Served(f'http://127.0.0.1:{int(server.stdout.readline())}', log)
    finally:
        server.kill()
        server.communicate()


def main(folder: Path, log: Path, ranges: bool, dies_after: int, busy_after: int) -> None:
    """Serve until killed."""
    count = 0

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def log_message(self, *_arguments: object) -> None:
            pass

        def answer(self, *, with_body: bool) -> None:
            nonlocal count
            count += 1
            asked = self.headers.get('Range', '')
            path = self.path.partition('?')[0]
            if 0 <= dies_after < count:
                status = 0
            elif count == busy_after + 1:
                status = 503
            elif not (folder / path.lstrip('/')).is_file():
                status = 404
            else:
                status = 206 if asked and ranges else 200
            with log.open('a') as file:
                file.write(f'{status} {self.command} {path} {asked}\n')
            if status == 0:
                self.close_connection = True
                return
            if status in (404, 503):
                self.send_error(status)
                return
            content = (folder / path.lstrip('/')).read_bytes()
            size = len(content)
            match = re.fullmatch(r'bytes=(\d+)-(\d*)', asked)
            self.send_response(status)
            if match is not None and status == 206:
                first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
                content = content[first : last + 1]
                self.send_header('Content-Range', f'bytes {first}-{last}/{size}')
            if ranges:
                self.send_header('Accept-Ranges', 'bytes')
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            if with_body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    sys.stdout.write(f'{server.server_port}\n')
    sys.stdout.flush()
    server.serve_forever()


if __name__ == '__main__':
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        ranges=bool(int(sys.argv[3])),
        dies_after=int(sys.argv[4]),
        busy_after=int(sys.argv[5]),
    )
