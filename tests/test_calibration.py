import math
from dataclasses import replace

import pytest
import torch

from crossearth.calibration import (
    Calibration,
    CalibrationMeter,
    ClassCalibration,
    calibrated,
    fit_temperature,
)
from crossearth.errors import ConfigError, LabelError, ShapeError

ONE = ClassCalibration(0.5, 0.5, 0.5, 0.5)
KNOWN = Calibration(1.5, 0.9, 0.9, 0.6, (ONE, ONE), 100)


def drawn(temperature, n=40_000, classes=3):
    """Logits that are too large by a factor, and labels drawn from what they meant."""
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(n, classes, generator=draws) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=draws)[:, 0]
    return logits * temperature, labels


def measure(logits, labels, side=200):
    meter = CalibrationMeter()
    for part, own in zip(logits.split(side * side), labels.split(side * side), strict=True):
        meter.add(part.T.reshape(-1, side, side), own.reshape(side, side))
    return meter.calibration()


@pytest.mark.parametrize('temperature', [0.3, 1.0, 5.0])
def test_the_temperature_undoes_what_logits_are_too_large_by(temperature):
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.03)


def test_after_calibration_confidence_is_the_share_that_is_right():
    known = measure(*drawn(4.0, n=400_000))
    assert known.temperature == pytest.approx(4.0, rel=0.1)
    assert known.confidence == pytest.approx(known.accuracy, abs=0.01)
    assert known.pixels == 10 * 4096
    for one in known.classes:
        assert one.expected_iou == pytest.approx(one.iou, abs=0.02)


def test_thresholds_leave_as_many_pixels_as_are_right():
    logits, labels = drawn(2.0)
    meter = CalibrationMeter()
    for part, own in zip(logits.split(4000), labels.split(4000), strict=True):
        meter.add(part.T.reshape(-1, 40, 100), own.reshape(40, 100))  # few enough to keep all
    known = meter.calibration()
    probabilities = calibrated(logits.T, known.temperature, are_logits=True)
    confidence, chosen = probabilities.max(0)
    n = len(labels)
    assert int((confidence > known.threshold).sum()) == pytest.approx(known.accuracy * n, abs=2)
    for index, one in enumerate(known.classes):
        got, true = chosen == index, labels == index
        probability = probabilities[index]
        hits = int((probability[got] > one.hit_threshold).sum())
        misses = int((probability[~got] > one.miss_threshold).sum())
        assert hits == pytest.approx(int((got & true).sum()), abs=2)
        assert misses == pytest.approx(int((~got & true).sum()), abs=2)
        assert one.iou == pytest.approx(int((got & true).sum()) / int((got | true).sum()))


def test_probabilities_and_logits_are_calibrated_alike():
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        calibrated(logits, 1.7, are_logits=True),
        calibrated(logits.softmax(0), 1.7, are_logits=False),
    )
    certain = calibrated(torch.tensor([1.0, 0.0]), 2.0, are_logits=False)
    assert certain.isfinite().all()


def test_ignored_pixels_do_not_count_and_none_at_all_is_no_calibration():
    meter = CalibrationMeter()
    meter.add(torch.zeros(2, 3, 3), torch.full((3, 3), 255))
    assert meter.calibration() is None
    assert CalibrationMeter().calibration() is None
    mask = torch.tensor([[0, 255]])
    meter.add(torch.tensor([[[9.0, 0.0]], [[0.0, 9.0]]]), mask)
    assert meter.calibration().accuracy == 1.0
    assert meter.calibration().pixels == 1


def test_a_class_that_never_occurs_has_no_iou():
    meter = CalibrationMeter()
    meter.add(torch.tensor([[[9.0]], [[0.0]], [[-9.0]]]), torch.tensor([[0]]))
    assert [one.iou for one in meter.calibration().classes] == [1.0, None, None]


def test_masks_that_do_not_fit_are_refused():
    meter = CalibrationMeter()
    with pytest.raises(ShapeError, match='expected the same height and width'):
        meter.add(torch.zeros(2, 3, 3), torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(LabelError, match='the mask holds ids from 0 to 2, but the model has 2'):
        meter.add(torch.zeros(2, 1, 2), torch.tensor([[0, 2]]))


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        ({'accuracy': math.nan}, 'outside 0 to 1'),
        ({'threshold': 1.5}, 'outside 0 to 1'),
        ({'classes': (replace(ONE, iou=-0.1),)}, 'outside 0 to 1'),
        ({'temperature': 0.0}, 'expected a number above 0'),
        ({'temperature': math.inf}, 'expected a number above 0'),
        ({'classes': ()}, 'no classes or no pixels'),
    ],
)
def test_impossible_numbers_are_refused(change, match):
    with pytest.raises(ConfigError, match=match):
        replace(KNOWN, **change)
