"""The page, written and then opened and used in a real browser."""

import base64
import hashlib
import io
import re
from importlib import resources

import numpy as np
import pytest
from PIL import Image
from rasterio.transform import Affine
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from crossearth.errors import ConfigError
from crossearth.viewer import open_map_view, write_page
from tests.browsing import needs_browser, requests_of, started_browser

from .conftest import NAMES, quarters, write

# as https://leafletjs.com/download publishes them for 1.9.4
PUBLISHED = {
    'leaflet.js': '20nQCchB9co0qIjJZRGuk2/Z9VM+kNiyxNV1lvTlZBo=',
    'leaflet.css': 'p4NxAoJBhIIN+hmNHrzRCf9tD/miZyoHS5obTRR9BMY=',
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_the_library_is_the_published_one(name):
    folder = resources.files('js_lib_leaflet').joinpath('static', 'js_lib_leaflet')
    content = folder.joinpath(name).read_bytes()
    assert base64.b64encode(hashlib.sha256(content).digest()).decode() == PUBLISHED[name]


@pytest.fixture(scope='module')
def page(files, tmp_path_factory):
    with open_map_view(
        files / 'map.tif', scene=files / 'scene.tif', confidence=files / 'confidence.tif'
    ) as view:
        return write_page(view, tmp_path_factory.mktemp('page') / 'map.html')


def test_the_page_is_one_file_that_names_nothing_to_load(page):
    assert [found.name for found in page.parent.iterdir()] == ['map.html']
    text = page.read_text()
    styles = re.findall(r'<style>(.*?)</style>', text, re.DOTALL)
    assert len(styles) == 2
    assert not any('url(' in style or '@import' in style for style in styles)
    assert 'sourceMappingURL' not in text
    assert re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)"', text) == ['data:,']
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha" in text
    assert '&lt;b&gt;roof&lt;/b&gt;' in text
    assert '<b>roof' not in text


def test_a_page_replaces_only_a_page(files, tmp_path):
    with open_map_view(files / 'map.tif') as view:
        page = write_page(view, tmp_path / 'map.html')
        page.write_text(page.read_text()[:1000])
        write_page(view, page)
        assert page.read_text().endswith('</html>')
        page.write_text('<!doctype html><title>mine</title>')
        with pytest.raises(ConfigError, match=r'map\.html exists and is not a page of crossearth'):
            write_page(view, page)
        assert 'mine' in page.read_text()


@pytest.fixture(scope='module')
def northern(tmp_path_factory):
    """A page of a map in degrees at 60 degrees north, where pixels are twice as high as wide."""
    folder = tmp_path_factory.mktemp('north')
    place = Affine(1e-5, 0, 10, 0, -1e-5, 60)
    path = write(folder / 'map.tif', quarters(80, 120), crs='EPSG:4326', transform=place)
    with open_map_view(path) as view:
        return write_page(view, folder / 'map.html')


def test_both_sides_of_a_pixel_are_told_where_they_differ(page, northern):
    assert '120 × 80 px of 0.558 × 1.11 m, EPSG:4326.' in northern.read_text()
    assert '120 × 80 px of 0.5 m, EPSG:32633.' in page.read_text()


def test_a_large_map_says_which_part_of_its_pixels_is_shown(tmp_path):
    path = write(tmp_path / 'map.tif', quarters(300, 700), names=NAMES)
    with open_map_view(path) as view:
        text = write_page(view, tmp_path / 'map.html', page_px=70).read_text()
        assert '700 × 300 px' in text
        assert 'This page shows 70 × 30 of them; <code>crossearth view --serve</code>' in text
        with pytest.raises(ConfigError, match='page_px is 20000: expected 1 to 16383'):
            write_page(view, tmp_path / 'map.html', page_px=20_000)
        with pytest.raises(ConfigError, match=r'map\.tif is not a page: choose a name'):
            write_page(view, path)
        with pytest.raises(ConfigError, match=r'the folder .*none does not exist: create it first'):
            write_page(view, tmp_path / 'none' / 'a.html')


@pytest.fixture(scope='module')
def driver():
    with started_browser() as started:
        yield started


def opened(driver, address, *, width=1280):
    driver.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        {'width': width, 'height': 800, 'deviceScaleFactor': 1, 'mobile': width < 500},
    )
    driver.get_log('browser')  # forget the page before
    requests_of(driver)
    driver.get(address)
    return driver


def shown(driver):
    """Layers whose picture is on the map."""
    return [
        name
        for name in ('scene', 'map', 'confidence')
        if driver.find_elements(By.CSS_SELECTOR, f'.leaflet-layer-{name}-pane img')
    ]


def clip(driver):
    """Left edge of what is drawn over the scene, in pixels of the frame; None without a cut."""
    pane = driver.find_element(By.CSS_SELECTOR, '.leaflet-layer-map-pane')
    found = re.fullmatch(r'rect\((.*)\)', pane.value_of_css_property('clip'))
    if found is None:
        return None
    left = float(found[1].split(',')[3].removesuffix('px'))
    return left + driver.execute_script('return map.layerPointToContainerPoint([0, 0]).x')


@needs_browser
@pytest.mark.parametrize('width', [1280, 390])
def test_the_page_opens_without_errors_requests_or_sideways_scrolling(driver, page, width):
    opened(driver, page.as_uri(), width=width)
    assert driver.title == 'map.tif'
    assert driver.get_log('browser') == []
    asked = requests_of(driver)
    assert page.as_uri() in asked
    assert {url.partition(':')[0] for url in asked} <= {'file', 'data'}
    needed, there = driver.execute_script(
        'return [document.documentElement.scrollWidth, document.documentElement.clientWidth]'
    )
    assert needed <= there == width
    assert driver.execute_script('return map.getBounds().contains(bounds)')  # all of it is seen
    rows = [row.text for row in driver.find_elements(By.CSS_SELECTOR, 'tbody tr')]
    assert [row.split()[0] for row in rows] == ['background', '<b>roof</b>', 'tree', 'car']
    assert rows[3].split()[1] == '23.8%'
    swatch = driver.find_elements(By.CSS_SELECTOR, 'tbody i')[1]
    assert swatch.value_of_css_property('background-color') == 'rgba(255, 0, 0, 1)'


@needs_browser
def test_boxes_show_and_hide_layers_and_the_range_fades_them(driver, page):
    opened(driver, page.as_uri())
    assert shown(driver) == ['scene', 'map']
    for name, expected in (
        ('confidence', ['scene', 'map', 'confidence']),
        ('map', ['scene', 'confidence']),
        ('scene', ['confidence']),
    ):
        driver.find_element(By.CSS_SELECTOR, f'[data-layer={name}]').click()
        assert shown(driver) == expected
    pane = driver.find_element(By.CSS_SELECTOR, '.leaflet-layer-map-pane')
    assert pane.value_of_css_property('opacity') == '0.75'
    driver.find_element(By.ID, 'opacity').send_keys(Keys.HOME)
    assert pane.value_of_css_property('opacity') == '0'
    assert driver.find_element(By.ID, 'opacity-said').text == '0 %'


@needs_browser
@pytest.mark.parametrize('width', [1280, 390])
def test_the_divider_is_dragged_or_moved_by_keys_and_cuts_the_map(driver, page, width):
    opened(driver, page.as_uri(), width=width)
    frame = driver.find_element(By.ID, 'map').rect['width']
    divider = driver.find_element(By.ID, 'divider')
    assert clip(driver) == pytest.approx(frame / 2, abs=1)
    moved = -int(frame / 4)
    ActionChains(driver).drag_and_drop_by_offset(divider, moved, 0).perform()
    assert clip(driver) == pytest.approx(frame / 2 + moved, abs=2)
    assert divider.get_attribute('aria-valuenow') in ('25', '26')
    divider.send_keys(Keys.END)
    assert clip(driver) == pytest.approx(frame, abs=1)
    divider.send_keys(Keys.ARROW_LEFT)
    assert clip(driver) == pytest.approx(0.95 * frame, abs=1)
    driver.find_element(By.ID, 'swipe').click()
    assert clip(driver) is None
    assert not divider.is_displayed()


@needs_browser
def test_the_map_zooms_and_moves_and_tells_coordinates(driver, page):
    opened(driver, page.as_uri())
    before = driver.execute_script('return map.getZoom()')
    driver.find_element(By.CSS_SELECTOR, '.leaflet-control-zoom-out').click()
    driver.set_script_timeout(5)
    after = driver.execute_async_script(
        'const done = arguments[0];'
        'const wait = () => map._animatingZoom ? setTimeout(wait, 20) : done(map.getZoom());'
        'setTimeout(wait, 50);'
    )
    assert after == before - 1
    driver.execute_script('map.setView([40, 60], 4, {animate: false})')
    frame = driver.find_element(By.ID, 'map')
    ActionChains(driver).move_to_element_with_offset(frame, 168, -152).perform()  # 16 a pixel
    assert (
        driver.find_element(By.ID, 'place').text == 'row 30, column 70, x 400035.250, y 5799984.75'
    )
    ActionChains(driver).move_to_element_with_offset(frame, 200, 0).click_and_hold().move_by_offset(
        -80, 40
    ).release().perform()
    row, col = driver.execute_script('const c = map.getCenter(); return [c.lat, c.lng]')
    assert row < 39
    assert col > 62


@needs_browser
def test_the_scale_bar_measures_along_the_rows(driver, northern):
    opened(driver, northern.as_uri())
    bar = driver.find_element(By.CSS_SELECTOR, '.leaflet-control-scale-line')
    metres = float(bar.text.removesuffix(' m'))
    columns = bar.rect['width'] / 2 ** driver.execute_script('return map.getZoom()')
    assert metres / columns == pytest.approx(0.558, rel=0.05)
    down = driver.execute_script('return map.distance([10, 5], [20, 5])')
    assert down == pytest.approx(11.14, rel=1e-3)


@needs_browser
def test_a_map_alone_has_neither_swipe_nor_confidence(driver, files, tmp_path):
    with open_map_view(files / 'map.tif') as view:
        page = write_page(view, tmp_path / 'alone.html')
    opened(driver, page.as_uri())
    assert driver.get_log('browser') == []
    assert shown(driver) == ['map']
    assert not driver.find_elements(By.ID, 'swipe')
    assert clip(driver) is None
    assert len(driver.find_elements(By.CSS_SELECTOR, '[data-layer]')) == 1


@needs_browser
def test_the_browser_paints_scene_left_and_classes_right(driver, page):
    opened(driver, page.as_uri())
    driver.execute_script('one("#opacity").value = 100; fade()')
    shot = np.asarray(Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert('RGB'))
    place = driver.execute_script(
        'const at = (r, c) => { const p = map.latLngToContainerPoint([r, c]); return [p.x, p.y] };'
        'return [at(60, 30), at(60, 80)]'
    )
    (left, right) = (shot[int(y), int(x)].tolist() for x, y in place)
    assert right == [0, 0, 255]  # the class car
    assert np.abs(np.subtract(left, [60, 30, 195])).max() < 12  # the scene, packed with loss
