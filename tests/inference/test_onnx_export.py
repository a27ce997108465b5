"""Exported files, read and run as the QGIS plugin Deepness does it."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from crossearth.errors import ConfigError, ShapeError, WriteError
from crossearth.imagery import Imagery
from crossearth.inference import ModelOutput, View, Windows, export_onnx, onnx_export, predict_scene
from crossearth.labels import LabelSpace

pytest.importorskip('onnxscript', reason='the ONNX exporter needs onnxscript')

from .deepness_reader import PluginModel

pytestmark = pytest.mark.usefixtures('unchecked')  # the exporter cannot see through the checks

DATA = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data')) / 'georef'
LAND = LabelSpace(
    'land',
    ('dark', 'green', 'bright', 'other'),
    ((0, 0, 0), (0, 99, 0), (255, 255, 255), (9, 9, 9)),
)
KNOWN = Imagery(labels=LAND, gsd_m=0.02)
WINDOWS = Windows(tile_px=96, overlap=0.25)


def colours(imagery=KNOWN):
    """Classes of colours in a neighbourhood of 5 x 5 pixels."""
    blur = nn.Conv2d(3, 3, 5, padding=2, groups=3, bias=False)
    choose = nn.Conv2d(3, 4, 1)
    with torch.no_grad():
        blur.weight.fill_(1 / 25)
        choose.weight[:, :, 0, 0] = torch.tensor(
            [[-9.0, -9, -9], [-40, 80, -40], [9, 9, 9], [0, 0, 0]]
        )
        choose.bias.copy_(torch.tensor([8.0, -3.5, -15, 0]))
    model = nn.Sequential(blur, choose).eval()
    model.in_channels = 3
    model.imagery = imagery
    return model


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp('onnx') / 'land.onnx'
    return export_onnx(colours(), path, windows=WINDOWS), PluginModel.of(path)


def test_the_plugin_reads_classes_resolution_tiles_and_thresholds(exported):
    made, plugin = exported
    plugin.check()
    assert plugin.classes == ['dark', 'green', 'bright', 'other']
    assert plugin.meta['resolution'] == 2.0  # centimetres
    assert plugin.meta['tile_size'] == plugin.meta['tiles_size'] == 96
    assert plugin.meta['tiles_overlap'] == 25
    assert plugin.meta['seg_thresh'] == plugin.meta['seg_small_segment'] == 0
    assert plugin.meta['crossearth_bands'] == [1, 2, 3]
    assert made.difference < 1e-5


def test_the_file_is_of_the_versions_that_the_plugin_runs_and_tells_nothing_of_its_maker(exported):
    onnx = pytest.importorskip('onnx')
    path = exported[0].path
    model = onnx.load(path)
    assert (model.ir_version, [item.version for item in model.opset_import]) == (8, [18])
    assert str(Path(onnx_export.__file__).parents[2]).encode() not in path.read_bytes()
    assert [found.name for found in path.parent.iterdir()] == ['land.onnx']


def _agreement(model, plugin, scene, image, blend, folder):
    made = predict_scene(
        model,
        scene,
        folder / f'{blend}.tif',
        windows=Windows(tile_px=96, overlap=0.25, blend=blend),
        view=View(bands=(1, 2, 3)),
    )
    with rasterio.open(made.path) as file:
        ids = file.read(1)
    valid = ids != 255
    assert len(np.unique(ids[valid])) == 4
    return (plugin.map(image)[valid] == ids[valid]).mean()


def test_the_plugin_maps_a_scene_as_predict_does(exported, write_scene, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (3, 14, 19), np.uint8)
    image = np.kron(values, np.ones((1, 16, 16), np.uint8))[:, 3:, :-5]  # no multiple of a tile
    scene = write_scene(image, transform=rasterio.Affine(0.02, 0, 4e5, 0, -0.02, 5e6))
    assert _agreement(colours(), exported[1], scene, image, 'crop', tmp_path) == 1
    assert _agreement(colours(), exported[1], scene, image, 'hann', tmp_path) > 0.999


def test_the_plugin_maps_its_own_photograph_as_predict_does(exported, write_scene, tmp_path):
    scene = DATA / 'PUTvision__qgis-plugin-deepness__dummy_fotomap_small.tif'
    if not scene.is_file():
        pytest.skip(f'no real data: set CROSSEARTH_TEST_DATA, {scene} does not exist')
    with rasterio.open(scene) as file:
        image = file.read((1, 2, 3), window=((200, 560), (300, 760)))
        place = file.window_transform(((200, 560), (300, 760)))
    scene = write_scene(image, crs='EPSG:32633', transform=place)
    assert _agreement(colours(), exported[1], scene, image, 'crop', tmp_path) > 0.9999
    assert _agreement(colours(), exported[1], scene, image, 'hann', tmp_path) > 0.999


def _line(weight, bias, *, sigmoid=False):
    """One band in, one channel out."""
    layer = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        layer.weight.fill_(weight)
        layer.bias.fill_(bias)
    model = nn.Sequential(layer, nn.Sigmoid()) if sigmoid else layer
    model.in_channels = 1
    return model.eval()


@pytest.mark.parametrize('kind', ['logit', 'probability'])
def test_one_channel_becomes_two_that_cross_at_the_threshold_and_values_are_scaled(kind):
    graph = onnx_export._Graph(
        _line(4.0, 0.0, sigmoid=kind == 'probability'),
        (50, 150),
        View(mean=(0.25,), std=(0.5,)),
        ModelOutput(kind, threshold=0.8),
    )
    values = np.array([0, 75, 100, 200])
    found = graph(torch.tensor(values / 255).float()[None, None, None])[0, :, 0].detach().numpy()
    logits = 4 * ((values - 50) / 100).clip(0, 1)
    logits = (logits - 4 * 0.25) / 0.5
    one = 1 / (1 + np.exp(-(logits - math.log(4))))  # the odds of 0.8 are 4
    np.testing.assert_allclose(found, [1 - one, one], atol=1e-5)
    assert found.argmax(0).tolist() == (1 / (1 + np.exp(-logits)) >= 0.8).astype(int).tolist()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'path': 'a.tif'}, r'a\.tif is not an ONNX file: choose a name that ends in \.onnx'),
        ({'view': View(gsd_m='native')}, 'ground sampling distance .* is unknown'),
        ({'model_output': ModelOutput('ids')}, 'class ids, but the plugin needs probabilities'),
        ({'windows': Windows(augment='d4')}, "augment is 'd4' .* the plugin sees every tile once"),
        (
            {'view': View(value_range=(0, 10_000))},
            r'values from 0 to 10000, but the plugin takes 8-bit .*\(--value-range 0 255\)',
        ),
        ({'view': View(value_range=(0, 1))}, 'values from 0 to 1, but the plugin takes 8-bit'),
        ({'view': View(value_range=(300, 400))}, 'from 300 to 400, but the plugin takes 8-bit'),
        ({'windows': Windows(scales=(1, 0.5))}, r'scales are \(1.*, 0\.5\), but the plugin'),
    ],
)
def test_what_the_plugin_cannot_do_is_an_error(tmp_path, change, message):
    change = {'path': 'a.onnx'} | change
    with pytest.raises(ConfigError, match=message):
        export_onnx(colours(), tmp_path / change.pop('path'), **change)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_wide_values_is_exported_for_bytes_if_that_is_said(tmp_path):
    model = colours(replace(KNOWN, value_range=(0, 10_000)))
    with pytest.raises(ConfigError, match='values from 0 to 10000, but the plugin takes 8-bit'):
        export_onnx(model, tmp_path / 'a.onnx', windows=WINDOWS)
    export_onnx(model, tmp_path / 'a.onnx', windows=WINDOWS, view=View(value_range=(0, 255)))
    export_onnx(colours(), tmp_path / 'b.onnx', windows=WINDOWS)
    image = np.random.default_rng(0).random((1, 3, 96, 96), np.float32)
    found = [onnx_export._run(tmp_path / name, image, tmp_path) for name in ('a.onnx', 'b.onnx')]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_unknown_pixel_sizes_and_bands_are_asked_for(tmp_path):
    model = colours(Imagery())
    with pytest.raises(ConfigError, match=r'pass View\(gsd_m=0\.3\) \(--seen-at 0\.3\)'):
        export_onnx(model, tmp_path / 'a.onnx')
    del model.in_channels
    with pytest.raises(ConfigError, match=r'number of bands .* is unknown: .*\(--bands 1 2 3\)'):
        export_onnx(model, tmp_path / 'a.onnx', view=View(gsd_m=1))


def test_a_model_of_several_pixel_sizes_is_shown_the_middle_one():
    model = colours(Imagery(gsd_range_m=(0.25, 1.0)))
    assert onnx_export._gsd_of(model, View()) == pytest.approx(0.5)
    assert onnx_export._gsd_of(model, View(gsd_m=0.3)) == 0.3


class Undecided(nn.Module):
    """Looks at a value to decide what to compute."""

    in_channels = 3
    imagery = Imagery(gsd_m=1)

    def forward(self, image):
        return image * 2 if float(image.mean()) > 0.3 else image - 1


def test_a_model_that_is_no_graph_is_a_clear_error_and_leaves_nothing(tmp_path):
    with pytest.raises(ConfigError, match=r'a\.onnx: the model cannot be expressed as ONNX \('):
        export_onnx(Undecided(), tmp_path / 'a.onnx', windows=WINDOWS)
    assert list(tmp_path.iterdir()) == []


def test_wrong_outputs_full_disks_and_other_results_leave_the_file_that_was_there(
    tmp_path, monkeypatch
):
    path = tmp_path / 'a.onnx'
    path.write_text('before')
    with pytest.raises(ShapeError, match=r"pass ModelOutput\('logit', threshold=0\.5\)"):
        export_onnx(_line(1.0, 0.0), path, view=View(gsd_m=1), windows=WINDOWS)

    def full(file, **_):
        raise OSError(28, 'No space left on device')

    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), save=full)
    monkeypatch.setattr(onnx_export, '_converted', lambda *_: program)
    with pytest.raises(WriteError, match=r'a\.onnx cannot be written \(No space left on device\)'):
        export_onnx(colours(), path, windows=WINDOWS)

    program.save = lambda file, **_: Path(file).write_text('half')
    with pytest.raises(ConfigError, match=r'a\.onnx: onnxruntime cannot run the exported model'):
        export_onnx(colours(), path, windows=WINDOWS)
    monkeypatch.setattr(onnx_export, '_run', lambda *_: np.zeros((1, 4, 96, 96)))
    with pytest.raises(ConfigError, match=r'differ from those of the model by up to [01]'):
        export_onnx(colours(), path, windows=WINDOWS)
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [
        ('a.onnx', 'before')
    ]


def test_weights_that_one_file_cannot_hold_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, '_MOST_BYTES', 100)
    with pytest.raises(ConfigError, match=r'GiB, but an ONNX file holds at most 2: export'):
        export_onnx(colours(), tmp_path / 'a.onnx')


def test_values_in_the_metadata_are_json(exported):
    raw = exported[1].session.get_modelmeta().custom_metadata_map
    assert raw['model_type'] == '"Segmentor"'
    assert json.loads(raw['class_names'])['0'] == 'dark'
