"""A real browser for tests of pages."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_BROWSER = shutil.which('chromium') or shutil.which('google-chrome')
_DRIVER = shutil.which('chromedriver')

needs_browser = pytest.mark.skipif(
    _BROWSER is None or _DRIVER is None,
    reason='no browser: install the packages chromium and chromium-driver',
)


@contextmanager
def started_browser() -> Iterator[webdriver.Chrome]:
    """A browser without a window that logs its console and its requests."""
    options = webdriver.ChromeOptions()
    options.binary_location = _BROWSER
    for word in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'):
        options.add_argument(word)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = webdriver.Chrome(options=options, service=Service(_DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def requests_of(driver: webdriver.Chrome) -> list[str]:
    """Addresses that the browser asked for since this was asked last."""
    messages = [json.loads(entry['message'])['message'] for entry in driver.get_log('performance')]
    return [
        message['params']['request']['url']
        for message in messages
        if message['method'] == 'Network.requestWillBeSent'
    ]
