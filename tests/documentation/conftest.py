"""The documentation as its readers get it, built once for all tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='session')
def site(tmp_path_factory) -> Path:
    """Its folder. CROSSEARTH_TEST_SITE names one that was built before, to save a minute."""
    if built := os.environ.get('CROSSEARTH_TEST_SITE'):
        return Path(built)
    folder = tmp_path_factory.mktemp('site')
    sphinx = [sys.executable, '-m', 'sphinx', '-W', '--keep-going', '-q']
    done = subprocess.run(
        [*sphinx, str(ROOT / 'docs'), str(folder)],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder
