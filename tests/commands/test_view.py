import argparse
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from crossearth.commands import view
from crossearth.errors import ConfigError


@pytest.fixture
def a_map(write_raster):
    return write_raster('map.tif', np.eye(9, dtype=np.uint8)[None])


def run(*words):
    parser = argparse.ArgumentParser()
    view.add_arguments(parser)
    return view.run(parser.parse_args([str(word) for word in words]))


def test_a_page_lies_next_to_its_map_unless_it_is_told_where(a_map, tmp_path):
    page = a_map.with_suffix('.html')
    text = run(a_map)
    assert text == f'{page}: 0.2 MB, open it in a browser: {page.as_uri()}'
    assert page.read_text().startswith('<!doctype html>')
    run(a_map, '--scene', a_map, '--bands', 1, '-o', tmp_path / 'b.html', '--page-px', 4)
    assert 'shows 4 × 4 of them' in (tmp_path / 'b.html').read_text()


def test_a_server_writes_no_page(a_map):
    with pytest.raises(ConfigError, match='--serve writes no page: leave out --output'):
        run(a_map, '--serve', '-o', 'a.html')


def test_a_server_tells_its_address_and_ends_with_ctrl_c(a_map):
    process = subprocess.Popen(
        [sys.executable, '-m', 'crossearth.cli', 'view', str(a_map), '--serve'],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        told = process.stdout.readline()
        address = told.split()[1]
        with urllib.request.urlopen(address, timeout=20) as page:
            assert b'<title>map.tif</title>' in page.read()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0] == 'ended\n'
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
    assert list(a_map.parent.glob('*.html')) == []
