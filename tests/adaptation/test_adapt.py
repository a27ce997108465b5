import hashlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from crossearth.adaptation import Norms, PseudoLabels, adapt_file, adapt_model
from crossearth.adaptation.adapt import adapt_to_windows
from crossearth.errors import ConfigError
from crossearth.inference import Windows, predict_scene
from crossearth.labels import ROAD
from crossearth.models import fpn_timm, load_model, read_model_info, save_model
from crossearth.models.source import SourceMeter

LIGHT = {'num_classes': 2, 'width': 8}


@pytest.fixture
def scene(write_raster):
    pixels = np.random.default_rng(0).integers(1, 90, (3, 64, 96), np.uint8)
    return write_raster('deep/place.tif', pixels)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = fpn_timm('resnet10t', **LIGHT)
    return save_model(
        model, tmp_path / 'model.safetensors', labels=ROAD, gsd_m=0.5, value_range=(0, 200)
    )


def test_the_file_is_a_model_that_maps_and_says_where_it_comes_from(scene, weights, tmp_path):
    output = tmp_path / 'adapted.safetensors'
    report = adapt_file(weights, [scene], output, Norms(1.0), tile_px=32, max_windows=3, seed=5)
    before, after = read_model_info(weights), read_model_info(output)
    for name in ('blueprint', 'labels', 'bands', 'gsd_m', 'gsd_range_m', 'value_range', 'source'):
        assert getattr(after, name) == getattr(before, name)
    record = after.adaptation
    assert (record.method, record.scenes, record.windows) == ('norms', ('place.tif',), 3)
    assert record.options == {'alpha': 1.0, 'tile_px': 32, 'seed': 5}
    assert record.model_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert before.adaptation is None
    model = load_model(weights)
    made = adapt_model(model, [scene], Norms(1.0), tile_px=32, max_windows=3, seed=5)
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_model(output)(image), made.model(image))
        assert not torch.equal(model(image), made.model(image))
    assert report.to_json() == made.report.to_json()
    mapped = predict_scene(
        load_model(output), scene, tmp_path / 'map.tif', windows=Windows(tile_px=32)
    )
    assert mapped.num_classes == 2


def test_frozen_weights_are_in_the_file_where_adapting_changed_them_only(scene, tmp_path):
    torch.manual_seed(0)
    torch.save(fpn_timm('resnet10t', **LIGHT).backbone.model.state_dict(), tmp_path / 'b.pth')
    model = fpn_timm('resnet10t', pretrained=str(tmp_path / 'b.pth'), **LIGHT)
    model.backbone.requires_grad_(False)
    weights = save_model(model, tmp_path / 'model.safetensors', labels=ROAD)
    assert not read_model_info(weights).complete
    output = tmp_path / 'adapted.safetensors'
    adapt_file(weights, [scene], output, Norms(0.5), tile_px=32, max_windows=2)
    assert read_model_info(output).complete
    (tmp_path / 'b.pth').unlink()
    assert load_model(output).num_classes == 2


def test_features_of_the_source_are_those_of_the_model_before_and_are_not_kept(
    scene, weights, tmp_path
):
    model = load_model(weights)
    meter = SourceMeter(model)
    meter.add_image(torch.rand(3, 64, 64))
    known = save_model(model, tmp_path / 'known.safetensors', source=meter.statistics())
    output = tmp_path / 'adapted.safetensors'
    report = adapt_file(known, [scene], output, Norms(1.0), tile_px=32)
    before, after = read_model_info(known).source, read_model_info(output).source
    assert len(before.features) == len(report.gap.features) == 4
    assert after.features == ()
    assert after.appearance == before.appearance
    once = adapt_model(load_model(known), [scene], Norms(1.0), tile_px=32)
    twice = adapt_model(once.model, [scene], Norms(1.0), tile_px=32)
    assert once.report.gap.features is not None
    assert twice.report.gap.features is None


def test_the_model_is_not_replaced_by_itself(scene, weights):
    with pytest.raises(ConfigError, match='is the model itself'):
        adapt_file(weights, [scene], weights, Norms())


def test_weights_that_are_not_finite_are_refused(model, windows):
    @dataclass(frozen=True)
    class Diverges:
        name = 'diverges'

        def options(self):
            return {}

        def adapt(self, model, windows, *, seed):  # noqa: ARG002  # of the contract
            torch.nn.init.constant_(model[0].weight, float('inf'))
            return model

    with pytest.raises(ConfigError, match=r'diverges made 0\.weight not finite'):
        adapt_to_windows(model, windows, Diverges())
    assert model[0].weight.isfinite().all()


def test_a_seed_repeats_the_bits_of_a_run(scene, weights):
    method = PseudoLabels(steps=2)
    runs = [adapt_model(load_model(weights), [scene], method, tile_px=32, seed=3) for _ in range(2)]
    states = [run.model.state_dict() for run in runs]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
