"""Fixtures that several rooms share."""

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

PLACE = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
DATA = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data'))


@pytest.fixture(scope='session', autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests keep nothing in the user's cache folder."""
    before = os.environ.get('CROSSEARTH_CACHE')
    os.environ['CROSSEARTH_CACHE'] = str(tmp_path_factory.mktemp('cache'))
    yield
    os.environ.pop('CROSSEARTH_CACHE')
    if before is not None:
        os.environ['CROSSEARTH_CACHE'] = before


@pytest.fixture(scope='session')
def real_data() -> Path:
    """The folder of real images, where this machine has one."""
    if not DATA.is_dir():
        pytest.skip(f'no real data: set CROSSEARTH_TEST_DATA, {DATA} does not exist')
    return DATA


@pytest.fixture
def write_raster(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an array (c, h, w) as a raster below `tmp_path`."""

    def write(
        name: str,
        pixels: np.ndarray,
        *,
        crs: str | None = 'EPSG:32633',
        transform: Affine = PLACE,
        driver: str = 'GTiff',
        **profile: object,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        place = {'crs': crs, 'transform': transform} if crs is not None else {}
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', NotGeoreferencedWarning)
            _write(path, pixels, driver, {**place, **profile})
        return path

    return write


def _write(path: Path, pixels: np.ndarray, driver: str, profile: dict[str, object]) -> None:
    count, height, width = pixels.shape
    with rasterio.open(
        path,
        'w',
        driver=driver,
        count=count,
        height=height,
        width=width,
        dtype=pixels.dtype,
        **profile,
    ) as target:
        target.write(pixels)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No check of annotated types and shapes: what a user's call meets outside the tests."""
    jaxtyping.config.update('jaxtyping_disable', True)
    yield
    jaxtyping.config.update('jaxtyping_disable', False)
