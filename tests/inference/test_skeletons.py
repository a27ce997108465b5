from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from crossearth.errors import ConfigError
from crossearth.inference import skeletons
from crossearth.inference.skeletons import skeleton_of
from tests.inference.test_predict import Write

pytest.importorskip('skimage', reason='scikit-image is not installed')


@pytest.mark.parametrize(('seed', 'width'), [(0, 2), (1, 4), (2, 8), (3, 12)])
def test_the_skeleton_does_not_depend_on_the_strips(
    write_scene: Write, monkeypatch: pytest.MonkeyPatch, seed: int, width: int
) -> None:
    noise = np.random.default_rng(seed).normal(size=(420, 150))
    labels = (ndimage.gaussian_filter(noise, width) > 0).astype(np.uint8)
    sure = np.random.default_rng(9).integers(0, 255, (1, 420, 150), np.uint8)
    with (
        rasterio.open(write_scene(labels[None])) as dataset,
        rasterio.open(write_scene(sure, 'sure.tif')) as confidence,
    ):
        whole = skeleton_of(dataset, 1, sure=confidence)
        monkeypatch.setattr(skeletons, '_STRIP_PIXELS', 1)  # strips of 64 rows
        monkeypatch.setattr(skeletons, '_HALO_PX', 16)
        in_strips = skeleton_of(dataset, 1, sure=confidence)
    for one, other in zip(whole, in_strips, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (np.diff(whole.keys) > 0).all()
    assert whole.owned.sum() == labels.sum()
    np.testing.assert_array_equal(whole.confidence, sure[0].ravel()[whole.keys])


def test_the_reach_is_half_the_width(write_scene: Write) -> None:
    labels = np.zeros((1, 60, 200), np.uint8)
    labels[0, 20:31] = 7
    with rasterio.open(write_scene(labels)) as dataset:
        found = skeleton_of(dataset, 7)
    np.testing.assert_array_equal(found.keys, 25 * 200 + np.arange(200))  # from rim to rim
    assert set(found.reach_px) == {6}  # to the middle of the first pixel beyond
    assert set(found.owned) == {11}
    assert np.isnan(found.confidence).all()


def test_a_class_that_is_not_there_has_no_skeleton(write_scene: Write) -> None:
    with rasterio.open(write_scene(np.zeros((1, 9, 9), np.uint8))) as dataset:
        assert [len(part) for part in skeleton_of(dataset, 1)] == [0, 0, 0, 0]


def test_classes_too_wide_or_too_long_are_refused(
    write_scene: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    labels = np.zeros((1, 300, 100), np.uint8)
    labels[0, :, 20:80] = 1
    scene = write_scene(labels)
    monkeypatch.setattr(skeletons, '_STRIP_PIXELS', 1)
    with rasterio.open(scene) as dataset:
        monkeypatch.setattr(skeletons, '_MOST_BONES', 10)
        with pytest.raises(ConfigError, match=r'class 1 have more than 10 pixels.* sieve'):
            skeleton_of(dataset, 1)
        monkeypatch.setattr(skeletons, '_MOST_PIXELS', 15_000)
        with pytest.raises(ConfigError, match=r'so wide in rows 0 to 63 that 1\d\d rows'):
            skeleton_of(dataset, 1)


def test_a_map_with_too_many_columns_is_told_from_a_class_too_wide(
    write_scene: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((1, 300, 100), np.uint8)
    labels[0, 20:23] = 1  # a narrow road
    monkeypatch.setattr(skeletons, '_STRIP_PIXELS', 1)
    monkeypatch.setattr(skeletons, '_MOST_PIXELS', 12_000)
    with (
        rasterio.open(write_scene(labels)) as dataset,
        pytest.raises(ConfigError, match=r'has 100 columns, .*: expected at most 93, so cut'),
    ):
        skeleton_of(dataset, 1)
