"""`predict_scene(…, outputs=Outputs(estimate_accuracy=True))`."""

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from crossearth.accuracy import AccuracyMeter
from crossearth.appearance import Appearance
from crossearth.calibration import Calibration, ClassCalibration
from crossearth.errors import ConfigError
from crossearth.imagery import Imagery
from crossearth.inference import Outputs, Running, View, Windows, predict_scene
from crossearth.source_statistics import SourceStatistics

ASKED = Outputs(estimate_accuracy=True)
CALIBRATION = Calibration(
    1.5, 0.9, 0.85, 0.7, tuple(ClassCalibration(0.5, 0.55, 0.6, 0.3) for _ in range(5)), 100
)


@pytest.fixture
def model(convolutions) -> nn.Module:
    looks = Appearance((0.5,) * 3, (0.1,) * 3, ((0.1,) * 5,) * 3, 0.1, 4)
    convolutions.imagery = Imagery(source=SourceStatistics(looks, (), CALIBRATION))
    return convolutions


def noise(height, width):
    pixels = np.random.default_rng(0).integers(1, 255, (3, height, width), np.uint8)
    pixels[:, :40, :50] = 0
    return pixels


def test_it_is_what_the_averaged_scores_of_the_whole_map_say(model, write_scene, tmp_path):
    """One window without overlap sees the whole scene: scores are the model's own."""
    pixels = noise(150, 170)
    scene = write_scene(pixels, nodata=0)
    for combine in ('softmax', 'logits'):
        made = predict_scene(
            model,
            scene,
            tmp_path / 'map.tif',
            windows=Windows(tile_px=512, combine=combine),
            outputs=ASKED,
        )
        with torch.no_grad():
            logits = model(torch.from_numpy(pixels)[None].float() / 255)[0]
        meter = AccuracyMeter(CALIBRATION, height=150, width=170)
        meter.add(logits, pixels.any(0), row0=0, col0=0, are_logits=True)
        expected = meter.estimate()
        assert made.accuracy.pixels == expected.pixels == 150 * 170 - 40 * 50
        for by, interval in expected.accuracy.items():
            assert made.accuracy.accuracy[by].value == pytest.approx(interval.value, abs=2e-4)
            assert made.accuracy.iou[2][by].value == pytest.approx(
                expected.iou[2][by].value, abs=2e-3
            )


def test_parts_and_memory_do_not_change_it_nor_does_it_change_the_map(model, write_scene, tmp_path):
    scene = write_scene(noise(300, 1300), nodata=0)
    windows = Windows(tile_px=64)
    whole = predict_scene(model, scene, tmp_path / 'a.tif', windows=windows, outputs=ASKED)
    parts = predict_scene(
        model, scene, tmp_path / 'b.tif', windows=windows, outputs=ASKED,
        running=Running(memory_mb=68),
    )  # fmt: skip
    plain = predict_scene(model, scene, tmp_path / 'c.tif', windows=windows)
    assert parts.units > whole.units == 1
    assert plain.accuracy is None
    assert whole.path.read_bytes() == parts.path.read_bytes() == plain.path.read_bytes()
    assert parts.accuracy.pixels == whole.accuracy.pixels
    for by, interval in whole.accuracy.accuracy.items():
        assert parts.accuracy.accuracy[by].value == pytest.approx(interval.value, abs=1e-9)


def test_a_resampled_scene_counts_the_pixels_that_the_model_sees(model, write_scene, tmp_path):
    scene = write_scene(noise(128, 128))
    made = predict_scene(model, scene, tmp_path / 'map.tif', view=View(gsd_m=1.0), outputs=ASKED)
    with rasterio.open(made.path) as result:
        assert result.shape == (128, 128)
    assert made.accuracy.pixels == pytest.approx(64 * 64, rel=0.05)


def test_a_scene_without_data_has_no_estimate(model, write_scene, tmp_path):
    scene = write_scene(np.zeros((3, 32, 32), np.uint8), nodata=0)
    assert predict_scene(model, scene, tmp_path / 'm.tif', outputs=ASKED).accuracy is None


def test_models_that_were_not_calibrated_are_refused(convolutions, write_scene, tmp_path):
    scene = write_scene(noise(32, 64))
    with pytest.raises(ConfigError, match='the model has no calibration'):
        predict_scene(convolutions, scene, tmp_path / 'm.tif', outputs=ASKED)
