from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from crossearth.assessment import stratified_map
from crossearth.assessment.stratified_map import StratifiedMap
from crossearth.errors import ConfigError, SceneError, SceneNotFoundError
from crossearth.labels import ISPRS
from tests.assessment.conftest import mapped_classes


def test_strata_are_the_classes_with_their_pixels_and_areas(three_classes):
    with StratifiedMap(three_classes) as opened:
        strata = opened.count()
    mapped = mapped_classes()
    assert [stratum.name for stratum in strata] == ['field', 'wood', 'water']
    assert [stratum.pixels for stratum in strata] == [(mapped == k).sum() for k in range(3)]
    # half a metre, at the scale of UTM 100 km from its meridian
    expected = [(mapped == k).sum() * 0.25 / 0.999723**2 for k in range(3)]
    assert [stratum.area_m2 for stratum in strata] == pytest.approx(expected, rel=1e-5)


def test_in_degrees_areas_of_strata_follow_the_latitude(write_raster):
    classes = np.repeat(np.arange(2, dtype=np.uint8), 30)[:, None].repeat(40, 1)
    path = write_raster(
        'map.tif', classes[None], crs='EPSG:4326', transform=Affine(1, 0, 0, 0, -1, 60)
    )
    with StratifiedMap(path) as opened:
        north, south = opened.count()
    assert north.pixels == south.pixels
    share = (np.sin(np.radians(60)) - 0.5) / 0.5  # of a sphere, between 60°, 30° and 0°
    assert north.area_m2 / south.area_m2 == pytest.approx(share, rel=0.01)


def test_drawn_pixels_are_of_their_stratum_and_each_is_drawn_once(three_classes):
    with StratifiedMap(three_classes) as opened:
        opened.count()
        found = opened.draw(np.array([300, 200, 690]), np.random.default_rng(3))
    mapped = mapped_classes()
    np.testing.assert_array_equal(mapped[found.rows, found.cols], found.strata)
    assert np.bincount(found.strata).tolist() == [300, 200, 690]
    assert len(set(zip(found.rows.tolist(), found.cols.tolist(), strict=True))) == 1190
    assert (mapped == 2).sum() == 690  # so that this stratum was taken whole


def test_all_pixels_of_a_stratum_have_the_same_chance(write_map):
    classes = np.array([[0, 1, 1, 255], [1, 0, 1, 0], [1, 1, 0, 1]], np.uint8)
    path = write_map('small.tif', classes)
    times = np.zeros(classes.shape)
    rng = np.random.default_rng(0)
    with StratifiedMap(path) as opened:
        opened.count()
        for _ in range(3000):
            found = opened.draw(np.array([1, 2]), rng)
            times[found.rows, found.cols] += 1
    assert times[classes == 255] == 0
    # of 3,000 draws: 1 of 4 pixels, and 2 of 7
    np.testing.assert_allclose(times[classes == 0], 750, atol=4 * 24)
    np.testing.assert_allclose(times[classes == 1], 3000 * 2 / 7, atol=4 * 25)


@pytest.mark.parametrize('blocks', [{}, {'tiled': True, 'blockxsize': 32, 'blockysize': 32}])
def test_neither_strips_nor_blocks_change_what_is_drawn(write_map, monkeypatch, blocks):
    path = write_map('map.tif', mapped_classes(), **blocks)

    def draw() -> tuple[object, list[list[int]]]:
        with StratifiedMap(path) as opened:
            strata = opened.count()
            found = opened.draw(np.array([40, 30, 20]), np.random.default_rng(5))
        return [(s.name, s.pixels, round(s.area_m2, 6)) for s in strata], [
            part.tolist() for part in found
        ]

    whole = draw()
    monkeypatch.setattr(stratified_map, '_COUNT_PIXELS', 7 * 90)
    monkeypatch.setattr(stratified_map, '_READ_PIXELS', 50 * 90)
    assert draw() == whole


def test_confidence_divides_each_class(write_map, write_raster):
    path = write_map('map.tif', mapped_classes())
    sure = np.full((1, 120, 90), 254, np.uint8)
    sure[:, 60:] = 100  # 100 / 254 = 0.39
    sure[:, :5] = 255
    confidence = write_raster('sure.tif', sure, nodata=255)
    scale(confidence, 1 / 254)
    with StratifiedMap(path, confidence=confidence, edges=[0.5]) as opened:
        strata = opened.count()
        found = opened.draw(np.full(6, 10), np.random.default_rng(0))
    assert [stratum.name for stratum in strata[:2]] == [
        'field, confidence 0–0.5',
        'field, confidence 0.5–1',
    ]
    mapped = mapped_classes()
    assert strata[0].pixels == (mapped[60:] == 0).sum()
    assert strata[1].pixels == (mapped[:60] == 0).sum()
    np.testing.assert_array_equal(found.rows >= 60, found.strata % 2 == 0)


def test_a_confidence_on_an_edge_is_above_it(write_map, write_raster):
    path = write_map('map.tif', np.zeros((1, 3), np.uint8))
    # 0.8 of 254 is 203.2, which a byte holds as 203
    confidence = write_raster('sure.tif', np.array([[[202, 203, 204]]], np.uint8))
    scale(confidence, 1 / 254)
    with StratifiedMap(path, confidence=confidence, edges=[0.8]) as opened:
        assert [stratum.pixels for stratum in opened.count()] == [1, 2]


def test_a_confidence_in_floats_is_split_at_the_edges_themselves(write_map, write_raster):
    path = write_map('map.tif', np.zeros((1, 5), np.uint8))
    confidence = write_raster('sure.tif', np.array([[[0.1, 0.79, 0.8, 0.9, 1]]], np.float32))
    with StratifiedMap(path, confidence=confidence, edges=[0.8, 0.9]) as opened:
        assert [stratum.pixels for stratum in opened.count()] == [2, 1, 2]


def test_a_confidence_above_1_is_refused(write_map, write_raster):
    path = write_map('map.tif', np.array([[0, 0, 255]], np.uint8))
    percent = write_raster('percent.tif', np.array([[[50, 100, 100]]], np.uint8))
    with (
        StratifiedMap(path, confidence=percent, edges=[0.8]) as opened,
        pytest.raises(ConfigError, match='confidence is up to 100: expected 0 to 1'),
    ):
        opened.count()
    scale(percent, 0.01)
    with StratifiedMap(path, confidence=percent, edges=[0.8]) as opened:
        assert [stratum.pixels for stratum in opened.count()] == [1, 1]


def scale(path: Path, factor: float) -> None:
    import rasterio

    with rasterio.open(path, 'r+') as file:
        file.scales = (factor,)


def test_names_can_be_given_and_nodata_too(write_raster):
    path = write_raster('map.tif', np.array([[[1, 1, 3, 9]]], np.uint8))
    with StratifiedMap(path, labels=ISPRS, nodata=3) as opened:
        assert [(s.name, s.pixels) for s in opened.count()] == [('building', 2), ('class 9', 1)]
        assert opened.classes[9] == 'class 9'
        assert opened.classes[0] == 'impervious_surface'


def test_maps_that_cannot_be_assessed_are_refused(write_raster, write_map, tmp_path):
    with pytest.raises(SceneNotFoundError, match=r'none.tif'):
        StratifiedMap(tmp_path / 'none.tif')
    with pytest.raises(SceneError, match='one band of class ids'):
        StratifiedMap(write_raster('float.tif', np.zeros((1, 4, 4), np.float32)))
    with pytest.raises(ConfigError, match='no CRS and transform'):
        StratifiedMap(write_raster('nowhere.tif', np.zeros((1, 4, 4), np.uint8), crs=None))
    empty = write_map('empty.tif', np.full((4, 4), 255, np.uint8))
    with StratifiedMap(empty) as opened, pytest.raises(SceneError, match='no pixel has data'):
        opened.count()


def test_negative_ids_other_than_the_no_data_value_are_refused(write_raster):
    path = write_raster('map.tif', np.array([[[-1, 0, -3, 2]]], np.int16), nodata=-1)
    with StratifiedMap(path) as opened, pytest.raises(SceneError, match='holds -3: expected class'):
        opened.count()


def test_a_confidence_must_fit_its_map(write_map, write_raster):
    path = write_map('map.tif', np.zeros((4, 4), np.uint8))
    other = write_raster('other.tif', np.zeros((1, 4, 5), np.uint8))
    with pytest.raises(ConfigError, match='expected the same grid'):
        StratifiedMap(path, confidence=other, edges=[0.5])
    sure = write_raster('sure.tif', np.full((1, 4, 4), 255, np.uint8), nodata=255)
    with pytest.raises(ConfigError, match='without edges'):
        StratifiedMap(path, confidence=sure)
    with pytest.raises(ConfigError, match='rising numbers from 0 to 1'):
        StratifiedMap(path, confidence=sure, edges=[0.9, 0.5])
    with (
        StratifiedMap(path, confidence=sure, edges=[0.5]) as opened,
        pytest.raises(ConfigError, match='16 pixels of rows 0 to 3 have a class but no confidence'),
    ):
        opened.count()
