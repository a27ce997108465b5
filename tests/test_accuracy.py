import numpy as np
import pytest
import torch

from crossearth.accuracy import AccuracyMeter
from crossearth.calibration import Calibration, CalibrationMeter, ClassCalibration, calibrated
from crossearth.errors import ShapeError


def scene(height, width, *, seed=0, scale=2.0):
    """Logits, and labels drawn from what they mean."""
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, height, width, generator=draws) * scale
    flat = logits.softmax(0).flatten(1).T
    return logits, torch.multinomial(flat, 1, generator=draws)[:, 0].reshape(height, width)


def calibrate(logits, labels):
    meter = CalibrationMeter()
    for rows in range(0, labels.shape[0], 16):
        meter.add(logits[:, rows : rows + 16], labels[rows : rows + 16])
    return meter.calibration()


def whole(meter, logits, valid=None):
    seen = np.ones(logits.shape[1:], bool) if valid is None else valid
    meter.add(logits, seen, row0=0, col0=0, are_logits=True)
    return meter.estimate()


def test_all_estimates_are_right_where_the_scene_is_like_the_source():
    known = calibrate(*scene(256, 256))
    logits, labels = scene(256, 300, seed=1)
    estimate = whole(AccuracyMeter(known, height=256, width=300), logits)
    chosen = logits.argmax(0)
    accuracy = float((chosen == labels).float().mean())
    for by in ('confidence', 'atc', 'doc'):
        assert estimate.accuracy[by].value == pytest.approx(accuracy, abs=0.015)
        assert estimate.accuracy[by].low < accuracy + 0.015
    for index in range(3):
        got, true = chosen == index, labels == index
        iou = float((got & true).sum() / (got | true).sum())
        for by in ('confidence', 'atc', 'doc'):
            assert estimate.iou[index][by].value == pytest.approx(iou, abs=0.025)
    assert estimate.pixels == 256 * 300


def test_all_estimates_fall_where_the_model_is_less_sure():
    known = calibrate(*scene(256, 256))
    sure = whole(AccuracyMeter(known, height=64, width=64), scene(64, 64, seed=1)[0])
    less = whole(AccuracyMeter(known, height=64, width=64), scene(64, 64, seed=1, scale=0.7)[0])
    for by in ('confidence', 'atc', 'doc'):
        assert less.accuracy[by].value < sure.accuracy[by].value - 0.1


def test_worked_values_of_four_pixels():
    one = ClassCalibration(iou=0.5, expected_iou=0.6, hit_threshold=0.65, miss_threshold=0.35)
    other = ClassCalibration(None, 0.0, 0.5, 0.5)
    known = Calibration(1.0, 0.8, 0.9, 0.75, (one, other), 10)
    probability = torch.tensor([[0.9, 0.6, 0.4, 0.1]])
    meter = AccuracyMeter(known, height=1, width=4)
    scores = torch.stack([probability, 1 - probability])
    meter.add(scores, np.ones((1, 4), bool), row0=0, col0=0, are_logits=False)
    estimate = meter.estimate()
    assert estimate.accuracy['confidence'].value == pytest.approx(0.75)  # .9 .6 .6 .9
    assert estimate.accuracy['atc'].value == pytest.approx(0.5)  # two above .75
    assert estimate.accuracy['doc'].value == pytest.approx(0.65)  # .8 - (.9 - .75)
    road = estimate.iou[0]
    assert road['confidence'].value == pytest.approx(1.5 / 2.5)  # .9 + .6 over 2 + .4 + .1
    assert road['atc'].value == pytest.approx(1 / 3)  # one above .65 over 2 and one above .35
    assert road['doc'].value == pytest.approx(0.5)  # .5 - (.6 - .6)
    assert estimate.iou[1] is None
    assert estimate.source_iou == (0.5, None)
    assert estimate.blocks == 1
    assert estimate.accuracy['atc'].low is None


def test_strips_of_any_height_and_columns_give_the_same_sums():
    known = calibrate(*scene(64, 64))
    logits, _ = scene(150, 333, seed=3)
    valid = np.random.default_rng(0).random((150, 333)) < 0.8
    in_one, in_parts = (AccuracyMeter(known, height=150, width=333) for _ in range(2))
    whole(in_one, logits, valid)
    for row0, row1 in ((0, 7), (7, 90), (90, 150)):
        for col0, col1 in ((0, 100), (100, 333)):
            here = np.s_[row0:row1, col0:col1]
            in_parts.add(logits[:, *here], valid[here], row0=row0, col0=col0, are_logits=True)
    first, second = in_one.estimate(), in_parts.estimate()
    assert first.pixels == second.pixels == int(valid.sum())
    assert first.blocks == second.blocks == 3 * 6
    for by, interval in first.accuracy.items():
        assert second.accuracy[by].value == pytest.approx(interval.value, abs=1e-9)
        assert second.accuracy[by].high == pytest.approx(interval.high, abs=1e-9)


def test_pixels_without_data_do_not_count_and_a_scene_without_any_has_no_estimate():
    known = calibrate(*scene(64, 64))
    logits, _ = scene(64, 128, seed=1)
    valid = np.ones((64, 128), bool)
    valid[:, 64:] = False
    half = whole(AccuracyMeter(known, height=64, width=64), logits[:, :, :64])
    both = whole(AccuracyMeter(known, height=64, width=128), logits, valid)
    assert both.accuracy == half.accuracy
    assert (
        whole(AccuracyMeter(known, height=64, width=128), logits, ~np.ones((64, 128), bool)) is None
    )


def test_sums_do_not_grow_with_the_scene():
    known = calibrate(*scene(64, 64))
    meter = AccuracyMeter(known, height=200_000, width=150_000)
    assert meter._sums.shape[0] * meter._sums.shape[1] <= 1100
    assert meter.block_px == 5413


def test_intervals_are_wider_where_blocks_differ_more():
    known = calibrate(*scene(64, 64))
    even = scene(256, 256, seed=5)[0]
    uneven = even.clone()
    uneven[:, :128] *= 4
    wide, narrow = (
        whole(AccuracyMeter(known, height=256, width=256), one).accuracy['confidence']
        for one in (uneven, even)
    )
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_the_probability_after_the_temperature_is_what_counts():
    one = ClassCalibration(0.5, 0.5, 0.5, 0.5)
    known = Calibration(2.0, 0.8, 0.9, 0.75, (one, one), 10)
    logits = torch.tensor([[[2.0]], [[0.0]]])
    estimate = whole(AccuracyMeter(known, height=1, width=1), logits)
    expected = float(calibrated(torch.tensor([2.0, 0.0]), 2.0, are_logits=True)[0])
    assert estimate.confidence == pytest.approx(expected)


def test_another_number_of_classes_is_refused():
    known = calibrate(*scene(64, 64))
    with pytest.raises(ShapeError, match='the model gives 2 classes, but its calibration has 3'):
        whole(AccuracyMeter(known, height=8, width=8), torch.zeros(2, 8, 8))
