import argparse
from urllib.parse import urlsplit

import numpy as np
import pytest

from crossearth.commands import view
from crossearth.errors import ConfigError
from crossearth.viewer import MapServer


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


def test_a_server_tells_its_address_and_ends_with_ctrl_c(a_map, monkeypatch, capsys):
    served = []

    def interrupted(server):
        served.append((server.url, server.answer(*urlsplit(server.url)[2:0:-1])))
        raise KeyboardInterrupt

    monkeypatch.setattr(MapServer, 'run', interrupted)
    assert run(a_map, '--serve') == 'ended'
    ((url, (status, _, page)),) = served
    assert capsys.readouterr().out == f'open {url} in a browser on this machine; Ctrl+C stops\n'
    assert (status, b'<title>map.tif</title>' in page) == (200, True)
    assert list(a_map.parent.glob('*.html')) == []
