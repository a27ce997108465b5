import json

import pytest
import torch
from torch import nn

from crossearth.models import fpn_timm
from crossearth.models.source import SourceMeter, valid_as_padded
from crossearth.source_statistics import SourceStatistics


def light():
    torch.manual_seed(0)
    return fpn_timm('resnet10t', num_classes=2, width=8)


def test_it_survives_json_to_six_digits_and_leaves_the_model_as_it_was():
    model = light().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    meter = SourceMeter(model)
    for _ in range(2):
        meter.add_image(torch.rand(3, 40, 40))
        meter.add_labelled(torch.rand(3, 40, 40), torch.randint(0, 2, (40, 40)))
    measured = meter.statistics()
    assert model.training
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert [len(one.mean) for one in measured.features] == [64, 128, 256, 512]
    assert measured.calibration.pixels == 2 * 40 * 40
    again = SourceStatistics.from_json(json.loads(json.dumps(measured.to_json())))
    assert again.appearance.mean == pytest.approx(measured.appearance.mean, rel=1e-5)
    assert again.calibration.temperature == pytest.approx(
        measured.calibration.temperature, rel=1e-5
    )
    assert again.features[3].std == pytest.approx(measured.features[3].std, rel=1e-5, abs=1e-9)


def test_features_are_those_of_the_backbone_on_all_images():
    model = light().eval()
    images = [torch.rand(3, 32, 64) for _ in range(2)]
    meter = SourceMeter(model)
    for image in images:
        meter.add_image(image)
    with torch.no_grad():
        maps = model.backbone(model.normalize(torch.stack(images))).maps
    for one, values in zip(meter.statistics().features, maps, strict=True):
        assert one.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), rel=1e-4, abs=1e-5)


def test_pixels_without_data_do_not_count_among_features():
    model = light().eval()
    image = torch.rand(3, 32, 64)
    valid = torch.ones(32, 64, dtype=torch.bool)
    valid[:, 32:] = False
    meter = SourceMeter(model)
    meter.add_image(image, valid)
    with torch.no_grad():
        coarse = model.backbone(model.normalize(image[None])).maps[3]
    assert meter.statistics().features[3].mean == pytest.approx(
        coarse[0, :, 0, 0].tolist(), rel=1e-4, abs=1e-5
    )


def test_other_models_have_no_features_and_unlabelled_ones_no_calibration():
    meter = SourceMeter(nn.Conv2d(3, 2, 1))
    meter.add_image(torch.rand(3, 8, 8))
    measured = meter.statistics()
    assert (measured.features, measured.calibration) == ((), None)


def test_what_a_segmenter_pads_has_no_data():
    seen = valid_as_padded(light(), torch.ones(33, 64, dtype=torch.bool))
    assert seen.shape == (64, 64)
    assert int(seen.sum()) == 33 * 64
