from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from crossearth.errors import ConfigError, SceneError
from crossearth.inference import map_summary, summarise_map

type Write = Callable[..., Path]


@pytest.fixture
def quarters(write_raster: Write) -> Path:
    """300 pixels of class 0, 80 of class 2 and 20 without data, half a metre each."""
    classes = np.zeros((1, 20, 20), np.uint8)
    classes[0, 15:] = 2
    classes[0, 19] = 255
    path = write_raster('map.tif', classes, nodata=255)
    with rasterio.open(path, 'r+') as file:
        file.update_tags(CLASS_0='field', CLASS_1='wood', CLASS_2='water')
    return path


def test_classes_have_pixels_areas_and_shares(
    quarters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = summarise_map(quarters)
    monkeypatch.setattr(map_summary, '_STRIP_PIXELS', 60)
    in_strips = summarise_map(quarters)
    for summary in (found, in_strips):
        assert [(one.name, one.pixels) for one in summary.classes] == [
            ('field', 300),
            ('wood', 0),
            ('water', 80),
        ]
        assert summary.nodata == 20
        # at the scale of UTM, 100 km from its meridian
        assert summary.classes[2].area_m2 == pytest.approx(80 * 0.25 / 0.999723**2, rel=1e-5)
        assert [one.share for one in summary.classes] == pytest.approx([15 / 19, 0, 4 / 19])
        assert summary.classes[0].confidence is None


def test_the_mean_confidence_is_that_of_the_pixels_of_a_class(
    quarters: Path, write_raster: Write
) -> None:
    values = np.full((1, 20, 20), 127, np.uint8)
    values[0, 15:, :10] = 254
    sure = write_raster('sure.tif', values, nodata=255)
    with rasterio.open(sure, 'r+') as file:
        file.scales = (1 / 254,)
    found = summarise_map(quarters, confidence=sure)
    assert [one.confidence for one in found.classes] == [
        pytest.approx(0.5),
        None,
        pytest.approx(0.75),
    ]
    with pytest.raises(ConfigError, match='expected the same grid'):
        summarise_map(quarters, confidence=write_raster('b.tif', values[:, :9]))


def test_a_confidence_of_another_zone_or_some_pixels_away_is_refused(write_raster: Write) -> None:
    classes = np.ones((1, 20, 20), np.uint8)
    of_map = write_raster('map.tif', classes, nodata=255)
    other_zone = write_raster('zone.tif', classes, crs='EPSG:32632')
    with pytest.raises(ConfigError, match=r'zone\.tif .* in EPSG:32632, .* in EPSG:32633'):
        summarise_map(of_map, confidence=other_zone)
    fine = Affine(2e-7, 0, 13, 0, -2e-7, 52)  # 2 cm
    of_map = write_raster('fine.tif', classes, crs='EPSG:4326', transform=fine, nodata=255)
    moved = write_raster(
        'moved.tif', classes, crs='EPSG:4326', transform=fine @ Affine.translation(40, 0)
    )
    with pytest.raises(ConfigError, match='expected the same grid'):
        summarise_map(of_map, confidence=moved)


@pytest.mark.parametrize(
    ('bands', 'holds', 'found'),
    [
        (1, 'class', 'a band of class ids'),
        (1, 'entropy', 'a band of entropy'),
        (3, None, '3 bands'),
    ],
)
def test_what_is_not_a_confidence_is_refused(
    quarters: Path, write_raster: Write, bands: int, holds: str | None, found: str
) -> None:
    other = write_raster('other.tif', np.zeros((bands, 20, 20), np.uint8))
    if holds is not None:
        with rasterio.open(other, 'r+') as file:
            file.set_band_description(1, holds)
    with pytest.raises(ConfigError, match=f'other.tif has {found}: expected the confidence'):
        summarise_map(quarters, confidence=other)


def test_a_map_whose_mask_says_where_it_has_data_is_refused(quarters: Path, tmp_path: Path) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(quarters, 'r+') as file:
        file.nodata = None
        file.write_mask(np.eye(20, dtype=bool))
    with pytest.raises(
        SceneError, match=r'map.tif marks where .* with a mask.* crossearth mosaic .*map.tif'
    ):
        summarise_map(quarters)


def test_shares_are_those_of_the_area_on_the_ground(write_raster: Write) -> None:
    classes = np.repeat(np.arange(2, dtype=np.uint8), 30)[None, :, None].repeat(8, 2)
    path = write_raster('m.tif', classes, crs='EPSG:4326', transform=Affine(1, 0, 0, 0, -1, 60))
    north, south = summarise_map(path).classes
    assert north.pixels == south.pixels
    assert north.share == pytest.approx(0.366 / 0.866, abs=0.003)


def test_without_a_place_there_is_no_area(write_raster: Write) -> None:
    path = write_raster('m.tif', np.array([[[0, 0, 0, 7]]], np.uint16), crs=None)
    zero, seven = summarise_map(path).classes
    assert (zero.area_m2, zero.share, seven.name) == (None, 0.75, 'class 7')


def test_rasters_that_are_not_maps_are_refused(write_raster: Write) -> None:
    path = write_raster('m.tif', np.zeros((1, 2, 2), np.uint32))
    with pytest.raises(SceneError, match=r'1 band.s. of uint32: expected a map'):
        summarise_map(path)


def test_the_table_has_a_line_for_each_class(quarters: Path) -> None:
    assert str(summarise_map(quarters)).splitlines() == [
        'class    pixels     area  share  mean confidence',
        'field       300  75.0 m²  78.9%                –',
        'wood          0   0.0 m²   0.0%                –',
        'water        80  20.0 m²  21.1%                –',
        'no data      20',
    ]
