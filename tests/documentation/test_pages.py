"""The built documentation: every link leads somewhere, and the pages can be read and searched."""

import functools
import http.server
import re
import threading
from collections import Counter
from html import unescape
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browsing import needs_browser, started_browser

pytestmark = pytest.mark.slow  # they build the documentation

LINK = re.compile(r'<a\b[^>]*\shref="([^"]*)"')
NAMED = re.compile(r'\s(?:id|name)="([^"]*)"')
IMAGE = re.compile(r'<img\b[^>]*>')
TO_REFERENCE = re.compile(r'<a class="(?:reference internal|sphinx-codeautolink-a)" href="api/gen')
PAGES = [
    'index',
    'guides',
    'datasets',
    'training',
    'api/generated/crossearth.datasets',
    'api/generated/crossearth.inference.predict_scene',
]
MISSING = '/en/latest/'  # the page for wrong addresses is shown at any of them


@pytest.fixture(scope='module')
def texts(site) -> dict[str, str]:
    """The text of every page by its path."""
    return {str(path.relative_to(site)): path.read_text() for path in sorted(site.rglob('*.html'))}


@pytest.fixture(scope='module')
def browser():
    with started_browser() as driver:
        driver.set_script_timeout(120)
        yield driver


@pytest.fixture(scope='module')
def address(site):
    """Of a server of the site on this machine, which search needs."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


def target_of(page: str, link: str) -> tuple[str, str]:
    """The page that a link of a page leads to, and the place on it."""
    path, place = urldefrag(unquote(unescape(link)))
    if path.startswith(MISSING):
        return path.removeprefix(MISSING) or 'index.html', place
    parts = [] if not path else page.split('/')[:-1]
    for part in path.split('/') if path else page.split('/'):
        parts = parts[:-1] if part == '..' else parts if part == '.' else [*parts, part]
    return '/'.join(parts), place


def test_every_link_inside_leads_to_a_page_and_a_place_on_it(site, texts):
    places = {page: set(NAMED.findall(text)) for page, text in texts.items()}
    broken, count = [], 0
    for page, text in texts.items():
        for link in LINK.findall(text):
            if re.match(r'[a-z]+:', link):
                continue  # outside
            count += 1
            path, place = target_of(page, link)
            if page.startswith('_modules/'):
                place = ''  # viewcode knows one package per file, and a page has one name
            there = path in places or (site / path).is_file()
            if not there or (place and path in places and unescape(place) not in places[path]):
                broken.append(f'{page}: {link}')
    assert count > 20_000
    assert broken == []


def _repeats_a_title(image: str) -> bool:
    """Whether it is the thumbnail of an example. Its title stands below it and is enough."""
    return 'alt=""' in image and '_thumb.png' in image


def test_every_picture_says_what_it_shows(texts):
    silent = [
        f'{page}: {image}'
        for page, text in texts.items()
        for image in IMAGE.findall(text)
        if not re.search(r'\salt="[^"]+"', image) and not _repeats_a_title(image)
    ]
    assert silent == []


def test_guides_link_into_the_reference(texts):
    counts = Counter({page: len(TO_REFERENCE.findall(text)) for page, text in texts.items()})
    guides = {page: counts[page] for page in texts if '/' not in page}
    assert guides['datasets.html'] > 60
    assert guides['paper.html'] > 60
    assert sum(guides.values()) > 1000


def test_a_section_stands_in_the_header_of_every_page(texts):
    sections = ['Get started', 'Guides', 'Models and methods', 'Evidence', 'Reference', 'Project']
    for page in ('datasets.html', 'api/generated/crossearth.datasets.html'):
        found = re.findall(r'nav-link nav-internal" href="[^"]*">\s*([^<]+?)\s*</a>', texts[page])
        assert found[: len(sections)] == sections
        assert 'nav-item dropdown' not in texts[page]


@needs_browser
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_pages_have_contrast_and_names_for_what_can_be_pressed(site, browser, scheme):
    axe = files('axe_selenium_python') / 'node_modules' / 'axe-core' / 'axe.min.js'
    features = [{'name': 'prefers-color-scheme', 'value': scheme}]
    browser.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': features})
    found = {}
    for page in PAGES:
        browser.get(f'file://{site}/{page}.html')
        assert browser.find_element(By.TAG_NAME, 'html').get_attribute('data-theme') == scheme
        browser.execute_script(axe.read_text())
        found[page] = browser.execute_async_script(
            'const done = arguments[0];'
            "axe.run({runOnly: ['wcag2a', 'wcag2aa']}).then(result => done(result.violations.map("
            'rule => [rule.id, rule.nodes.slice(0, 3).map(node => node.html)])));'
        )
    assert found == {page: [] for page in PAGES}


@needs_browser
@pytest.mark.parametrize('page', PAGES)
def test_a_phone_shows_pages_without_scrolling_sideways(site, browser, page):
    size = {'width': 390, 'height': 844, 'deviceScaleFactor': 1, 'mobile': True}
    browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
    browser.get(f'file://{site}/{page}.html')
    width = browser.execute_script('return document.documentElement.scrollWidth')
    browser.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
    assert width <= 390


@needs_browser
def test_search_finds_a_name_and_its_page(browser, address):
    browser.get(f'{address}/search.html?q=predict_scene')
    found = WebDriverWait(browser, 60).until(
        lambda driver: [
            link.get_attribute('href')
            for link in driver.find_elements(By.CSS_SELECTOR, '#search-results li a')
        ]
    )
    assert f'{address}/api/generated/crossearth.inference.predict_scene.html' in {
        urldefrag(link)[0] for link in found
    }


def test_a_wrong_address_leads_back(site, texts):
    page = texts['404.html']
    assert 'This page does not exist' in page
    assert f'{MISSING}get_started.html' in page
    assert Path(site, 'get_started.html').is_file()
