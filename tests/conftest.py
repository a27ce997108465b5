import os
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder of real imagery: CROSSEARTH_TEST_DATA, by default ../shared/data."""
    folder = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data'))
    if not folder.is_dir():
        pytest.skip(f'no real imagery at {folder}: set CROSSEARTH_TEST_DATA to its folder')
    return folder
