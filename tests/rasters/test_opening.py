import os
from pathlib import Path

import pytest

from crossearth.errors import SceneError
from crossearth.rasters import open_raster


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'a.tif'
    path.touch()
    monkeypatch.setattr(os, 'access', lambda *_: False)  # the superuser may read everything
    with pytest.raises(SceneError, match=r'a\.tif: you may not read this file: change its'):
        open_raster(path)
