"""What pixels hold data, and what they hold where they do not."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rasterio.control import GroundControlPoint

from crossearth.datasets import SceneDataset, read_scene
from crossearth.datasets.cut import resampled_scene
from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.inference import predict_scene
from crossearth.labels import ISPRS
from crossearth.rasters import Raster, RasterReader, describe_raster, resampled
from crossearth.rasters.ground_grid import on_local_projection

type Write = Callable[..., Path]
HEIGHT, WIDTH = 60, 80
WHOLE = Window(0, 0, 0, HEIGHT, WIDTH)


def noise(bands: int, dtype: str = 'uint8') -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, (bands, HEIGHT, WIDTH)).astype(dtype)


def shown_of(path: Path) -> np.ndarray:
    pixels, shown = RasterReader().read(describe_raster(path), WHOLE)
    if shown is None:
        return np.ones((HEIGHT, WIDTH), bool)
    assert (pixels[:, ~shown] == 0).all()
    return shown


@pytest.mark.parametrize('dtype', ['int16', 'float32', 'float64'])
def test_a_value_that_no_measurement_has_hides_a_pixel_in_any_band(
    write_raster: Write, dtype: str
) -> None:
    pixels = noise(3, dtype)
    pixels[1, 10:20, 30:40] = -9999
    shown = shown_of(write_raster('a.tif', pixels, nodata=-9999))
    np.testing.assert_array_equal(~shown, pixels[1] == -9999)


@pytest.mark.parametrize(('dtype', 'nodata'), [('uint8', 0), ('uint8', 255), ('float32', 0)])
def test_a_value_that_might_be_measured_hides_a_pixel_in_all_bands_only(
    write_raster: Write, dtype: str, nodata: int
) -> None:
    pixels = noise(3, dtype)
    pixels[:, 10:20, 30:40] = nodata
    pixels[0, 40:50] = nodata  # a dark, or saturated, measurement
    shown = shown_of(write_raster('a.tif', pixels, nodata=nodata))
    np.testing.assert_array_equal(~shown, (pixels == nodata).all(axis=0))
    assert (~shown).sum() == 100


def test_each_band_has_its_own_nodata(write_raster: Write, tmp_path: Path) -> None:
    """GeoTIFF keeps one value for all bands; a VRT has one for each."""
    pixels = noise(2, 'int16')
    pixels[0, :5], pixels[1, -5:] = -1, -2
    pixels[1, 20:30] = -1  # a measurement, in this band
    write_raster('a.tif', pixels)
    bands = ''.join(
        f'<VRTRasterBand dataType="Int16" band="{i}"><NoDataValue>{-i}</NoDataValue>'
        f'<SimpleSource><SourceFilename relativeToVRT="1">a.tif</SourceFilename>'
        f'<SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>'
        for i in (1, 2)
    )
    vrt = tmp_path / 'b.vrt'
    vrt.write_text(f'<VRTDataset rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}">{bands}</VRTDataset>')
    raster = describe_raster(vrt)
    assert raster.nodata == (-1.0, -2.0)
    expected = (pixels[0] != -1) & (pixels[1] != -2)
    np.testing.assert_array_equal(shown_of(vrt), expected)


def test_each_band_may_have_its_own_mask(write_raster: Write, tmp_path: Path) -> None:
    masks = np.full((2, HEIGHT, WIDTH), 255, np.uint8)
    masks[0, :5], masks[1, :, -5:] = 0, 0
    write_raster('a.tif', noise(2))
    write_raster('m.tif', masks)
    bands = ''.join(
        f'<VRTRasterBand dataType="Byte" band="{i}">{_source("a.tif", i)}<MaskBand>'
        f'<VRTRasterBand dataType="Byte">{_source("m.tif", i)}</VRTRasterBand></MaskBand>'
        '</VRTRasterBand>'
        for i in (1, 2)
    )
    vrt = tmp_path / 'b.vrt'
    vrt.write_text(f'<VRTDataset rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}">{bands}</VRTDataset>')
    np.testing.assert_array_equal(shown_of(vrt), (masks > 0).all(axis=0))
    _, shown = RasterReader().read(describe_raster(vrt, bands=(2,)), WHOLE)
    np.testing.assert_array_equal(shown, masks[1] > 0)


def test_bands_of_several_types_each_keep_their_own_rule(
    write_raster: Write, tmp_path: Path
) -> None:
    floats, counts, bytes_ = noise(1, 'float32'), noise(1, 'int32'), noise(1)
    floats[0, :5] = -9999.9  # which float32 rounds, and float64 does not
    bytes_[0, -5:] = 255  # saturated, perhaps
    for name, pixels in (('f', floats), ('i', counts), ('u', bytes_)):
        write_raster(f'{name}.tif', pixels)
    bands = (
        f'<VRTRasterBand dataType="Float32" band="1"><NoDataValue>-9999.9</NoDataValue>'
        f'{_source("f.tif", 1)}</VRTRasterBand>'
        f'<VRTRasterBand dataType="Int32" band="2">{_source("i.tif", 1)}</VRTRasterBand>'
        f'<VRTRasterBand dataType="Byte" band="3"><NoDataValue>255</NoDataValue>'
        f'{_source("u.tif", 1)}</VRTRasterBand>'
    )
    vrt = tmp_path / 'b.vrt'
    vrt.write_text(f'<VRTDataset rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}">{bands}</VRTDataset>')
    pixels, shown = RasterReader().read(describe_raster(vrt), WHOLE)
    assert pixels.dtype == np.float64
    assert shown is not None
    assert not shown[:5].any()
    assert shown[5:].all()


def _source(name: str, band: int) -> str:
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename>'
        f'<SourceBand>{band}</SourceBand></SimpleSource>'
    )


def test_holes_do_not_spread_when_a_scene_is_resampled(write_raster: Write) -> None:
    pixels = noise(3, 'float32') + 1000
    pixels[1, 20:30, 20:30] = -9999
    raster = describe_raster(write_raster('a.tif', pixels, nodata=-9999))
    for gsd_m in (0.33, 0.9, 2.1):
        view = resampled(raster, gsd_m)
        image, shown = RasterReader().read(view, Window(0, 0, 0, view.height, view.width))
        assert shown is not None
        assert image[:, shown].min() > 1000  # no trace of -9999
        assert (image[:, ~shown] == 0).all()
        hidden = (~shown[2:-2, 2:-2]).sum() * gsd_m**2
        assert hidden <= 25 * 1.2  # square metres: a larger pixel that touches data holds data


def test_pixels_that_become_far_larger_are_read_in_pieces(
    write_raster: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    raster = describe_raster(write_raster('a.tif', noise(3)))
    view = resampled(raster, 4)  # of 8 by 8 pixels
    window = Window(0, 0, 0, view.height, view.width)
    expected, shown = RasterReader().read(view, window)

    read: list[Window] = []
    real = RasterReader._block

    def spy(self: RasterReader, native: Raster, block: Window) -> object:
        read.append(block)
        return real(self, native, block)

    monkeypatch.setattr(RasterReader, '_block', spy)
    monkeypatch.setattr('crossearth.rasters.reading._MOST_SOURCE_VALUES', 1600)  # 400 of each band
    pixels, known = RasterReader().read(view, window)
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(known, shown)
    assert max(block.height * block.width for block in read) < 3 * 400  # and a rim


def test_pixels_without_data_have_the_value_that_becomes_black(write_raster: Write) -> None:
    pixels = noise(3, 'uint16') + 500
    pixels[:, :10] = 0
    path = write_raster('a.tif', pixels, nodata=0)
    raster = describe_raster(path, value_range=(499.5, 800))
    image, shown = RasterReader().read(raster, WHOLE)
    assert shown is not None
    assert (image[:, ~shown] == 499).all()
    beyond, _ = RasterReader().read(raster, Window(0, -5, 0, 20, 10))
    assert (beyond[:, :15] == 499).all()


def test_float_images_may_pass_one_by_a_rounding(write_raster: Write, tmp_path: Path) -> None:
    pixels = np.full((3, HEIGHT, WIDTH), 0.5, np.float32)
    pixels[:, 0, 0] = 1.0005
    path = write_raster('a.tif', pixels)
    image = SceneDataset([read_scene(path)], ISPRS, dtype='unit')[0]['image']
    assert image.max() == 1.0
    assert predict_scene(lambda x: x, path, tmp_path / 'map.tif').complete
    pixels[:, 0, 0] = 1.1
    path = write_raster('b.tif', pixels)
    for read in (
        lambda: SceneDataset([read_scene(path)], ISPRS, dtype='unit')[0],
        lambda: predict_scene(lambda x: x, path, tmp_path / 'map.tif'),
    ):
        with pytest.raises(ConfigError, match=r'from 0\.5 to 1\.1.*value_range'):
            read()


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_scenes_with_ground_control_points_are_read_at_a_gsd_and_with_a_crs_given(
    write_raster: Write, tmp_path: Path
) -> None:
    points = [
        GroundControlPoint(row, col, 400_000 + 0.5 * col, 5_800_000 - 0.5 * row)
        for row in (0, HEIGHT)
        for col in (0, WIDTH)
    ]
    pixels = noise(3)
    straight = describe_raster(write_raster('s.tif', pixels))
    write_raster('a.tif', pixels, crs=None)
    path = tmp_path / 'b.vrt'
    path.write_text(_with_control_points(points))
    bare = read_scene(path)
    assert bare.crs is None
    assert len(bare.raster.georeference.gcps) == 4
    with pytest.raises(ConfigError, match='4 ground control points without a CRS'):
        resampled_scene(bare, 1.0)
    with pytest.raises(ConfigError, match='4 ground control points without a CRS'):
        predict_scene(lambda x: x, path, tmp_path / 'map.tif')
    scene = resampled_scene(read_scene(path, crs='EPSG:32633'), 0.8)
    view = on_local_projection(straight, 0.8)
    assert (scene.height, scene.width) == (view.height, view.width)
    whole = Window(0, 0, 0, view.height, view.width)
    got, _ = RasterReader().read(scene.raster, whole)
    wanted, _ = RasterReader().read(view, whole)
    assert (abs(got.astype(int) - wanted) <= 1).mean() > 0.999  # of a fit by GDAL


def _with_control_points(points: list[GroundControlPoint]) -> str:
    """A VRT of `a.tif` with points of no CRS, which rasterio does not write."""
    gcps = ''.join(
        f'<GCP Id="{i}" Pixel="{p.col}" Line="{p.row}" X="{p.x}" Y="{p.y}"/>'
        for i, p in enumerate(points)
    )
    bands = ''.join(
        f'<VRTRasterBand dataType="Byte" band="{i}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>{i}</SourceBand>'
        '</SimpleSource></VRTRasterBand>'
        for i in (1, 2, 3)
    )
    return (
        f'<VRTDataset rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}">'
        f'<GCPList Projection="">{gcps}</GCPList>{bands}</VRTDataset>'
    )


def test_a_reader_in_another_process_opens_its_own_files(write_raster: Write) -> None:
    raster = describe_raster(write_raster('a.tif', noise(3)))
    reader = RasterReader(max_open=3)
    before, _ = reader.read(raster, WHOLE)
    copied = pickle.loads(pickle.dumps(reader))  # our own bytes
    assert copied.max_open == 3
    after, _ = copied.read(raster, WHOLE)
    np.testing.assert_array_equal(before, after)
    child = os.fork()
    if child == 0:
        mine, _ = reader.read(raster, WHOLE)
        os._exit(0 if (mine == before).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
