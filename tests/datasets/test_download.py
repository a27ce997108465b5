import hashlib
import http.server
import threading
import zipfile

import numpy as np
import pytest

from crossearth.archives import Download
from crossearth.datasets import LoveDA
from crossearth.datasets.download import extract_zip, fetch, fetch_all
from crossearth.errors import SceneError, WriteError
from tests.datasets import archive_trees as trees

BODY = np.random.default_rng(0).integers(0, 255, 3_000_000, np.uint8).tobytes()
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files of a folder, with ranges, and can break off."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.headers.get('Range'))
        if self.path.startswith('/moved/'):
            self.send_response(302)
            self.send_header('Location', self.path.replace('moved', 'files'))
            self.end_headers()
            return
        path = server.folder / self.path.rsplit('/', 1)[-1]
        if not path.exists():
            self.send_error(404)
            return
        body = path.read_bytes()
        start = 0
        if self.headers.get('Range') and server.ranges:
            start = int(self.headers['Range'].removeprefix('bytes=').rstrip('-'))
            if start >= len(body):
                self.send_response(416)
                self.send_header('Content-Range', f'bytes */{len(body)}')
                self.end_headers()
                return
            start = max(start - server.early, 0)
            self.send_response(206)
            self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        else:
            self.send_response(200)
        self.send_header('Content-Length', str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        self.wfile.write(rest[: len(rest) // 2] if server.breaks else rest)

    def log_message(self, *words):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.folder = tmp_path / 'served'
        server.folder.mkdir()
        (server.folder / 'a.zip').write_bytes(BODY)
        server.asked, server.ranges, server.breaks, server.early = [], True, False, 0
        server.url = f'http://127.0.0.1:{server.server_port}/files/a.zip'
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


def test_a_file_comes_whole_with_its_checksum(server, tmp_path):
    path = fetch(server.url, tmp_path / 'x' / 'a.zip', md5=MD5)
    assert path.read_bytes() == BODY
    assert not (tmp_path / 'x' / 'a.zip.part').exists()
    assert server.asked == [None]


@pytest.mark.parametrize('ranges', [True, False])
def test_a_broken_download_continues_where_it_stopped(server, tmp_path, ranges):
    server.breaks, server.ranges = True, ranges
    with pytest.raises(
        SceneError, match=r'the download stopped.*kept in .*a\.zip\.part: try again'
    ):
        fetch(server.url, tmp_path / 'a.zip', md5=MD5)
    got = (tmp_path / 'a.zip.part').stat().st_size
    assert 0 < got < len(BODY)
    assert not (tmp_path / 'a.zip').exists()
    server.breaks = False
    assert fetch(server.url, tmp_path / 'a.zip', md5=MD5).read_bytes() == BODY
    assert server.asked == [None, f'bytes={got}-']


def test_what_had_come_whole_is_not_fetched_again(server, tmp_path):
    (tmp_path / 'a.zip.part').write_bytes(BODY)
    assert fetch(server.url, tmp_path / 'a.zip', md5=MD5).read_bytes() == BODY


def test_a_wrong_checksum_removes_the_file(server, tmp_path):
    with pytest.raises(SceneError, match=rf'has MD5 {MD5}, expected 0+; the file was removed'):
        fetch(server.url, tmp_path / 'a.zip', md5='0' * 32)
    assert not list(tmp_path.glob('a.zip*'))


def test_a_server_that_says_no_or_is_not_there_is_an_error(server, tmp_path):
    with pytest.raises(SceneError, match='404'):
        fetch(server.url.replace('a.zip', 'b.zip'), tmp_path / 'b.zip')
    with pytest.raises(SceneError, match=r'the download stopped \(.*refused'):
        fetch('http://127.0.0.1:9/a.zip', tmp_path / 'a.zip')


@pytest.mark.parametrize(
    'name', ['../out.txt', '/out.txt', 'a/../../out.txt', '..\\out.txt', 'C:/x', '.', 'a/..']
)
def test_members_that_point_outside_are_refused_before_anything_is_written(tmp_path, name):
    path = tmp_path / 'a.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('good.txt', 'good')
        archive.writestr(zipfile.ZipInfo(name), 'bad')
    with pytest.raises(SceneError, match='points outside the folder; nothing was unpacked'):
        extract_zip(path, tmp_path / 'root')
    assert not list(tmp_path.rglob('*.txt'))


def test_links_are_refused(tmp_path):
    link = zipfile.ZipInfo('inner/link')
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr(link, '/etc')
    with pytest.raises(SceneError, match="'inner/link' is a link"):
        extract_zip(tmp_path / 'a.zip', tmp_path / 'root')


def test_a_damaged_archive_is_an_error_and_leaves_no_half_file(tmp_path):
    path = tmp_path / 'a.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a.bin', BODY[:1000])
    raw = bytearray(path.read_bytes())
    raw[500] ^= 255
    path.write_bytes(raw)
    with pytest.raises(SceneError, match=r'a\.zip: is damaged .*fetch it again'):
        extract_zip(path, tmp_path / 'root')
    assert not [p for p in (tmp_path / 'root').rglob('*') if p.is_file()]
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.txt', 'hello world ' * 1000)
    raw = bytearray(path.read_bytes())
    raw[40] ^= 255
    path.write_bytes(raw)
    with pytest.raises(SceneError, match=r'a\.zip: is damaged .*remove it and fetch it again'):
        extract_zip(path, tmp_path / 'root')
    path.write_text('no zip')
    with pytest.raises(SceneError, match='is damaged'):
        extract_zip(path, tmp_path / 'root')


def test_a_dataset_fetches_what_it_lacks_and_no_more(server, tmp_path, monkeypatch):
    import dataclasses

    trees.loveda(tmp_path / 'tree')
    downloads = []
    for name in ('Train', 'Val'):
        path = server.folder / f'{name}.zip'
        with zipfile.ZipFile(path, 'w') as archive:
            for file in sorted((tmp_path / 'tree' / name).rglob('*.png')):
                archive.write(file, file.relative_to(tmp_path / 'tree'))
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        url = server.url.replace('a.zip', path.name)
        downloads.append(Download(url, path.name, md5, makes=name, split=name.lower()))
    archive = dataclasses.replace(LoveDA.archive, downloads=tuple(downloads))
    monkeypatch.setattr(LoveDA, 'archive', archive)
    data = LoveDA(tmp_path / 'root', domain='urban', download=True)
    assert (data[0]['image'].numpy() == trees.picture(1366)).all()
    LoveDA(tmp_path / 'root', domain='rural', download=True)
    assert len(server.asked) == 1
    assert not (tmp_path / 'root' / 'Val').exists()  # another split
    LoveDA(tmp_path / 'root', domain='rural', split='val', download=True)
    assert len(server.asked) == 2
    (tmp_path / 'root' / 'Val.zip').unlink()
    LoveDA(tmp_path / 'root', domain='rural', split='val', download=True)
    assert len(server.asked) == 2


def test_the_links_of_the_archives_carry_their_published_checksums():
    assert [(d.split, d.name, d.md5) for d in LoveDA.archive.downloads] == [
        ('train', 'Train.zip', 'de2b196043ed9b4af1690b3f9a7d558f'),
        ('val', 'Val.zip', '84cae2577468ff0b5386758bb386d31d'),
        ('test', 'Test.zip', 'a489be0090465e01fb067795d24e6b47'),
    ]


def test_a_file_that_is_there_is_unpacked_without_the_network(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('inner/a.txt', 'text')
    fetch_all([Download('http://127.0.0.1:9/', 'a.zip', None, makes='inner')], tmp_path)
    assert (tmp_path / 'inner' / 'a.txt').read_text() == 'text'


def test_a_redirected_download_continues_too(server, tmp_path):
    (tmp_path / 'a.zip.part').write_bytes(BODY[:1000])
    path = fetch(server.url.replace('files', 'moved'), tmp_path / 'a.zip', md5=MD5)
    assert path.read_bytes() == BODY
    assert server.asked == ['bytes=1000-'] * 2


def test_a_server_that_sends_from_an_earlier_byte_is_believed(server, tmp_path):
    server.early = 300
    (tmp_path / 'a.zip.part').write_bytes(BODY[:1000])
    assert fetch(server.url, tmp_path / 'a.zip').read_bytes() == BODY


def test_more_than_the_server_has_is_of_something_else_and_fetched_anew(server, tmp_path):
    (tmp_path / 'a.zip.part').write_bytes(BODY + b'more')
    assert fetch(server.url, tmp_path / 'a.zip').read_bytes() == BODY


def test_two_processes_do_not_write_into_one_file(server, tmp_path):
    fcntl = pytest.importorskip('fcntl')
    with (tmp_path / 'a.zip.part').open('ab') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SceneError, match='another process is fetching it'):
            fetch(server.url, tmp_path / 'a.zip')
    assert fetch(server.url, tmp_path / 'a.zip', md5=MD5).read_bytes() == BODY


def test_a_page_instead_of_a_file_is_removed(server, tmp_path):
    (server.folder / 'a.zip').write_text('<html>moved</html>')
    with pytest.raises(SceneError, match='did not send a zip file'):
        fetch_all([Download(server.url, 'a.zip', None, makes='inner')], tmp_path / 'root')
    assert not list((tmp_path / 'root').iterdir())


def test_unpacking_that_was_cut_short_is_finished(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        for name in 'abc':
            archive.writestr(f'inner/{name}.txt', name * 9)
    (tmp_path / 'inner').mkdir()
    (tmp_path / 'inner' / 'a.txt').write_text('a' * 9)
    before = (tmp_path / 'inner' / 'a.txt').stat().st_ino
    fetch_all([Download('http://127.0.0.1:9/', 'a.zip', None, makes='inner')], tmp_path)
    assert [(tmp_path / 'inner' / f'{n}.txt').read_text() for n in 'abc'] == [
        'a' * 9,
        'b' * 9,
        'c' * 9,
    ]
    assert (tmp_path / 'inner' / 'a.txt').stat().st_ino == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('inner/a.txt', 'text')
    (tmp_path / 'root').mkdir()
    (tmp_path / 'root' / 'inner').write_text('a file where a folder should be')
    with pytest.raises(WriteError, match=r'cannot be unpacked into .*root .*make room there'):
        extract_zip(tmp_path / 'a.zip', tmp_path / 'root')
    with pytest.raises(WriteError, match=r'a\.zip\.part: cannot be written'):
        fetch('http://127.0.0.1:9/', tmp_path / 'root' / 'inner' / 'a.zip')
