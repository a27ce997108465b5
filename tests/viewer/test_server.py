"""A server that gives one map to this machine, and nothing else to anybody."""

import http.client
import io
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from crossearth.viewer import MapServer, open_map_view
from tests.browsing import needs_browser, requests_of, started_browser

from .conftest import NAMES, quarters, write


@contextmanager
def serving(folder):
    path = write(folder / 'map.tif', quarters(300, 700), names=NAMES, nodata=255)
    (folder / 'secret.txt').write_text('secret')
    with open_map_view(path) as view, MapServer(view, overview_px=128) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp('served')) as running:
        yield running


def ask(server, path, *, method='GET', host=None):
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    connection.putrequest(method, path, skip_host=host is not None)
    if host is not None:
        connection.putheader('Host', host)
    connection.endheaders()
    reply = connection.getresponse()
    return reply.status, reply.read()


def base(server):
    return urlsplit(server.url).path.rstrip('/')


def test_it_listens_on_this_machine_only(server):
    assert server._server.server_address[0] == '127.0.0.1'
    assert server.url.startswith('http://127.0.0.1:')
    assert len(base(server)) > 20  # a path that nobody guesses


def test_the_page_and_tiles_are_served(server):
    status, page = ask(server, f'{base(server)}/')
    assert (status, b'<title>map.tif</title>' in page) == (200, True)
    status, tile = ask(server, f'{base(server)}/map/0/2/0.webp')
    pixels = np.asarray(Image.open(io.BytesIO(tile)).convert('RGBA'))
    assert (status, pixels[0, 0].tolist()) == (200, [255, 0, 0, 255])
    assert ask(server, f'{base(server)}/map/2/0/0.webp')[0] == 200


@pytest.mark.parametrize(
    'path',
    [
        '/',
        '{base}',
        '{base}x/',
        '{base}/secret.txt',
        '{base}/../secret.txt',
        '{base}/map/../../secret.txt',
        '{base}/map/0/0/../../../secret.txt',
        '{base}/%2e%2e/%2e%2e/etc/passwd',
        '{base}/map/0/0/%2e%2e%2fsecret.webp',
        '/../../../../etc/passwd',
        '//etc/passwd',
        '/etc/passwd',
        'file:///etc/passwd',
        '{base}/map.tif',
        '{base}/other/0/0/0.webp',
        '{base}/map/0/9/0.webp',
        '{base}/map/0/0/999999.webp',
        '{base}/map/3/0/0.webp',
        '{base}/map/99/0/0.webp',
        '{base}/map/-1/0/0.webp',
        '{base}/map/0/0/0.webp/..',
        '{base}/map/0/0/0.webp?x',
        '{base}/map/0/0/\u0661.webp',
    ],
)
def test_nothing_else_is_found(server, path):
    path = path.format(base=base(server)).encode().decode('latin-1')
    status, content = server.answer(path, urlsplit(server.url).netloc)[::2]
    assert (status, content) == (404, b'not found')
    if path.isascii():
        assert ask(server, path) == (404, b'not found')


def test_other_names_of_this_machine_and_other_methods_are_refused(server):
    for host in ('evil.example', f'localhost:{urlsplit(server.url).port}', ''):
        assert ask(server, f'{base(server)}/', host=host)[0] == 403
    for method in ('POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS'):
        assert ask(server, f'{base(server)}/', method=method)[0] == 501


def test_a_damaged_file_is_an_error_of_its_tile_and_not_of_the_server(tmp_path):
    with serving(tmp_path) as server:
        layer = server._layers['map']
        layer.dataset.close()
        path = tmp_path / 'map.tif'
        path.write_bytes(path.read_bytes()[:600])
        assert ask(server, f'{base(server)}/')[0] == 200
        assert ask(server, f'{base(server)}/map/0/0/0.webp')[0] == 500


@needs_browser
def test_a_browser_sees_the_whole_and_then_tiles_and_asks_nobody_else(server):
    with started_browser() as driver:
        driver.get(server.url)
        driver.execute_script('map.setMinZoom(-9); map.setView([150, 350], -3, {animate: false})')
        assert not driver.find_elements(By.CSS_SELECTOR, 'img.leaflet-tile')
        picture = driver.find_elements(By.CSS_SELECTOR, 'img.leaflet-image-layer')
        assert len(picture) == 1
        driver.execute_script('map.setView([100, 600], 0, {animate: false})')
        WebDriverWait(driver, 20).until(
            lambda d: len(d.find_elements(By.CSS_SELECTOR, 'img.leaflet-tile-loaded')) >= 4
        )
        WebDriverWait(driver, 20).until(  # tiles fade in
            lambda d: all(
                tile.value_of_css_property('opacity') == '1'
                for tile in d.find_elements(By.CSS_SELECTOR, 'img.leaflet-tile-loaded')
            )
        )
        assert not driver.find_elements(By.CSS_SELECTOR, 'img.leaflet-image-layer')
        assert driver.get_log('browser') == []
        asked = [url for url in requests_of(driver) if not url.startswith('data:')]
        assert all(url.startswith(server.url) for url in asked)
        assert f'{server.url}map/0/2/0.webp' in asked
        shot = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert('RGB')
        x, y = driver.execute_script(
            'const p = map.latLngToContainerPoint([100, 600]); return [p.x, p.y]'
        )
        assert shot.getpixel((int(x), int(y))) == (255, 0, 0)
