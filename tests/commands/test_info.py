import platform
from importlib.metadata import version

from crossearth import __version__
from crossearth.cli import main


def test_info_names_versions_devices_and_the_cache(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv('CROSSEARTH_CACHE', str(tmp_path))
    assert main(['info']) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines['crossearth'] == __version__
    assert lines['python'] == platform.python_version()
    assert lines['torch'] == version('torch')
    assert lines['devices'].startswith('cpu')
    assert lines['cache'] == str(tmp_path)
