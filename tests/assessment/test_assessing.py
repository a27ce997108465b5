import numpy as np
import pytest
import rasterio

from crossearth.assessment import SampleSize, assess_map, draw_sample
from crossearth.errors import ConfigError, LabelError, SceneError
from tests.assessment.conftest import (
    NODATA_ROWS,
    THREE,
    mapped_classes,
    true_classes,
    write_labels,
)

PIXEL_M2 = 0.25 / 0.999723**2


@pytest.fixture
def design(three_classes, tmp_path):
    return draw_sample(three_classes, tmp_path / 'sample', size=SampleSize(n=900))


def test_a_sample_of_all_pixels_gives_the_truth(three_classes, tmp_path):
    mapped, truth = mapped_classes(), true_classes()
    size = SampleSize(n=mapped.size, least=2)
    design = draw_sample(three_classes, tmp_path / 'sample', size=size)
    found = assess_map(tmp_path / 'sample', labelled=write_labels(tmp_path / 'labels.csv', design))
    valid = mapped != 255
    accuracy = found.accuracy
    assert accuracy.overall.value == pytest.approx((mapped == truth)[valid].mean(), abs=1e-6)
    assert accuracy.overall.standard_error == pytest.approx(0, abs=1e-12)
    for index, one in enumerate(accuracy.classes):
        both = ((mapped == index) & (truth == index) & valid).sum()
        either = (((mapped == index) | (truth == index)) & valid).sum()
        assert one.iou.value == pytest.approx(both / either, abs=1e-6)
        assert one.area.value == pytest.approx((truth[valid] == index).sum() * PIXEL_M2, rel=1e-5)
        assert one.mapped_area.value == pytest.approx((mapped == index).sum() * PIXEL_M2, rel=1e-5)


def test_intervals_of_a_sample_hold_the_truth(design, tmp_path):
    found = assess_map(tmp_path / 'sample', labelled=write_labels(tmp_path / 'labels.csv', design))
    mapped, truth = mapped_classes()[NODATA_ROWS:], true_classes()[NODATA_ROWS:]
    assert found.labelled == tuple(design.drawn())
    low, high = found.accuracy.overall.interval
    assert low <= (mapped == truth).mean() <= high
    for index, one in enumerate(found.accuracy.classes):
        low, high = one.area.interval
        assert low <= (truth == index).sum() * PIXEL_M2 <= high
        assert one.mapped_area.standard_error == pytest.approx(0, abs=1e-9)


def test_the_same_labels_assess_another_map_of_the_place(design, write_map, tmp_path):
    labels = write_labels(tmp_path / 'labels.csv', design)
    perfect = write_map('perfect.tif', true_classes())
    found = assess_map(tmp_path / 'sample', labelled=labels, of_map=perfect)
    assert found.accuracy.overall.value == pytest.approx(1)
    assert not found.strata_are_classes
    assert found.accuracy.classes[1].mapped_area.standard_error > 0

    ids = true_classes()
    ids[ids == 2] = 7  # a class that the first map does not have
    other = assess_map(tmp_path / 'sample', labelled=labels, of_map=write_map('other.tif', ids))
    assert other.classes == ('field', 'wood', 'water', 'class 7')
    assert other.accuracy.classes[3].users.value == 0
    assert other.accuracy.classes[2].producers.value == 0


def test_other_maps_must_lie_on_the_grid_and_have_data(design, write_map, tmp_path):
    labels = write_labels(tmp_path / 'labels.csv', design)
    with pytest.raises(ConfigError, match='expected a map on the grid of the sample, 120 × 90'):
        assess_map(
            tmp_path / 'sample', labelled=labels, of_map=write_map('b.tif', true_classes()[:80])
        )
    other_zone = write_map('zone.tif', true_classes(), crs='EPSG:32632')
    with pytest.raises(ConfigError, match=r'expected a map on .* in the same CRS'):
        assess_map(tmp_path / 'sample', labelled=labels, of_map=other_zone)
    empty = np.full((120, 90), 255, np.uint8)
    with pytest.raises(ConfigError, match=r'has no data at 900 of 900 points'):
        assess_map(tmp_path / 'sample', labelled=labels, of_map=write_map('c.tif', empty))


def test_another_map_must_hold_class_ids_and_no_mask(design, write_map, write_raster, tmp_path):
    labels = write_labels(tmp_path / 'labels.csv', design)
    chances = write_raster('chances.tif', np.full((1, 120, 90), 0.9, np.float32))
    with pytest.raises(SceneError, match=r'chances.tif has .* of float32: expected a map'):
        assess_map(tmp_path / 'sample', labelled=labels, of_map=chances)
    hidden = write_raster('hidden.tif', true_classes()[None])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(hidden, 'r+') as file:
        file.write_mask(np.zeros((120, 90), bool))
    with pytest.raises(SceneError, match='marks where it has data with a mask'):
        assess_map(tmp_path / 'sample', labelled=labels, of_map=hidden)


def test_the_no_data_value_of_the_sample_counts_for_maps_that_name_none(write_raster, tmp_path):
    path = write_raster('plain.tif', mapped_classes()[None])
    sample = tmp_path / 'sample'
    design = draw_sample(path, sample, size=SampleSize(n=900), labels=THREE, nodata=255)
    labels = write_labels(tmp_path / 'labels.csv', design)
    empty = write_raster('empty.tif', np.full((1, 120, 90), 255, np.uint8))
    with pytest.raises(ConfigError, match='has no data at 900 of 900 points'):
        assess_map(sample, labelled=labels, of_map=empty)


def test_points_without_a_label_are_left_out_when_that_is_allowed(design, tmp_path):
    labels = write_labels(tmp_path / 'labels.csv', design, leave_out=100)
    with pytest.raises(LabelError, match=r'100 points .* have no label'):
        assess_map(tmp_path / 'sample', labelled=labels)
    found = assess_map(tmp_path / 'sample', labelled=labels, allow_unlabelled=True)
    assert found.unlabelled == 100
    assert found.accuracy.counts.sum() == 800
    few = write_labels(tmp_path / 'few.csv', design, leave_out=899)
    with pytest.raises(LabelError, match='label at least two, because a variance'):
        assess_map(tmp_path / 'sample', labelled=few, allow_unlabelled=True)
