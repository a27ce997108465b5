"""A band that a file calls alpha: it hides pixels if it is one, and is an image band if not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.rasters import RasterReader, describe_raster, hides_pixels
from crossearth.rasters.headers import HeaderCache

type Write = Callable[..., Path]
SIDE = 300


def colours(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (3, SIDE, SIDE), np.uint8)


def with_fourth(write_raster: Write, fourth: np.ndarray, name: str = 'a.tif') -> Path:
    path = write_raster(name, np.concatenate([colours(), fourth[None]]))
    with rasterio.open(path) as written:  # a plain file of four bands: nobody asked for alpha
        assert written.colorinterp[3] == rasterio.enums.ColorInterp.alpha
    return path


def test_a_near_infrared_band_hides_nothing_and_is_read(write_raster: Write) -> None:
    infrared = colours(1)[0].copy()
    infrared[:100] = 0  # water
    raster = describe_raster(with_fourth(write_raster, infrared))
    assert (raster.bands, raster.alpha) == ((1, 2, 3, 4), None)
    pixels, shown = RasterReader().read(raster, Window(0, 0, 0, SIDE, SIDE))
    assert shown is None
    np.testing.assert_array_equal(pixels[3], infrared)


def test_a_true_alpha_band_hides_and_is_not_read(write_raster: Write) -> None:
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:80, :90] = 0
    alpha[80, :90] = 128  # a smoothed border
    raster = describe_raster(with_fourth(write_raster, alpha))
    assert (raster.bands, raster.alpha) == ((1, 2, 3), 4)
    pixels, shown = RasterReader().read(raster, Window(0, 0, 0, SIDE, SIDE))
    assert shown is not None
    np.testing.assert_array_equal(shown, alpha > 0)
    assert (pixels[:, ~shown] == 0).all()


@pytest.mark.usefixtures('unchecked')
def test_an_argument_decides_against_what_the_values_say(write_raster: Write) -> None:
    opaque = with_fourth(write_raster, np.full((SIDE, SIDE), 255, np.uint8))
    assert describe_raster(opaque).bands == (1, 2, 3)
    assert describe_raster(opaque, alpha='image').bands == (1, 2, 3, 4)
    infrared = with_fourth(write_raster, colours(1)[0], 'b.tif')
    assert describe_raster(infrared, alpha='mask').alpha == 4
    assert describe_raster(infrared, bands=(1, 2, 3)).alpha is None
    with pytest.raises(ConfigError, match=r"alpha is 'yes': expected one of auto, mask, image"):
        describe_raster(infrared, alpha='yes')  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize('kind', ['some between', 'all zero'])
def test_what_cannot_be_told_is_an_error_that_names_the_argument(
    write_raster: Write, kind: str
) -> None:
    fourth = np.zeros((SIDE, SIDE), np.uint8)
    if kind == 'some between':
        fourth[: SIDE // 2] = 255
        fourth[: SIDE // 6] = 99
    path = with_fourth(write_raster, fourth)
    with pytest.raises(ConfigError, match=r"a\.tif: .*band 4 alpha.*alpha='mask'.*alpha='image'"):
        describe_raster(path)
    assert describe_raster(path, alpha='image').bands == (1, 2, 3, 4)
    # a band that is asked for by number is an image band, and nothing has to be told
    assert describe_raster(path, bands=(4, 1)).bands == (4, 1)


def test_a_file_without_any_data_is_hidden(write_raster: Write) -> None:
    path = write_raster('a.tif', np.zeros((4, SIDE, SIDE), np.uint8))
    assert describe_raster(path).alpha == 4


def test_data_in_one_corner_of_a_large_file_is_found(write_raster: Write) -> None:
    pixels = np.zeros((4, 2048, 2048), np.uint8)
    pixels[:, 1900:, 1800:] = np.random.default_rng(0).integers(1, 255, (4, 148, 248))
    path = write_raster('a.tif', pixels, tiled=True, blockxsize=128, blockysize=128)
    assert not hides_pixels(path, 4, 'auto')
    pixels[3, 1900:, 1800:] = 255
    path = write_raster('b.tif', pixels, tiled=True, blockxsize=128, blockysize=128)
    assert hides_pixels(path, 4, 'auto')


def test_the_verdict_is_remembered_with_the_header(
    write_raster: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(with_fourth(write_raster, colours(1)[0]))
    monkeypatch.setattr('crossearth.rasters.headers._WORTH_KEEPING', 1)
    monkeypatch.setenv('CROSSEARTH_CACHE', str(tmp_path / 'cache'))
    cache = HeaderCache(tmp_path)
    assert describe_raster(path, cache=cache).bands == (1, 2, 3, 4)
    cache.save()
    monkeypatch.setattr('crossearth.rasters.headers.hides_pixels', None)  # nobody looks again
    assert describe_raster(path, cache=HeaderCache(tmp_path)).bands == (1, 2, 3, 4)
