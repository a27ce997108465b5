"""The page in a real browser: opened, clicked and looked at, at the width of a desk and a phone."""

from dataclasses import replace

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from crossearth.reports import Missing, domain_pictures, report_data, write_report
from tests.browsing import needs_browser, requests_of, started_browser
from tests.reports import made_up

EVIL = '<script>alert(1)</script>'

pytestmark = [needs_browser, pytest.mark.slow]


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    """A report of three domains, of which one has the name of a script."""
    root = tmp_path_factory.mktemp('page')
    results = [
        made_up.made_up(setting, method, seed)
        for setting in made_up.SETTING_NAMES
        for method in made_up.METHODS[:2]
        for seed in range(2)
    ]
    results = [made_up.few(r) if (r.setting, r.method) == ('A2S', 'rein') else r for r in results]
    data = report_data([*results, replace(results[0], selection='oracle', step=12_000)])
    data = replace(
        data,
        scores=data.scores.replace({'domain': {'A2S': EVIL}}),
        classes=data.classes.replace({'domain': {'A2S': EVIL}}),
        confusions=tuple(
            replace(one, domain=EVIL) if one.domain == 'A2S' else one for one in data.confusions
        ),
        costs=data.costs.replace({'method': {'rein': EVIL}}),
    )
    dataset = made_up.drawn_vaihingen(root, size_px=96)
    maps = {name: root / name for name in ('crossearth', 'rein')}
    for number, folder in enumerate(maps.values(), start=1):
        made_up.save_maps(dataset, folder, wrong_px=16 * number)
    pictures = [
        domain_pictures('P(i)2V', dataset, maps),
        Missing(EVIL, 'no maps', 'Make some', EVIL),
    ]
    return write_report(data, root / 'report', pictures=pictures, title=EVIL)


@pytest.fixture(scope='module')
def driver():
    with started_browser() as started:
        yield started


def opened(driver, page, *, width=1280, scheme='light'):
    phone = width < 500
    driver.execute_cdp_cmd(
        'Emulation.setDeviceMetricsOverride',
        {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': phone},
    )
    driver.execute_cdp_cmd(
        'Emulation.setEmulatedMedia',
        {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]},
    )
    driver.get_log('browser')  # forget the page before
    driver.get_log('performance')
    driver.get(page.as_uri())
    return driver


def column(driver, table, index):
    cells = driver.find_elements(By.CSS_SELECTOR, f'#{table} tbody tr > :nth-child({index})')
    return [cell.get_attribute('data-value') for cell in cells]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_the_page_opens_without_errors_requests_or_sideways_scrolling(driver, page, width, scheme):
    opened(driver, page, width=width, scheme=scheme)
    assert driver.title == EVIL
    assert driver.get_log('browser') == []
    asked = requests_of(driver)
    assert page.as_uri() in asked
    assert {url.partition(':')[0] for url in asked} <= {'file', 'data'}
    # folded parts too
    driver.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert driver.execute_script('return innerWidth') == width
    needed, there = driver.execute_script(
        'const root = document.documentElement; return [root.scrollWidth, root.clientWidth]'
    )
    assert needed == there
    sizes = driver.execute_script(
        'return [...document.images].filter(i => !i.hidden).map(i => [i.naturalWidth, i.width])'
    )
    assert len(sizes) > 8
    assert all(natural > 0 and shown > 0 for natural, shown in sizes)
    ground = driver.execute_script('return getComputedStyle(document.body).backgroundColor')
    assert ground == {'light': 'rgb(255, 255, 255)', 'dark': 'rgb(13, 17, 23)'}[scheme]


def test_wide_tables_scroll_in_their_own_box_on_a_phone(driver, page):
    opened(driver, page, width=390)
    box = driver.find_element(By.XPATH, "//table[@id='scores-last']/..")
    inner, outer = (box.get_property(name) for name in ('scrollWidth', 'clientWidth'))
    assert inner > outer
    assert outer <= 390
    assert box.get_attribute('tabindex') == '0'  # the keyboard scrolls it too


def test_a_click_on_a_heading_sorts_and_says_so(driver, page):
    opened(driver, page)
    heads = driver.find_elements(By.CSS_SELECTOR, '#scores-last thead th')
    number = next(i for i, head in enumerate(heads) if head.text.startswith('score'))
    before = column(driver, 'scores-last', number + 1)
    heads[number].find_element(By.TAG_NAME, 'button').click()
    values = [float(value) for value in column(driver, 'scores-last', number + 1)]
    assert values == sorted(values, reverse=True)
    assert [float(value) for value in before] != values
    assert heads[number].get_attribute('aria-sort') == 'descending'
    heads[number].find_element(By.TAG_NAME, 'button').click()
    assert [float(v) for v in column(driver, 'scores-last', number + 1)] == sorted(values)
    assert heads[number].get_attribute('aria-sort') == 'ascending'


def test_the_keyboard_sorts_words_and_empty_cells_stay_last(driver, page):
    opened(driver, page)
    heads = driver.find_elements(By.CSS_SELECTOR, '#scores-last thead th')
    heads[1].find_element(By.TAG_NAME, 'button').send_keys(Keys.ENTER)
    assert heads[1].get_attribute('aria-sort') == 'ascending'
    names = column(driver, 'scores-last', 2)
    assert names == sorted(names)
    paper = next(i for i, head in enumerate(heads) if head.text.startswith('paper'))
    for _ in range(2):
        heads[paper].find_element(By.TAG_NAME, 'button').send_keys(Keys.SPACE)
        values = column(driver, 'scores-last', paper + 1)
        assert values.count('') == 1  # the incomplete set
        assert values[-1] == ''
    assert heads[1].get_attribute('aria-sort') is None


def edge(driver):
    frame = driver.find_element(By.CSS_SELECTOR, '.compare .frame')
    handle = frame.find_element(By.CSS_SELECTOR, '.handle')
    return handle.rect['x'] + handle.rect['width'] / 2 - frame.rect['x'], frame.rect['width']


@pytest.mark.parametrize('width', [1280, 390])
def test_the_edge_between_before_and_after_follows_mouse_and_keyboard(driver, page, width):
    opened(driver, page, width=width)
    slider = driver.find_element(By.CSS_SELECTOR, '.compare input')
    place, whole = edge(driver)
    assert place == pytest.approx(whole / 2, abs=2)
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    ActionChains(driver).move_to_element_with_offset(slider, -int(whole / 4), 0).click().perform()
    place, whole = edge(driver)
    assert place == pytest.approx(whole / 4, abs=0.04 * whole)
    slider.send_keys(Keys.END)
    assert edge(driver)[0] == pytest.approx(whole, abs=2)
    clip = driver.find_element(By.CSS_SELECTOR, '.compare .over').value_of_css_property('clip-path')
    assert clip == 'inset(0px 0px 0px 100%)'


def test_the_list_chooses_the_map_next_to_the_image(driver, page):
    opened(driver, page)
    maps = driver.find_elements(By.CSS_SELECTOR, '.compare .over')
    assert [one.is_displayed() for one in maps] == [True, False, False]
    choice = Select(driver.find_element(By.CSS_SELECTOR, '.compare select'))
    assert [option.text for option in choice.options] == ['crossearth', 'rein', 'truth']
    choice.select_by_visible_text('truth')
    assert [one.is_displayed() for one in maps] == [False, False, True]


def test_a_recipe_unfolds_and_is_copied_or_selected(driver, page):
    opened(driver, page)
    run = driver.find_element(By.CSS_SELECTOR, 'details.run')
    recipe = run.find_element(By.TAG_NAME, 'pre')
    assert not recipe.is_displayed()
    run.find_element(By.TAG_NAME, 'summary').click()
    assert recipe.is_displayed()
    assert recipe.text.startswith('seed_everything: 0\n')
    button = run.find_element(By.CSS_SELECTOR, 'button.copy')
    button.click()
    driver.set_script_timeout(5)
    said = driver.execute_async_script(
        'const [button, done] = arguments;'
        'const wait = () => button.textContent === "Copy" ? setTimeout(wait, 20)'
        ' : done(button.textContent);'
        'wait();',
        button,
    )
    assert said in ('Copied', 'Selected: press Ctrl+C')


def test_a_name_that_is_a_script_is_shown_as_text_and_never_run(driver, page):
    opened(driver, page)
    text = driver.find_element(By.TAG_NAME, 'body').text
    assert EVIL in text
    assert len(driver.find_elements(By.TAG_NAME, 'script')) == 1
    driver.execute_script(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=bad()>')"
    )
    refused = driver.get_log('browser')  # by the policy of the page: picture and handler
    assert refused
    assert all('Content Security Policy' in entry['message'] for entry in refused)


def test_the_browser_paints_what_it_was_given(driver, page):
    """Screenshots are not blank, and those of the two schemes differ."""
    shots = []
    for scheme in ('light', 'dark'):
        opened(driver, page, scheme=scheme)
        shots.append(driver.get_screenshot_as_png())
    assert shots[0] != shots[1]
    assert min(map(len, shots)) > 10_000
