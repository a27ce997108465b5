"""Fixtures that several rooms share, and where chance comes from while the tests run."""

import ctypes
import gc
import importlib
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import jaxtyping
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

if 'PYTEST_XDIST_WORKER' in os.environ:  # a core for each process, and for what it starts
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    torch.set_num_threads(1)
    # Every worker needs these. What is first imported from within crossearth is compiled again,
    # since jaxtyping's hook looks for compiled files of its own there.
    for _large in (
        'lightning.pytorch.cli',
        'torch._dynamo',
        'torch.distributed.fsdp',
        'torchgeo.datamodules',
        'torchgeo.models',
        'scipy.optimize',
        'matplotlib.pyplot',
    ):
        importlib.import_module(_large)

PLACE = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
DATA = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data'))

# The default run tries the same examples every time. `--hypothesis-profile=random` searches, and
# `--hypothesis-seed=…` repeats a search. Neither keeps a database, for a checkout stays as it is,
# and neither looks at the clock, for the machine may be busy. All that matters is set, since
# hypothesis has other defaults where the variable CI is set.
for _name, _fixed in (('fixed', True), ('random', False)):
    hypothesis.settings.register_profile(
        _name,
        derandomize=_fixed,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile('fixed')


class _TorchRandom:
    """Torch's global generator, in the form that hypothesis seeds before every example."""

    seed = staticmethod(torch.manual_seed)
    getstate = staticmethod(torch.get_rng_state)
    setstate = staticmethod(torch.set_rng_state)


_TORCH_RANDOM = _TorchRandom()  # hypothesis itself holds no reference
hypothesis.register_random(_TORCH_RANDOM)


def _seed_global_generators() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- the global state is what libraries draw from
    torch.manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_make_collect_report() -> None:
    """What a module draws when it is imported does not depend on the modules before it."""
    _seed_global_generators()


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """What a fixture draws does not depend on the test that needs it first."""
    _seed_global_generators()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """What a test draws does not depend on the tests before it."""
    _seed_global_generators()


def pytest_collection_finish() -> None:
    """Spare what was imported from `gc.collect`, which then takes milliseconds."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let the interpreter free everything at its end, as libraries expect."""
    gc.unfreeze()


_MAY_GROW_BYTES = 256 << 20
_resident_bytes = 0  # after the last collection


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Free what tests leave: trainer, task and networks refer to each other in circles.

    A collection takes as long as a quick test, so it waits until memory has grown. glibc keeps
    freed memory in its heap, which whole backbones leave in pieces, unless it is told to give it
    back.
    """
    global _resident_bytes
    if sys.platform != 'linux':
        gc.collect()
    elif _resident() > _resident_bytes + _MAY_GROW_BYTES:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        _resident_bytes = _resident()


def _resident() -> int:
    """Bytes of memory that this process holds, on Linux."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


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
